"""What was meant by a value or an id that no document has: `Lumo` by `lumo`, `kitchen|coffee` by `coffee`."""

from difflib import get_close_matches
from itertools import chain

from debater_search.store.documents import DocumentStore
from debater_search.store.values import MAX_TEXT

_LOOKED_AT = 500  # different values; one step of the recursion finds each by the index
_TEXTS = """
WITH RECURSIVE texts (value) AS (
    SELECT min(value) FROM fields WHERE key = ?1 AND type = 'text'
    UNION ALL
    SELECT (SELECT min(value) FROM fields WHERE key = ?1 AND type = 'text' AND value > texts.value)
    FROM texts WHERE value IS NOT NULL LIMIT ?2
)
SELECT value FROM texts WHERE value IS NOT NULL
"""
_NEIGHBOURS = 50  # ids before and behind one in their order, which are compared with it
_SEARCHED = 200_000  # ids that are looked through for one that contains another: it takes a fraction of a second
_CONTAINED = 3  # characters at least
_IDS = 3


def near_ids(id: str, documents: DocumentStore) -> list[str]:
    """Up to three ids that contain one that no document has, or else are like it."""
    if len(id.strip()) >= _CONTAINED:
        sql = "SELECT id FROM (SELECT id FROM documents LIMIT ?) WHERE instr(lower(id), lower(?)) LIMIT ?"
        if holding := documents.field_rows(sql, _SEARCHED, id.strip(), _IDS):
            return [found for (found,) in holding]
    sides = ("id < ? ORDER BY id DESC", "id > ? ORDER BY id")
    rows = [documents.field_rows(f"SELECT id FROM documents WHERE {side} LIMIT ?", id, _NEIGHBOURS) for side in sides]
    return get_close_matches(id, [found for (found,) in chain(*rows)], _IDS, 0.75)


def nearest_value(field: str, value: str, documents: DocumentStore) -> str | None:
    """The text of a field, among its first ones, that is most like one that it never holds; None if it holds it."""
    exists = "SELECT EXISTS (SELECT 1 FROM fields WHERE key = ? AND type = 'text' AND value = ?)"
    if not value.strip() or len(value) > MAX_TEXT or documents.field_rows(exists, field, value)[0][0]:
        return None
    by_lower = {text.casefold(): text for (text,) in documents.field_rows(_TEXTS, field, _LOOKED_AT)}
    asked = value.casefold()
    if asked in by_lower:
        return by_lower[asked]
    holding = next((lower for lower in by_lower if asked in lower), None)
    near = holding or next(iter(get_close_matches(asked, by_lower, 1, 0.75)), None)
    return by_lower[near] if near is not None else None
