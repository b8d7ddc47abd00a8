"""Rows of training data into examples: the shapes that other tools write, their texts checked, teacher scores kept."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from debater_search.coerce import is_missing, without_nul
from debater_search.data.fields import missing, present
from debater_search.data.labels import LABEL_FIELDS, split_by_labels, teacher_scores
from debater_search.data.rows import Fields
from debater_search.data.training_shapes import without_instructions
from debater_search.errors import InvalidError
from debater_search.types import Document, TrainingExample

QUERY_FIELDS = ("query", "anchor", "question", "sentence1")
POSITIVE_FIELDS = (
    "positive", "pos", "positives", "positive_passages", "positive_ctxs", "answer", "passage", "document", "text",
    "sentence2",
)  # fmt: skip
NEGATIVE_FIELDS = (
    "negative", "neg", "negatives", "negs", "negative_passages", "hard_negative", "hard_neg", "hard_negatives",
    "hard_negative_passages", "hard_negative_ctxs", "negative_ctxs",
)  # fmt: skip
"""All that a row has are read, also numbered ones (`negative_1`, `neg_2`, …)."""
INSTRUCTION_FIELDS = ("prompt", "instruction")
POSITIVE_SCORE_FIELDS = ("positive_scores", "pos_scores")
NEGATIVE_SCORE_FIELDS = ("negative_scores", "neg_scores")

_NEEDED = {"query": QUERY_FIELDS, "positive": POSITIVE_FIELDS}
_FIELDS = frozenset(
    (
        *QUERY_FIELDS, *POSITIVE_FIELDS, *NEGATIVE_FIELDS, *INSTRUCTION_FIELDS, *POSITIVE_SCORE_FIELDS,
        *NEGATIVE_SCORE_FIELDS, *LABEL_FIELDS, "query_id",
    )
)  # fmt: skip
_NUMBERED_NEGATIVE = re.compile(r"(?:hard_)?neg(?:ative)?s?[_-]?([0-9]{1,6})")


@lru_cache(maxsize=1024)
def is_read(name: str) -> bool:
    """Whether a field of this name is read."""
    return name in _FIELDS or _NUMBERED_NEGATIVE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A row whose texts have been checked: at least one query and one positive; scores, if any, match their texts."""

    queries: Sequence[str]
    positives: Sequence[str]
    negatives: tuple[str, ...] = ()
    positive_scores: Sequence[float] = ()
    negative_scores: tuple[float, ...] = ()
    instruction: str | None = None
    """The row's own, which stands before the query instead of the set's."""
    ignored: tuple[str, ...] = ()
    """What of the row is not read: names of fields, and instructions before its texts."""

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
            self.instruction,
        )


def set_name(path: str | Path) -> str:
    """What a set is called unless somebody names it: its file without extensions."""
    return Path(path).name.partition(".")[0]


def no_examples(path: str | Path) -> InvalidError:
    """The error for a set without rows."""
    return InvalidError(f"There are no training examples in {path}.", "Name another file.")


def parse_row(fields: Fields, where: str) -> TrainingRow:
    """Check a row of any accepted shape.

    `query` (or `anchor`, `question`, `sentence1`), `positive` (`pos`, `positive_passages`, `answer`, `passage`,
    `sentence2`, …) and, where there are any, `negative` (`neg`, `negatives`, `hard_negatives`, `negative_1`, …): each a
    text or a list of texts; a text is a string, or an object with `text` and perhaps `title`. `positive_scores` and
    `negative_scores` (`pos_scores`, `neg_scores`) may give a teacher's score for each; `prompt` (`instruction`) is the
    query's own instruction, which may also stand in a pair with it (`without_instructions`). Texts whose `label`
    (`score`, `similarity`, …) is 0 are negatives. A negative that is also a positive is dropped.
    Raises InvalidError that begins with `where`: a field that is missing, empty or of another type; negatives that are
    all positives; a label that leaves no positive; scores that are not finite numbers, or more or fewer than texts.
    """
    if absent := [name for name, names in _NEEDED.items() if present(fields, names) is None]:
        raise missing(_NEEDED, absent, fields, where)
    query, positive = present(fields, QUERY_FIELDS) or "", present(fields, POSITIVE_FIELDS) or ""
    negative_names = _negative_names(fields)
    fields, unread = without_instructions(fields, query, [positive, *negative_names], INSTRUCTION_FIELDS[0])
    queries = _required(fields, QUERY_FIELDS, where)
    texts = _required(fields, POSITIVE_FIELDS, where)
    given = _negatives(fields, negative_names, where)
    taught = teacher_scores(fields, len(texts), len(given))
    positives, more = (texts, []) if taught else split_by_labels(texts, fields, bool(given), where)
    negatives = [*given, *more]
    if taught is not None:
        fields = {POSITIVE_SCORE_FIELDS[0]: taught[:1], NEGATIVE_SCORE_FIELDS[0]: taught[1:], **fields}
    positive_scores = _scores(fields, POSITIVE_SCORE_FIELDS, len(positives), where)
    negative_scores = _scores(fields, NEGATIVE_SCORE_FIELDS, len(negatives), where)
    kept = [number for number, text in enumerate(negatives) if text not in positives]
    if negatives and not kept:
        raise InvalidError(
            f"{where}: every negative is also a positive.", "Remove the row, or give it a text that does not answer."
        )
    return TrainingRow(
        queries,
        positives,
        tuple(negatives[number] for number in kept),
        positive_scores,
        tuple(negative_scores[number] for number in kept) if negative_scores else (),
        _instruction(fields, where),
        (*(name for name in fields if not is_read(name)), *_unused(fields, {query, positive}), *unread),
    )


def _required(fields: Fields, names: Sequence[str], where: str) -> list[str]:
    texts = texts_of(fields, names, where, null_is_none=False)
    if not texts:
        raise InvalidError(f"{where}: the {names[0]} is an empty list.", "Every row needs a query and a positive.")
    return texts


def _unused(fields: Fields, used: set[str]) -> list[str]:
    """Fields that are not read because another one of the row holds its query or positive."""
    others = (name for name in (*QUERY_FIELDS, *POSITIVE_FIELDS) if name in fields and name not in used)
    return [name for name in others if not is_missing(fields[name])]


def _negative_names(fields: Fields) -> list[str]:
    """All fields with negatives, numbered ones in order."""
    names = [name for name in NEGATIVE_FIELDS if name in fields]
    numbered = ((name, _NUMBERED_NEGATIVE.fullmatch(name)) for name in fields if "neg" in name)
    return names + [
        name for name, found in sorted(numbered, key=lambda item: int(item[1][1]) if item[1] else 0) if found
    ]


def _negatives(fields: Fields, names: Sequence[str], where: str) -> list[str]:
    """The texts of these fields; one that a field repeats after another is there once."""
    negatives: list[str] = []
    for name in names:
        known = set(negatives)
        negatives += [text for text in texts_of(fields, [name], where) if text not in known]
    return negatives


def _instruction(fields: Fields, where: str) -> str | None:
    name = present(fields, INSTRUCTION_FIELDS)
    if name is None or is_missing(fields[name]):
        return None
    if not isinstance(fields[name], str):
        raise InvalidError(f"{where}: the field {name} is not a string.", "Make it one, or remove it.")
    return without_nul(fields[name]).strip()


def texts_of(fields: Fields, names: Sequence[str], where: str, *, null_is_none: bool = True) -> list[str]:
    """The texts of the first of `names` that the row has; none if it has none of them.

    Raises InvalidError for what is no text, and for an empty one.
    """
    name = present(fields, names)
    if name is None or (null_is_none and is_missing(fields[name])):
        return []
    value = fields[name]
    texts = [_text(item) for item in (value if isinstance(value, list) else [value])]
    if None in texts:
        raise InvalidError(
            f"{where}: the field {name} is neither a string nor a list of strings.",
            "Make it one; an object with title and text will do for a string.",
        )
    if not all(texts):
        raise InvalidError(f"{where}: the field {name} holds an empty text.", "Remove the row or fill it.")
    return [text for text in texts if text]


def _text(item: Any) -> str | None:
    """The text of a string or passage; None if it is neither."""
    if isinstance(item, dict):
        title, text = item.get("title"), item.get("text")
        title = "" if is_missing(title) else title
        item = Document("", text, title).content if isinstance(title, str) and isinstance(text, str) else None
    return without_nul(item).strip() if isinstance(item, str) else None


def _scores(fields: Fields, names: Sequence[str], count: int, where: str) -> tuple[float, ...]:
    name = present(fields, names)
    if name is None or fields[name] is None:
        return ()
    value = fields[name]
    scores = value if isinstance(value, list) else [value]
    if len(scores) != count:
        raise InvalidError(
            f"{where}: the field {name} holds {len(scores)} scores for {count} texts.", "Give one score for each text."
        )
    if not all(_is_finite(score) for score in scores):
        raise InvalidError(
            f"{where}: the field {name} holds a value that is not a finite number.", "Score the row again."
        )
    return tuple(float(score) for score in scores)


def _is_finite(score: Any) -> bool:
    try:
        return isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
    except OverflowError:  # an integer beyond what a float holds
        return False
