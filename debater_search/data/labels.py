"""Labels of pairs: whether a query and a text belong together, as rows of other tools say it."""

import math
from collections.abc import Sequence
from typing import Any

from debater_search.coerce import is_missing
from debater_search.data.rows import Fields
from debater_search.errors import InvalidError

LABEL_FIELDS = ("label", "labels", "relevance", "score", "scores", "similarity")

_YES = frozenset(("true", "yes", "positive", "relevant", "entailment"))
_NO = frozenset(
    ("false", "no", "negative", "irrelevant", "notrelevant", "nonrelevant", "notentailment", "contradiction")
)


def label_field(fields: Fields) -> str | None:
    """The field with a row's label, if it has one."""
    return next((name for name in LABEL_FIELDS if not is_missing(fields.get(name))), None)


def pair_label(fields: Fields, where: str) -> bool | None:
    """Whether a row's pair is a positive; None where nothing says so: no label, a list of them, the name of a class.

    Raises InvalidError, naming the field, for a number that is neither 0 nor 1.
    """
    name = label_field(fields)
    return None if name is None or isinstance(fields[name], list) else verdict(fields[name], name, where)


def verdict(value: Any, name: str, where: str) -> bool | None:
    """What one label says of its pair; raises as `pair_label` does."""
    if isinstance(value, bool):
        return value
    number = _number(value)
    if number is None:
        word = "".join(filter(str.isalpha, value.lower())) if isinstance(value, str) else ""
        return True if word in _YES else False if word in _NO else None
    if number == 1 or (name == "relevance" and number > 1):
        return True
    if number in (0, -1):
        return False
    raise InvalidError(
        f"{where}: the field {name} is {value!r}, which does not say whether the pair is a positive or a negative.",
        "A label is 1 (the text answers) or 0 (it does not): choose a threshold and write 1 or 0, or rename the field, "
        "to positive_scores if it is a teacher's score.",
    )


def teacher_scores(fields: Fields, positives: int, negatives: int) -> list[Any] | None:
    """A list under `score` or `scores` with a number for the positive and for each negative, if a row has one."""
    name = label_field(fields)
    if name not in ("score", "scores") or positives != 1 or not negatives:
        return None
    value = fields[name]
    return value if isinstance(value, list) and len(value) == 1 + negatives else None


def split_by_labels(
    texts: Sequence[str], fields: Fields, has_negatives: bool, where: str
) -> tuple[list[str], list[str]]:
    """The texts of a row's positive field as positives and negatives, as its label or list of labels says.

    Raises InvalidError, naming the field, if no positive is left, and for labels that are unclear.
    """
    name = label_field(fields)
    if name is None:
        return list(texts), []
    value = fields[name]
    if isinstance(value, list):
        if len(value) != len(texts):
            raise InvalidError(
                f"{where}: the field {name} holds {len(value)} labels for {len(texts)} texts.",
                "Give one label for each text.",
            )
        labels = [verdict(label, name, where) is not False for label in value]
    elif has_negatives and _number(value) not in (None, 0.0, -1.0):
        return list(texts), []  # a triple is its own label: the number is a teacher's margin
    else:
        labels = [verdict(value, name, where) is not False] * len(texts)
    if not any(labels):
        raise InvalidError(
            f"{where}: the field {name} is {value!r}, so the row is a negative, and no other row of its query is a "
            "positive.",
            "Add a row with the label 1 for this query, or remove the row.",
        )
    pairs = list(zip(texts, labels, strict=True))
    return [text for text, label in pairs if label], [text for text, label in pairs if not label]


def _number(value: Any) -> float | None:
    """The number that a label is or spells."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None if isinstance(value, str) else math.inf
    return None if math.isnan(number) else number
