"""Which rows make which batch: a function of seed and step alone.

Torch is imported by the first batch: mistakes in data are found before.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import cycle, islice
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from debater_search.data import TrainingSet, open_training_set
from debater_search.errors import InvalidError
from debater_search.training.chunks import Text
from debater_search.training.settings import TrainingSettings
from debater_search.types import TrainingExample

if TYPE_CHECKING:
    from debater_search.training.candidates import Labels

SHOWN_ROWS = 12

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A row of a set, and how often its set was read before."""

    set: int
    number: int
    turn: int


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's share of an optimizer step: texts, what is known of them, and their tokens once it is prepared."""

    queries: list[str]
    """With their instructions."""
    positives: list[str]
    """Aligned with the queries; in a warm start, which has no queries, its texts."""
    negatives: list[str]
    labels: "Labels" = field(default_factory=lambda: _labels())
    query_prompts: tuple[str | None, ...] = ()
    """Put before each query: "" where it has its instruction, None for the reader's own prompt. () is None for all."""
    document_prompts: tuple[str | None, ...] = ()
    """Put before each of `documents` as the student reads them; None for its own prompt. () is None for all."""
    tokens: tuple[Text, ...] = ()
    """Queries, positives and negatives as the student reads them."""
    targets: tuple[Text, ...] = ()
    """The same texts as a teacher reads them, if there is one."""
    questions: list[str] = field(default_factory=list)
    """The queries without their instructions."""

    @property
    def documents(self) -> list[str]:
        """Positives, then negatives."""
        return self.positives + self.negatives


class TrainingData:
    """All sets of a config, and the order in which they are read.

    A batch holds one set only (task-homogeneous: its other positives are then harder negatives) unless the settings
    mix. Sets are shuffled inside, batches shuffled across sets, short last batches dropped.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        """Raises DebaterError for unreadable data, InvalidError for a set that gives no batch."""
        self.settings = settings
        self.sets: list[TrainingSet] = [
            open_training_set(d.path, corpus=d.corpus, max_bad=settings.max_bad) for d in settings.data
        ]
        size = settings.batch_size
        self.unit = size if settings.homogeneous else 1  # rows drawn from a set at a time
        rows = effective_rows([len(s) for s in self.sets], [d.weight for d in settings.data], settings.temperature)
        self.counts = [int(r) // self.unit for r in rows]
        if 0 in self.counts:
            short = self.counts.index(0)
            held = len(self.sets[short])
            raise InvalidError(
                f"{settings.data[short].path} has {held:,} rows, fewer than one batch (batch_size: {size}).",
                f"Set batch_size to at most {held}."
                if len(self.sets) == 1 and held < size
                else "Lower batch_size, raise the set's weight or the temperature, or set homogeneous: false.",
            )
        if sum(self.counts) * self.unit < size:
            raise InvalidError(
                f"The data has {sum(self.counts):,} rows, fewer than one batch ({size} queries).", "Lower batch_size."
            )
        if bare := [name for name, rows in zip(self.names, self.sets, strict=True) if self._is_bare(rows)]:
            raise InvalidError(
                f"A batch of {bare[0]} holds one query and no negative, so that nothing can be learned from it.",
                "Raise batch_size, give the set more rows, or add negatives to the rows (see mining).",
            )
        asked_for = "negatives" in settings.model_fields_set and settings.negatives
        if asked_for and not any(s.with_negatives for s in self.sets):
            raise InvalidError(
                f"negatives is {settings.negatives}, but no row of the data has a negative.",
                "Add negatives to the rows (see mining), or set negatives=0 to train with the other texts of a batch.",
            )
        by_rows = self._taught_by_rows()
        if by_rows and not any(s.scored for s in self.sets):
            raise InvalidError(
                f"{by_rows}, but no row of the data has a teacher's scores.",
                "Give rows positive_scores and negative_scores (debater mine writes them), or name no such teacher "
                "(loss.teacher=null).",
            )

    def _taught_by_rows(self) -> str:
        """Which setting needs a teacher's scores in the rows; "" if none does."""
        loss = self.settings.loss
        if loss.teacher in ("kl", "margin_mse"):
            return f"loss.teacher is {loss.teacher}"
        return "loss.step_teachers names data" if "data" in loss.step_teachers else ""

    def warn_of_unscored(self) -> None:
        """Say which sets have no scores, where rows with scores teach."""
        by_rows = self._taught_by_rows()
        unscored = [name for name, rows in zip(self.names, self.sets, strict=True) if not rows.scored]
        if by_rows and unscored:
            log.warning("%s, but no row of %s has a teacher's scores.", by_rows, ", ".join(unscored))

    def _is_bare(self, rows: TrainingSet) -> bool:
        """Whether batches hold one row of a set, perhaps repeated, and no text to tell its positive from."""
        alone = self.settings.batch_size == 1 or (self.settings.homogeneous and len(rows) == 1)
        return alone and not (self.settings.negatives and rows.with_negatives)

    @property
    def names(self) -> list[str]:
        """The name of each set: its path if several have the same name."""
        named = Counter(rows.source for rows in self.sets)
        return [
            rows.source if named[rows.source] == 1 else data.path
            for rows, data in zip(self.sets, self.settings.data, strict=True)
        ]

    @property
    def ignored(self) -> dict[str, list[str]]:
        """The fields of each set that are not read, of the sets that have any."""
        return {name: list(rows.ignored) for name, rows in zip(self.names, self.sets, strict=True) if rows.ignored}

    @property
    def examples(self) -> int:
        """Rows over all sets."""
        return sum(len(rows) for rows in self.sets)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the mixture."""
        return sum(self.counts) * self.unit // self.settings.batch_size

    def batch(self, step: int, rank: int = 0, processes: int = 1) -> Batch:
        """What process `rank` reads in a step, counted from 0; together the processes read the whole batch in order."""
        rows = self.rows(step)
        share = np.array_split(np.arange(len(rows)), processes)[rank]
        return self._collate([rows[i] for i in share])

    def rows(self, step: int) -> list[Row]:
        """The rows of a step's whole batch."""
        epoch, at = divmod(step, self.steps_per_epoch)
        sets, nth = drawing_order(tuple(self.counts), self.settings.seed, epoch)
        units = self.settings.batch_size // self.unit
        rows: list[Row] = []
        for unit in range(at * units, (at + 1) * units):
            chosen = int(sets[unit])
            drawn = int(nth[unit]) + epoch * self.counts[chosen]
            turn, numbers = endless_rows(
                len(self.sets[chosen]), self.unit, drawn, seed=self.settings.seed, stream=chosen
            )
            rows += [Row(chosen, number, turn) for number in numbers]
        return rows

    def longest_batches(self, rank: int = 0, processes: int = 1) -> list[Batch]:
        """A process's share of the longest batch of each set, or of all sets together if batches mix them."""
        size = self.settings.batch_size
        found = [
            [Row(number, row, 0) for row in islice(cycle(rows.longest(size)), size)]
            for number, rows in enumerate(self.sets)
        ]
        if not self.settings.homogeneous:
            found = [[row for rank in zip(*found, strict=True) for row in rank][:size]]
        share = np.array_split(np.arange(size), processes)[rank]
        return [self._collate([rows[i] for i in share]) for rows in found]

    def describe_rows(self, step: int) -> str:
        """Where the rows of a step's whole batch come from, for messages."""
        rows = self.rows(step)
        shown = [self.sets[row.set].place(row.number) for row in rows[:SHOWN_ROWS]]
        return ", ".join(shown) + (f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else "")

    def warm_texts(self, step: int, count: int, rank: int = 0, processes: int = 1) -> list[str]:
        """A process's share of a warm start's step: documents, positives and negatives alike."""
        rng = np.random.default_rng([self.settings.seed, step, 1])
        flat = rng.choice(self.examples, size=min(count, self.examples), replace=False)
        bounds = np.cumsum([0, *(len(rows) for rows in self.sets)])
        texts = []
        for position in flat:
            chosen = int(np.searchsorted(bounds, position, side="right")) - 1
            example = self.sets[chosen].example(int(position - bounds[chosen]))
            candidates = [example.positive, *example.negatives]
            texts.append(candidates[int(rng.integers(len(candidates)))])
        return [texts[i] for i in np.array_split(np.arange(len(texts)), processes)[rank]]

    def first_rows(self) -> list[tuple[str, Batch]]:
        """The name of every set, and a batch of its first row."""
        return [(name, self._collate([Row(chosen, 0, 0)])) for chosen, name in enumerate(self.names)]

    def _example(self, row: Row) -> TrainingExample:
        return self.sets[row.set].example(row.number, pick=row.turn)

    def _query(self, row: Row, example: TrainingExample) -> tuple[str, str | None]:
        """A query with its instruction, and what the reader puts before it: its own prompt (None) if there is none."""
        given = self.settings.data[row.set].instruction
        instructions = given if isinstance(given, list) else [given]
        lead = instructions[row.number % len(instructions)] if instructions else ""
        lead = lead if example.instruction is None else example.instruction
        if lead:
            return f"{lead} {example.query}", ""
        # A default for searches that the config sets is no prompt of queries that it leaves without instruction.
        return example.query, "" if self.settings.search_instruction else None

    def _collate(self, rows: Sequence[Row]) -> Batch:
        import torch

        examples = [self._example(row) for row in rows]
        read = [self._query(row, e) for row, e in zip(rows, examples, strict=True)]
        queries = [query for query, _ in read]
        negatives = [(n, text, score) for n, (row, e) in enumerate(zip(rows, examples, strict=True))
                     for text, score in taken(e, self.settings.negatives, row.turn)]  # fmt: skip
        positives = [e.positive for e in examples]
        lexical = self.settings.lexical_weights
        texts = [text for _, text, _ in negatives]
        labels = _labels(
            same_query=torch.tensor([text_key(query) for query in queries]),
            same_text=torch.tensor([text_key(text) for text in [*positives, *texts]]),
            owners=torch.tensor([owner for owner, _, _ in negatives], dtype=torch.long),
            positive_scores=torch.tensor([nan if e.positive_score is None else e.positive_score for e in examples]),
            negative_scores=torch.tensor([score for _, _, score in negatives]),
            lexical=torch.tensor([lexical[row.set] for row in rows]),
        )
        of_sets = [self.settings.data[row.set].document_prompt for row in rows]
        return Batch(
            queries,
            positives,
            texts,
            labels,
            query_prompts=tuple(prompt for _, prompt in read),
            document_prompts=(*of_sets, *(of_sets[owner] for owner, _, _ in negatives)),
            questions=[e.query for e in examples],
        )


def _labels(**known: Any) -> "Labels":
    from debater_search.training.candidates import Labels

    return Labels(**known)


def effective_rows(rows: Sequence[int], weights: Sequence[float], temperature: float) -> list[float]:
    """Rows that each set gives to an epoch: by size, evened out by temperature, times its weight."""
    evened = np.power(np.asarray(rows, dtype=np.float64), 1 / temperature)
    return list(evened * (sum(rows) / evened.sum()) * np.asarray(weights))


@lru_cache(maxsize=2)
def drawing_order(counts: tuple[int, ...], seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Which set each unit of an epoch is drawn from, and its index among the units of that set."""
    sets = np.random.default_rng([seed, epoch]).permutation(np.repeat(np.arange(len(counts)), counts))
    nth = np.empty(len(sets), dtype=np.int64)
    for chosen, count in enumerate(counts):
        nth[sets == chosen] = np.arange(count)
    return sets, nth


def endless_rows(rows: int, size: int, nth: int, *, seed: int, stream: int) -> tuple[int, list[int]]:
    """Unit number `nth` of `size` rows from an endless row order that is reshuffled at every pass; and which pass.

    A pass leaves out what does not fill its last unit; a set smaller than a unit (weight > 1) repeats rows.
    """
    per_pass = max(1, rows // size)
    turn, at = divmod(nth, per_pass)
    order = _shuffled(rows, seed, stream, turn)
    return turn, [int(row) for row in np.take(order, range(at * size, at * size + size), mode="wrap")]


@lru_cache(maxsize=64)
def _shuffled(rows: int, seed: int, stream: int, turn: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, turn, 2]).permutation(np.arange(rows, dtype=np.uint32))


def taken(example: TrainingExample, count: int, turn: int) -> list[tuple[str, float]]:
    """`count` of a row's negatives with their scores, others at every pass where it has more."""
    scores = example.negative_scores or (nan,) * len(example.negatives)
    pairs = list(zip(example.negatives, scores, strict=True))
    start = turn * count % len(pairs) if pairs else 0
    return (pairs[start:] + pairs[:start])[:count]


def text_key(text: str) -> int:
    """A number that equal texts share, the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big", signed=True)
