"""The multi-view loss: contrast on the most informative step, self-distillation into the last (arXiv 2502.12974, §3.2).

Shape letters: Q queries (each with its own positive), K hard negatives, C = Q + K candidates, M thinking steps, D size.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, normalize, softmax

Contrast = Literal["max", "last", "mean"]


class DeliberationLoss(nn.Module):
    """Contrastive loss and self-distillation over thinking steps.

    Args:
        scale: inverse temperature s of the cosines.
        distill: teach the last step (used at search time) with the best one; False returns L_contrast alone.
        contrast: which step's score is contrasted: the best of them (the paper's), the last, or their mean.
    """

    def __init__(self, scale: float = 30.0, distill: bool = True, contrast: Contrast = "max") -> None:
        super().__init__()
        self.scale, self.distill, self.contrast = scale, distill, contrast

    def forward(self, queries: Tensor, positives: Tensor, negatives: Tensor | None = None) -> Tensor:
        """L = (L_contrast + L_distill) / 2, or L_contrast where `distill` is off.

        Args:
            queries: [Q, D], not necessarily normalised.
            positives: [Q, M, D]; query k's own is row k, every other row is a negative of it.
            negatives: [K, M, D] or None; every row is a negative of every query.

        Returns:
            A scalar.
        """
        return total(*self.terms(queries, positives, negatives))

    def terms(self, queries: Tensor, positives: Tensor, negatives: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(L_contrast, L_distill), each averaged over the queries; L_distill is None where it is off."""
        documents = positives if negatives is None else torch.cat([positives, negatives])
        scores = self.scale * step_scores(queries, documents)  # [Q, C, M]
        best = scores.max(-1).values  # S_max: its gradient goes to one step
        last = scores[..., -1]  # S_last
        contrasted = {"max": best, "last": last, "mean": scores.mean(-1)}[self.contrast]
        own = torch.arange(len(queries), device=queries.device)
        contrast = cross_entropy(contrasted, own)
        if not self.distill:
            return contrast, None
        teacher = softmax(best.detach(), dim=-1)
        return contrast, -(teacher * log_softmax(last, dim=-1)).sum(-1).mean()


def total(contrast: Tensor, distill: Tensor | None) -> Tensor:
    """The loss of its two terms: their mean, or the contrast alone where there is no distillation."""
    return contrast if distill is None else (contrast + distill) / 2


def step_scores(queries: Tensor, documents: Tensor) -> Tensor:
    """Cosine of every query [Q, D] with every thinking step of every document [C, M, D]: [Q, C, M]."""
    number_type = torch.promote_types(queries.dtype, torch.float32)  # half precision rounds cosines too much
    queries, documents = queries.to(number_type), documents.to(number_type)
    return torch.einsum("qd,cmd->qcm", normalize(queries, dim=-1), normalize(documents, dim=-1))
