"""Training examples: JSON lines with `query`, `positive`, `negative` (or `pos`, `neg`, as other tools write)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from debater_search.data.fields import present, without_nul
from debater_search.data.files import require_exists
from debater_search.data.rows import Fields, format_of, read_rows, row_place
from debater_search.errors import DebaterError
from debater_search.types import TrainingExample

POSITIVE_FIELDS = ("positive", "pos")
NEGATIVE_FIELDS = ("negative", "neg")


def read_training_examples(path: str | Path, *, pick: int = 0, source: str | None = None) -> Iterator[TrainingExample]:
    """The examples of a file, one at a time; each field is a string or a list of strings.

    Of several positives, number `pick` (modulo their count) is taken, so that a trainer can go through them epoch by
    epoch. A negative that is also a positive is dropped. `source` names the set; it is the file's name by default.
    Raises DebaterError, naming file and line: a field that lacks, is empty or of another type, and negatives that are
    all positives; and for a file without examples.
    """
    require_exists(path)
    if format_of(path) != "jsonl":
        raise DebaterError(f"{path} is not JSON lines.", "Training data is .jsonl, .jsonl.gz or .jsonl.zst.")
    name = source if source is not None else Path(path).name.partition(".")[0]
    empty = True
    for number, fields in read_rows(path):
        empty = False
        yield _example(fields, pick, name, row_place(path, number))
    if empty:
        raise DebaterError(f"There are no training examples in {path}.", "Name another file.")


def _example(fields: Fields, pick: int, source: str, where: str) -> TrainingExample:
    queries = _texts(fields, ("query",), where)
    positives = _texts(fields, POSITIVE_FIELDS, where)
    given = _texts(fields, NEGATIVE_FIELDS, where) if present(fields, NEGATIVE_FIELDS) else []
    negatives = tuple(text for text in given if text not in positives)
    if given and not negatives:
        raise DebaterError(
            f"{where}: every negative is also a positive.", "Remove the row, or give it a text that does not answer."
        )
    if not queries or not positives:
        lacking = "positive" if queries else "query"
        raise DebaterError(f"{where}: the {lacking} is an empty list.", "Every row needs a query and a positive.")
    return TrainingExample(queries[pick % len(queries)], positives[pick % len(positives)], negatives, source)


def _texts(fields: Fields, names: Sequence[str], where: str) -> list[str]:
    name = present(fields, names)
    if name is None:
        raise DebaterError(
            f"{where}: there is no {names[0]}.", 'Every row needs "query" and "positive"; "negative" is optional.'
        )
    value = fields[name]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DebaterError(f"{where}: the field {name} is neither a string nor a list of strings.", "Make it one.")
    texts = [without_nul(text).strip() for text in texts]
    if not all(texts):
        raise DebaterError(f"{where}: the field {name} holds an empty text.", "Remove the row or fill it.")
    return texts
