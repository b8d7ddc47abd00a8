"""What a loss compares: this process's queries, the candidates of all processes, and what is known of them.

Shape letters: Q queries (each with its own positive), K hard negatives, C = Q + K candidates, M thinking steps, D size.
Q and K are a process's own; its candidates are those of all processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from debater_search.training.gather import gathered, world_size


@dataclass(frozen=True)
class Labels:
    """What is known of the texts of a batch; all optional."""

    same_query: Tensor | None = None
    """int64 [Q]: equal numbers are equal queries, across processes."""
    same_text: Tensor | None = None
    """int64 [Q + K], positives first: equal numbers are equal texts, across processes."""
    owners: Tensor | None = None
    """int64 [K]: the query (0 … Q - 1) that each negative was mined for."""
    positive_scores: Tensor | None = None
    """[Q]: a teacher's scores, NaN if the data gives none."""
    negative_scores: Tensor | None = None
    """[K]: likewise."""
    lexical: Tensor | None = None
    """[Q]: the weight of BM25 in the base model's teaching."""
    teacher_queries: Tensor | None = None
    """[Q, any size]: a teacher's vectors; dot products with `teacher_documents` are its scores in the whole batch."""
    teacher_documents: Tensor | None = None
    """[Q + K, same size], positives first."""
    teacher_sizes: Tensor | None = None
    """int64 [T]: how many numbers of these vectors are each teacher's, in their order."""

    def to(self, device: torch.device) -> "Labels":
        """The same on a device."""
        return Labels(**{name: None if value is None else value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Candidates:
    """This process's queries and the candidates of all."""

    queries: Tensor  # [Q, D]
    documents: Tensor  # [C, M, D]: all positives in the processes' order, then all negatives
    own: Tensor  # [Q]: column of each query's positive
    share: float  # of these queries in the mean over those of all processes, times the number of processes
    known_positives: Tensor | None  # bool [Q, C]
    teacher_scores: Tensor | None  # [Q, C], of teacher vectors
    each_teacher: Tensor | None  # [Q, T, C]: the parts of that sum
    data_scores: Tensor | None  # [Q, C], not a number where the data gives none
    all_queries: Tensor | None = None  # [all Q, D], those of all processes, if they are asked for
    same_answer: Tensor | None = None  # bool [Q, all Q]: equal queries, and queries of an equal positive

    @classmethod
    def of(
        cls, queries: Tensor, positives: Tensor, negatives: Tensor, labels: Labels, *, queried: bool = False
    ) -> "Candidates":
        """Own queries [Q, D] beside the documents (`queried`: and queries) of all processes, which all must call it."""
        all_positives, first, total = gathered(positives)
        all_negatives, first_negative, _ = gathered(negatives)
        own = torch.arange(first, first + len(queries), device=queries.device)
        return cls(
            queries,
            torch.cat([all_positives, all_negatives]),
            own,
            len(queries) * world_size() / total,
            _known_positives(labels, len(queries)),
            _teacher_scores(labels, len(own)),
            _each_teacher(labels, len(own)),
            _data_scores(labels, own, total, total + first_negative, total + len(all_negatives)),
            gathered(queries)[0] if queried else None,
            _same_answer(labels, len(own)) if queried else None,
        )

    def blocks(self, size: int) -> list["Candidates"]:
        """The same in parts of `size` queries, each with its share."""

        def some(rows: Tensor | None) -> list[Tensor | None]:
            return [None] * parts if rows is None else list(rows.split(size))

        parts = max(1, -(-len(self.own) // size))
        each = zip(self.queries.split(size), self.own.split(size), some(self.known_positives),
                   some(self.teacher_scores), some(self.each_teacher), some(self.data_scores),
                   some(self.same_answer), strict=True)  # fmt: skip
        return [
            Candidates(
                queries, self.documents, own, self.share * len(own) / max(1, len(self.own)), positives, taught,
                each_taught, data, self.all_queries, same,
            )
            for queries, own, positives, taught, each_taught, data, same in each
        ]  # fmt: skip


def _known_positives(labels: Labels, queries: int) -> Tensor | None:
    """Candidates that are positives of a query, its own or an equal query's: bool [Q, C]; None if texts are unknown."""
    if labels.same_text is None or labels.same_query is None:
        return None
    texts = torch.cat([gathered(labels.same_text[:queries])[0], gathered(labels.same_text[queries:])[0]])
    all_queries = gathered(labels.same_query)[0]
    equal_queries = labels.same_query[:, None] == all_queries  # [Q, all Q]
    equal_texts = texts[: len(all_queries), None] == texts  # [all Q, C]: which positive has which candidate's text
    return (equal_queries.float() @ equal_texts.float()) > 0


def _same_answer(labels: Labels, queries: int) -> Tensor | None:
    """Queries that a query's positive answers too: equal ones, and those with an equal positive. bool [Q, all Q]."""
    if labels.same_text is None or labels.same_query is None:
        return None
    texts, asked = labels.same_text[:queries], labels.same_query
    return (texts[:, None] == gathered(texts)[0]) | (asked[:, None] == gathered(asked)[0])


def _teacher_scores(labels: Labels, queries: int) -> Tensor | None:
    if labels.teacher_queries is None:
        return None
    return labels.teacher_queries @ _teacher_documents(labels, queries).T


def _data_scores(labels: Labels, own: Tensor, total: int, first_negative: int, candidates: int) -> Tensor | None:
    if labels.positive_scores is None or labels.negative_scores is None or labels.owners is None:
        return None
    scores = torch.full((len(own), candidates), torch.nan, device=own.device)
    scores[torch.arange(len(own)), own] = labels.positive_scores
    scores[labels.owners, torch.arange(len(labels.owners), device=own.device) + first_negative] = labels.negative_scores
    return scores


def _each_teacher(labels: Labels, queries: int) -> Tensor | None:
    """The scores of each teacher [Q, T, C]; None if they are not told apart."""
    if labels.teacher_queries is None or labels.teacher_sizes is None:
        return None
    sizes = labels.teacher_sizes.tolist()
    parts = zip(
        labels.teacher_queries.split(sizes, 1), _teacher_documents(labels, queries).split(sizes, 1), strict=True
    )
    return torch.stack([asked @ held.T for asked, held in parts], 1)


def _teacher_documents(labels: Labels, queries: int) -> Tensor:
    """The teachers' vectors of all candidates, those of all processes, positives first."""
    assert labels.teacher_documents is not None
    own = labels.teacher_documents.split([queries, len(labels.teacher_documents) - queries])
    return torch.cat([gathered(part)[0] for part in own])
