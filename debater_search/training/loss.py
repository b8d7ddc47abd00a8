"""The multi-view loss: contrast on the most informative step, self-distillation into the last (arXiv 2502.12974, §3.2).

Shape letters: Q queries (each with its own positive), K hard negatives, C = Q + K candidates, M thinking steps, D size.
Under torch.distributed, Q and K are a process's own, and its candidates are those of all processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softmax
from torch.utils.checkpoint import checkpoint

from debater_search.training.candidates import Candidates, Labels
from debater_search.training.gather import mean_over_processes

Contrast = Literal["max", "last", "mean", "step"]

ALL, DATA = -1, -2
"""Teachers of a step beside those of `Labels.teacher_sizes`: the sum of these, and the scores that rows carry."""

ALIKE = 1e-4
"""Added to 1 - cosine of steps before its logarithm: equal steps have a finite one."""

BLOCK = 2**19
"""Scores that are held at a time; more queries than give so many are taken in blocks."""


@dataclass(frozen=True)
class Terms:
    """The parts of the loss, each averaged over the queries; None where the objective has no such part."""

    total: Tensor
    contrast: Tensor
    distill: Tensor | None = None
    teacher: Tensor | None = None
    step_teachers: Tensor | None = None
    diversity: Tensor | None = None

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name in ("total", "contrast", "distill", "teacher", "step_teachers", "diversity"):
            if (value := getattr(self, name)) is not None:
                yield name, value


class DeliberationLoss(nn.Module):
    """Contrastive loss and self-distillation over thinking steps.

    Args:
        scale: inverse temperature s of the cosines.
        distill: teach the last step (used at search time) with the best one; False returns L_contrast alone.
        contrast: which step's score is contrasted: of each pair the best (the paper's `max`), the last, or their mean;
            `step`: of each query the step whose contrast is lowest, so that steps may take to different queries.
        step_scales: the scale of each step's contrast, where it is that of a `step`; () is `scale` for all.
        diversity: weight of a term that pushes the thinking steps of a document apart: `crowding`.
        distill_weight, teacher_weight: of these terms, beside a contrast of weight 1.
        combine: the terms' weighted `mean` (the released code) or `sum` (the paper's text).
        mask_duplicates: leave out of a query's negatives what `Labels` say is a positive of it.
        mask_margin: leave out negatives whose contrasted cosine is above the positive's plus this.
        guide: the number of a teacher in `Labels.teacher_sizes`; negatives that it scores above the positive plus
            `guide_margin` are left out (arXiv 2402.16829).
        symmetric: average the contrast with that of each positive among the queries of the batch.
        teacher: distill scores into the last step: the data's of a query's own candidates (`kl` or `margin_mse`), or
            those of teacher vectors in `Labels` over all candidates (`base`).
        step_teachers: which of the teachers in `Labels.teacher_sizes` (or `ALL`, `DATA`) each thinking step learns
            from, the first step first; repeated where there are more steps. () teaches the last step alone.
        teacher_scale: multiplies the teacher's scores; None: 1 for the data's (logits), `scale` for `base` (cosines).
        matryoshka: shorter dimensions whose loss is averaged with the whole's (arXiv 2205.13147).

    Examples:
        >>> import torch
        >>> from debater_search.training.loss import DeliberationLoss
        >>> queries, positives, negatives = torch.randn(4, 16), torch.randn(4, 8, 16), torch.randn(6, 8, 16)
        >>> DeliberationLoss()(queries, positives, negatives).shape
        torch.Size([])
    """

    def __init__(
        self,
        scale: float = 30.0,
        distill: bool = True,
        contrast: Contrast = "max",
        *,
        distill_weight: float = 1.0,
        combine: Literal["mean", "sum"] = "mean",
        mask_duplicates: bool = True,
        mask_margin: float | None = None,
        guide: int | None = None,
        guide_margin: float = 0.0,
        symmetric: bool = False,
        teacher: Literal["kl", "margin_mse", "base"] | None = None,
        teacher_weight: float = 1.0,
        teacher_scale: float | None = None,
        step_teachers: Sequence[int] = (),
        step_scales: Sequence[float] = (),
        diversity: float = 0.0,
        matryoshka: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.scale, self.distill, self.contrast = scale, distill, contrast
        self.distill_weight, self.combine = distill_weight, combine
        self.mask_duplicates, self.mask_margin = mask_duplicates, mask_margin
        self.guide, self.guide_margin, self.symmetric = guide, guide_margin, symmetric
        self.teacher, self.teacher_weight = teacher, teacher_weight
        self.teacher_scale = teacher_scale or (scale if teacher == "base" else 1.0)
        self.step_teachers, self.step_scales, self.diversity = list(step_teachers), list(step_scales), diversity
        self.matryoshka = list(matryoshka)

    def forward(
        self, queries: Tensor, positives: Tensor, negatives: Tensor | None = None, labels: Labels | None = None
    ) -> Tensor:
        """L = (L_contrast + L_distill) / 2, or L_contrast where `distill` is off.

        Under torch.distributed every process gives its own rows, which may differ in number; the value is that of the
        whole batch on each, and the mean over the processes of the gradients (what DDP makes) is the whole batch's.

        Args:
            queries: [Q, D], not necessarily normalised.
            positives: [Q, M, D]; query k's own is row k, every other row is a negative of it.
            negatives: [K, M, D] or None; every row is a negative of every query.
            labels: equal texts and a teacher's scores, where they are known.

        Returns:
            A scalar.
        """
        local = self.terms(queries, positives, negatives, labels).total
        return local + (mean_over_processes(local.detach()) - local.detach())

    def terms(
        self, queries: Tensor, positives: Tensor, negatives: Tensor | None = None, labels: Labels | None = None
    ) -> Terms:
        """The loss and its parts for this process's queries; their mean over the processes is the whole batch's."""
        if negatives is None:
            negatives = positives[:0]
        whole = Candidates.of(queries, positives, negatives, labels or Labels(), queried=self.symmetric)
        blocks = whole.blocks(max(1, BLOCK // whole.documents.shape[:2].numel()))
        dims = [d for d in self.matryoshka if d < queries.shape[-1]]
        sums: dict[str, Tensor] = {}
        for dim in (*dims, queries.shape[-1]):
            documents = unit(whole.documents[..., :dim])
            for block in blocks:
                for name, value in self._block(block, documents, keep=len(blocks) == 1):
                    share = value * (block.share / (len(dims) + 1))
                    sums[name] = sums[name] + share if name in sums else share
        return Terms(**sums)

    def _block(self, batch: Candidates, documents: Tensor, *, keep: bool) -> Terms:
        """The terms of some queries; without `keep` their scores are dropped and made again for the gradients."""
        if keep:
            return self._terms(batch, documents)
        return cast(Terms, checkpoint(self._terms, batch, documents, use_reentrant=False, preserve_rng_state=False))

    def _terms(self, batch: Candidates, documents: Tensor) -> Terms:
        queries = unit(batch.queries[:, : documents.shape[-1]])
        cosines = torch.einsum("qd,cmd->qcm", queries, documents)  # [Q, C, M]
        best, last = cosines.max(-1).values, cosines[..., -1]  # S_max: its gradient goes to one step; S_last
        contrasted = {"max": best, "step": best, "last": last, "mean": cosines.mean(-1)}[self.contrast]
        left_out = self._left_out(contrasted.detach(), batch)
        if self.contrast == "step":
            contrast, best = self._by_step(cosines, left_out, batch)
        else:
            contrast = cross_entropy(_without(left_out, self.scale * contrasted), batch.own, reduction="none")
        if self.symmetric:
            contrast = (contrast + self._contrast_back(batch, documents)) / 2
        weighted, weights = _mean(contrast), 1.0
        parts = {"contrast": weighted}
        if self.distill:
            teacher = softmax(_without(left_out, self.scale * best.detach()), dim=-1)
            student = log_softmax(_without(left_out, self.scale * last), dim=-1)
            parts["distill"] = _mean(-(teacher * student.masked_fill(left_out, 0)).sum(-1))
            weighted, weights = weighted + self.distill_weight * parts["distill"], weights + self.distill_weight
        if self.teacher is not None:
            whole, data = _scaled(batch.teacher_scores, self.teacher_scale), batch.data_scores
            given = whole if self.teacher == "base" else _scaled(data, self.teacher_scale)
            parts["teacher"] = self._taught(last, given, batch)
            weighted, weights = weighted + self.teacher_weight * parts["teacher"], weights + self.teacher_weight
        if self.step_teachers:
            parts["step_teachers"] = self._each_taught(cosines, batch)
            weighted, weights = weighted + self.teacher_weight * parts["step_teachers"], weights + self.teacher_weight
        if self.diversity:
            parts["diversity"] = crowding(documents)
            weighted, weights = weighted + self.diversity * parts["diversity"], weights + self.diversity
        return Terms(weighted if self.combine == "sum" else weighted / weights, **parts)

    def _by_step(self, cosines: Tensor, left_out: Tensor, batch: Candidates) -> tuple[Tensor, Tensor]:
        """The lowest contrast of any thinking step [Q], and the cosines of that step [Q, C]."""
        scales = cosines.new_tensor(self.step_scales or [self.scale])
        logits = (cosines * scales).masked_fill(left_out[..., None], float("-inf"))  # [Q, C, M]
        each = cross_entropy(logits, batch.own[:, None].expand(-1, cosines.shape[-1]), reduction="none")  # [Q, M]
        lowest, step = each.min(-1)
        return lowest, cosines.gather(-1, step[:, None, None].expand(-1, cosines.shape[1], 1)).squeeze(-1)

    def _contrast_back(self, batch: Candidates, documents: Tensor) -> Tensor:
        """The contrast of each query's positive among the queries of all processes: [Q]."""
        assert batch.all_queries is not None
        asked = unit(batch.all_queries[:, : documents.shape[-1]])
        cosines = torch.einsum("qmd,ad->qam", documents[batch.own], asked)  # [Q, all Q, M]
        scores = {"last": cosines[..., -1], "mean": cosines.mean(-1)}.get(self.contrast, cosines.max(-1).values)
        out = torch.zeros_like(scores, dtype=torch.bool)
        if self.mask_duplicates and batch.same_answer is not None:
            out = batch.same_answer.scatter(1, batch.own[:, None], False)
        return cross_entropy(_without(out, self.scale * scores), batch.own, reduction="none")

    def _each_taught(self, cosines: Tensor, batch: Candidates) -> Tensor:
        """Distillation of a teacher of its own into each thinking step, averaged over the steps."""
        given = {ALL: _scaled(batch.teacher_scores, self.teacher_scale), DATA: batch.data_scores}
        for number, scores in enumerate([] if batch.each_teacher is None else batch.each_teacher.unbind(1)):
            given[number] = _scaled(scores, self.teacher_scale)
        steps = range(cosines.shape[-1])
        chosen = [self.step_teachers[step % len(self.step_teachers)] for step in steps]
        return torch.stack([self._taught(cosines[..., n], given.get(chosen[n]), batch) for n in steps]).mean()

    def _left_out(self, cosines: Tensor, batch: Candidates) -> Tensor:
        """Which candidates are no negatives of which query: bool [Q, C]."""
        out = torch.zeros_like(cosines, dtype=torch.bool)
        if self.mask_duplicates and batch.known_positives is not None:
            out |= batch.known_positives
        if self.mask_margin is not None:
            out |= cosines > cosines.gather(1, batch.own[:, None]) + self.mask_margin
        if self.guide is not None and batch.each_teacher is not None:
            guided = batch.each_teacher[:, self.guide]
            out |= guided > guided.gather(1, batch.own[:, None]) + self.guide_margin
        return out.scatter(1, batch.own[:, None], False)

    def _taught(self, student: Tensor, scores: Tensor | None, batch: Candidates) -> Tensor:
        """Distillation of a teacher's scores over the candidates that it scored; 0 where it scored none.

        `student` (cosines) and `scores` (logits) are [Q, C]; scores are not a number where there is none.
        """
        if scores is None:
            return 0 * student.sum()
        if self.teacher == "base" and self.mask_duplicates and batch.known_positives is not None:
            scores = scores.masked_fill(batch.known_positives.scatter(1, batch.own[:, None], False), torch.nan)
        known = ~scores.isnan()
        taught = known.gather(1, batch.own[:, None]) & (known.sum(-1, keepdim=True) > 1)  # a positive and a negative
        others = ~known & taught
        if self.teacher != "margin_mse":
            teacher = softmax(_without(others, scores.nan_to_num()), dim=-1)
            learned = log_softmax(_without(others, self.scale * student), dim=-1).masked_fill(others, 0)
            each = kl_div(learned, teacher, reduction="none").sum(-1)
        else:
            margins = self.scale * (student.gather(1, batch.own[:, None]) - student)
            targets = (scores.gather(1, batch.own[:, None]) - scores).nan_to_num()
            negatives = known.scatter(1, batch.own[:, None], False)
            each = ((margins - targets).square() * negatives).sum(-1) / negatives.sum(-1).clamp(min=1)
        return _mean(torch.where(taught.squeeze(1), each, 0))


def _scaled(scores: Tensor | None, scale: float) -> Tensor | None:
    return None if scores is None else scale * scores


def _mean(values: Tensor) -> Tensor:
    """Mean of [Q]; 0 of none, for a process may be without queries where others have some."""
    return values.sum() / max(1, len(values))


def _without(left_out: Tensor, scores: Tensor) -> Tensor:
    return scores.masked_fill(left_out, float("-inf"))


def crowding(documents: Tensor) -> Tensor:
    """-log(1 - c) of the mean cosine c between different thinking steps of documents [C, M, D] of length 1.

    It is 0 where steps are orthogonal or there is one. Near c = 1, where the cosine itself has hardly any gradient and
    training starts, it pushes hardest.
    """
    steps = documents.shape[1]
    cosine = (documents.sum(1).square().sum(-1).mean() - steps) / max(1, steps * (steps - 1))
    return -torch.log((1 - cosine + ALIKE) / (1 + ALIKE))


def step_scores(queries: Tensor, documents: Tensor) -> Tensor:
    """Cosine of every query [Q, D] with every thinking step of every document [C, M, D]: [Q, C, M]."""
    return torch.einsum("qd,cmd->qcm", unit(queries), unit(documents))


def unit(vectors: Tensor) -> Tensor:
    """L2-normalised, in float32 at least: half precision rounds cosines too much."""
    return normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1)
