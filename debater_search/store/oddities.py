"""Values that people will miss when they filter: a text among dates or numbers, and fields that are kept as text."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice

from debater_search.store.documents import DocumentStore

MAX_SENTENCES = 10
MAX_SHARE = 0.1  # of the values of a field may be of another kind
_SAMPLE = 50  # texts of a field
_SHOWN = 40  # characters of a value

_COUNTED = "type NOT IN ('missing', 'several', 'object', 'date')"
_ODD = {
    "dates": "type IN ('text', 'number', 'boolean', 'long')",
    "numbers": (
        "(type IN ('date text', 'boolean', 'long') OR (type = 'text' AND position NOT IN"
        " (SELECT position FROM fields WHERE key = ?1 AND type = 'spelled number')))"
    ),
}
_LOOKS = {
    "write dates as 2024-12-31": re.compile(
        r"[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{4}|[0-9]{4}([./])[0-9]{1,2}\2[0-9]{1,2}"
    ),
    "write numbers as 1234.50, without a unit": re.compile(
        r"(?:[€$£¥] ?)?-?[0-9]{1,3}(?:[., ']?[0-9]{3}){0,5},[0-9]{2}(?: ?(?:[€$£¥]|EUR|USD|GBP|CHF))?"
        r"|[€$£¥] ?-?[0-9][0-9.,']{0,20}|-?[0-9][0-9.,']{0,20} ?(?:[€$£¥]|EUR|USD|GBP|CHF)"
    ),
}


_OF_NUMBERS = set("0123456789.,-+ '")  # a text of them alone may be a number elsewhere

_LIST = re.compile(r"(?!.*&\w+;)[^|;]{1,40}(?:[|;][^|;]{1,40})+")  # no entity of HTML, such as &amp;
_SHARE_OF_LISTS = 0.2  # of the texts of a field; the others may have one element


def odd_values(documents: DocumentStore, first: int = 0) -> list[str]:
    """A sentence for each field with odd values in documents at the positions from `first` on, for so many at most.

    Nothing is said of fields that are truly mixed, nor without the table of fields.
    """
    if not documents.has_field_table:
        return []
    with documents.reading():
        return list(islice(_sentences(documents, first), MAX_SENTENCES))


def _sentences(documents: DocumentStore, first: int) -> Iterator[str]:
    fields: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, type, count in documents.field_rows(
        f"SELECT key, type, count(*) FROM fields WHERE {_COUNTED} GROUP BY 1, 2"
    ):
        fields[key][type] = count
    for key, counts in fields.items():
        spelled = counts.pop("spelled number", 0)
        values = counts.total()
        for kind, usual in (("dates", counts["date text"]), ("numbers", counts["number"] + spelled)):
            if 0 < values - usual <= MAX_SHARE * values:
                as_text = kind == "numbers" and spelled > counts["number"]
                yield from _odd(documents, key, kind, usual, values, first, as_text=as_text)
        if counts["text"] - spelled >= (1 - MAX_SHARE) * values:
            yield from _kept_as_text(documents, key, first)


def _odd(
    documents: DocumentStore, key: str, kind: str, usual: int, values: int, first: int, *, as_text: bool
) -> Iterator[str]:
    where = f"key = ?1 AND position >= ?2 AND {_ODD[kind]}"
    sql = f"SELECT value, position FROM fields WHERE {where} ORDER BY position LIMIT 1"
    for value, position in documents.field_rows(sql, key, first):
        [id] = documents.ids([position])
        more = f", the first of {values - usual:,}" if values - usual > 1 else ""
        said = f"{key}: {usual:,} of {values:,} values are {kind}; {id} has {_shown(value)}{more}."
        yield f"{said} Read the others as numbers with `columns` number={key}." if as_text else said


def _kept_as_text(documents: DocumentStore, key: str, first: int) -> Iterator[str]:
    sql = "SELECT value FROM fields WHERE key = ? AND type = 'text' AND position >= ? ORDER BY value LIMIT ?"
    texts = [text.strip() for (text,) in documents.field_rows(sql, key, first, _SAMPLE)]
    for cure, pattern in _LOOKS.items():
        if texts and all(map(pattern.fullmatch, texts)):
            telling = next((text for text in texts if not set(text) <= _OF_NUMBERS), texts[0])
            yield f"{key}: values like {_shown(telling)} are kept as text: {cure}."
    lists = [text for text in texts if _LIST.fullmatch(text)]
    real = "SELECT 1 FROM fields WHERE key = ? AND type = 'several' LIMIT 1"
    if lists and len(lists) >= _SHARE_OF_LISTS * len(texts) and not documents.field_rows(real, key):
        yield f"{key}: values like {_shown(lists[0])} are kept as text: read them as lists with `columns` list={key}."


def _shown(value: str | int | float) -> str:
    shown = str(value)
    return f"'{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}'" if shown else "a long text"
