"""Which rows make which batch: a function of seed and step alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.data import read_training_examples
from debater_search.errors import DebaterError
from debater_search.training.settings import DataSet, TrainingSettings
from debater_search.types import TrainingExample


@dataclass(frozen=True)
class Batch:
    """Texts of one optimizer step, instructions already before the queries; rows aligned where both exist."""

    source: str
    queries: list[str]
    positives: list[str]
    negatives: list[str]


class TrainingData:
    """All sets of a config, and the order in which they are read.

    Each batch holds one set only (task-homogeneous): its other positives are then harder negatives. Sets are shuffled
    inside, batches shuffled across sets, short last batches dropped.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        self.sets: list[list[TrainingExample]] = [list(read_training_examples(d.path)) for d in settings.data]
        rows = [batches_per_epoch(len(s), d.weight, settings.batch_size) for s, d in zip(self.sets, settings.data,
                                                                                       strict=True)]  # fmt: skip
        self.counts = rows
        if short := [d.path for d, count in zip(settings.data, rows, strict=True) if not count]:
            raise DebaterError(
                f"{short[0]} has fewer rows than one batch ({settings.batch_size} queries).",
                "Lower batch_size, raise the set's weight, or leave the set out.",
            )

    @property
    def examples(self) -> int:
        """Rows over all sets."""
        return sum(len(rows) for rows in self.sets)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        epoch, at = divmod(step, sum(self.counts))
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(
            np.repeat(range(len(self.sets)), self.counts)
        )
        chosen = int(order[at])
        nth = int((order[:at] == chosen).sum()) + epoch * self.counts[chosen]
        size = self.settings.batch_size
        rows = endless_rows(len(self.sets[chosen]), size, nth, seed=self.settings.seed, stream=chosen)
        return self._collate(chosen, rows)

    def warm_texts(self, step: int, count: int) -> list[str]:
        """Documents, positives and negatives alike, for a step of the warm start."""
        rng = np.random.default_rng([self.settings.seed, step, 1])
        flat = rng.choice(self.examples, size=min(count, self.examples), replace=False)
        bounds = np.cumsum([0, *(len(rows) for rows in self.sets)])
        texts = []
        for position in flat:
            chosen = int(np.searchsorted(bounds, position, side="right")) - 1
            example = self.sets[chosen][int(position - bounds[chosen])]
            candidates = [example.positive, *example.negatives]
            texts.append(candidates[int(rng.integers(len(candidates)))])
        return texts

    def _collate(self, chosen: int, rows: Sequence[int]) -> Batch:
        data: DataSet = self.settings.data[chosen]
        examples = [self.sets[chosen][row] for row in rows]
        instructions = data.instruction if isinstance(data.instruction, list) else [data.instruction]
        leads = [instructions[row % len(instructions)] if instructions else "" for row in rows]
        queries = [f"{lead} {e.query}" if lead else e.query for lead, e in zip(leads, examples, strict=True)]
        negatives = [text for e in examples for text in e.negatives[: self.settings.negatives]]
        return Batch(examples[0].source, queries, [e.positive for e in examples], negatives)


def batches_per_epoch(rows: int, weight: float, batch_size: int) -> int:
    """Full batches that a set gives to an epoch; `weight` 2 reads it twice as often as its size asks for."""
    return int(rows * weight) // batch_size


def endless_rows(rows: int, size: int, nth: int, *, seed: int, stream: int) -> list[int]:
    """Batch number `nth` of `size` rows from an endless row order that is reshuffled at every pass.

    A pass leaves out what does not fill its last batch; a set smaller than a batch (weight > 1) repeats rows.
    """
    per_pass = max(1, rows // size)
    turn, at = divmod(nth, per_pass)
    order = np.random.default_rng([seed, stream, turn, 2]).permutation(rows)
    return [int(row) for row in np.resize(order, max(size, rows))[at * size : at * size + size]]
