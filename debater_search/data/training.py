"""Rows of training data into examples: the shapes that other tools write, their texts checked, teacher scores kept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debater_search.coerce import without_nul
from debater_search.data.fields import present
from debater_search.data.rows import Fields, format_of, read_rows, row_place
from debater_search.errors import DebaterError
from debater_search.types import Document, TrainingExample

QUERY_FIELDS = ("query", "anchor", "question")
POSITIVE_FIELDS = ("positive", "pos", "positive_passages", "answer")
NEGATIVE_FIELDS = ("negative", "neg", "negative_passages")
POSITIVE_SCORE_FIELDS = ("positive_scores", "pos_scores")
NEGATIVE_SCORE_FIELDS = ("negative_scores", "neg_scores")
FIELDS = (
    *QUERY_FIELDS,
    *POSITIVE_FIELDS,
    *NEGATIVE_FIELDS,
    *POSITIVE_SCORE_FIELDS,
    *NEGATIVE_SCORE_FIELDS,
    "query_id",
)
"""All that is read of a row."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A row whose texts have been checked: at least one query and one positive; scores match their texts, or lack."""

    queries: Sequence[str]
    positives: Sequence[str]
    negatives: tuple[str, ...] = ()
    positive_scores: Sequence[float] = ()
    negative_scores: tuple[float, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether a teacher has scored every text."""
        return bool(self.positive_scores) and len(self.negative_scores) == len(self.negatives)

    def example(self, pick: int, source: str) -> TrainingExample:
        """The example with positive number `pick`, modulo their count (and query, if there are several)."""
        chosen = pick % len(self.positives)
        return TrainingExample(
            self.queries[pick % len(self.queries)],
            self.positives[chosen],
            self.negatives,
            source,
            self.positive_scores[chosen] if self.positive_scores else None,
            self.negative_scores,
        )


def read_training_examples(path: str | Path, *, pick: int = 0, source: str | None = None) -> Iterator[TrainingExample]:
    """The examples of a file, one at a time, in the shapes of `parse_row`.

    Of several positives, number `pick` (modulo their count) is taken, so that a trainer can go through them epoch by
    epoch. `source` names the set; it is the file's name by default. Raises DebaterError, naming file and line, as
    `parse_row` does; and for a file without examples.
    """
    name = source if source is not None else set_name(path)
    empty = True
    for number, fields in read_training_rows(path):
        empty = False
        yield parse_row(fields, row_place(path, number)).example(pick, name)
    if empty:
        raise no_examples(path)


def read_training_rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    """Numbered rows of a file, not yet parsed; a cell without text in CSV or TSV is a field that the row lacks."""
    rows = read_rows(path)
    if format_of(path) in ("csv", "tsv"):
        return ((number, {name: cell for name, cell in fields.items() if cell}) for number, fields in rows)
    return rows


def set_name(path: str | Path) -> str:
    """What a set is called unless somebody names it: its file without extensions."""
    return Path(path).name.partition(".")[0]


def no_examples(path: str | Path) -> DebaterError:
    """The error for a set without rows."""
    return DebaterError(f"There are no training examples in {path}.", "Name another file.")


def parse_row(fields: Fields, where: str) -> TrainingRow:
    """Check a row of any accepted shape.

    `query` (or `anchor`, `question`), `positive` (`pos`, `positive_passages`, `answer`) and, where there are any,
    `negative` (`neg`, `negative_passages`): each a text or a list of texts; a text is a string, or an object with
    `text` and perhaps `title`. `positive_scores` and `negative_scores` (`pos_scores`, `neg_scores`) may give a
    teacher's score for each. A negative that is also a positive is dropped.
    Raises DebaterError that begins with `where`: a field that lacks, is empty or of another type; negatives that are
    all positives; scores that are not finite numbers, or more or fewer than texts.
    """
    queries = _required(fields, QUERY_FIELDS, where)
    positives = _required(fields, POSITIVE_FIELDS, where)
    negatives = _texts(fields, NEGATIVE_FIELDS, where)
    positive_scores = _scores(fields, POSITIVE_SCORE_FIELDS, len(positives), where)
    negative_scores = _scores(fields, NEGATIVE_SCORE_FIELDS, len(negatives), where)
    kept = [number for number, text in enumerate(negatives) if text not in positives]
    if negatives and not kept:
        raise DebaterError(
            f"{where}: every negative is also a positive.", "Remove the row, or give it a text that does not answer."
        )
    return TrainingRow(
        queries,
        positives,
        tuple(negatives[number] for number in kept),
        positive_scores,
        tuple(negative_scores[number] for number in kept) if negative_scores else (),
    )


def _required(fields: Fields, names: Sequence[str], where: str) -> list[str]:
    if present(fields, names) is None:
        raise DebaterError(
            f"{where}: there is no {names[0]}.", 'Every row needs "query" and "positive"; "negative" is optional.'
        )
    texts = _texts(fields, names, where, null_is_none=False)
    if not texts:
        raise DebaterError(f"{where}: the {names[0]} is an empty list.", "Every row needs a query and a positive.")
    return texts


def _texts(fields: Fields, names: Sequence[str], where: str, *, null_is_none: bool = True) -> list[str]:
    name = present(fields, names)
    if name is None or (null_is_none and fields[name] is None):
        return []
    value = fields[name]
    texts = [_text(item) for item in (value if isinstance(value, list) else [value])]
    if None in texts:
        raise DebaterError(
            f"{where}: the field {name} is neither a string nor a list of strings.",
            "Make it one; an object with title and text will do for a string.",
        )
    if not all(texts):
        raise DebaterError(f"{where}: the field {name} holds an empty text.", "Remove the row or fill it.")
    return [text for text in texts if text]


def _text(item: Any) -> str | None:
    """The text of a string or passage; None if it is neither."""
    if isinstance(item, dict):
        title, text = item.get("title") or "", item.get("text")
        item = Document("", text, title).content if isinstance(title, str) and isinstance(text, str) else None
    return without_nul(item).strip() if isinstance(item, str) else None


def _scores(fields: Fields, names: Sequence[str], count: int, where: str) -> tuple[float, ...]:
    name = present(fields, names)
    if name is None or fields[name] is None:
        return ()
    value = fields[name]
    scores = value if isinstance(value, list) else [value]
    if len(scores) != count:
        raise DebaterError(
            f"{where}: the field {name} holds {len(scores)} scores for {count} texts.", "Give one score for each text."
        )
    if not all(_is_finite(score) for score in scores):
        raise DebaterError(f"{where}: the field {name} holds what is not a finite number.", "Score the row again.")
    return tuple(float(score) for score in scores)


def _is_finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    except OverflowError:  # an integer beyond what a float holds
        return False
