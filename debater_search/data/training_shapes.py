"""Rows whose texts are pairs of an instruction and a text, as INSTRUCTOR and GritLM write them, as plain rows."""

import re
from typing import Any

from debater_search.coerce import is_missing
from debater_search.data.rows import Fields

_INSTRUCTION = re.compile(r"(represent|given|retrieve|instruct|encode|embed|identify|classify)\b", re.IGNORECASE)


def without_instructions(fields: Fields, query: str, texts: list[str], prompt: str) -> tuple[Fields, tuple[str, ...]]:
    """A row with plain texts, and which instructions it has that nothing reads; other rows come back as they are.

    `query` and `texts` name its fields. The query's instruction becomes the field `prompt`. In INSTRUCTOR's rows query
    and texts are each `["instruction", "text"]`; in GritLM's, texts are lists of such pairs. Lists of two texts have
    the first shape, too: those are taken for pairs whose first query reads as an instruction.
    """
    asked = fields[query]
    if not _is_pair(asked):
        return fields, ()
    given = {name: fields[name] for name in texts if not is_missing(fields[name])}
    flat = all(_is_pair(value) for value in given.values()) and _is_instruction(asked[0])
    nested = all(isinstance(value, list) and value and all(map(_is_pair, value)) for value in given.values())
    if not given or not (flat or nested):
        return fields, ()
    pairs = {name: [value] if flat else value for name, value in given.items()}
    plain = {name: [text for _, text in value] for name, value in pairs.items()}
    unread = tuple(f"instructions of {name}" for name, value in pairs.items() if any(lead.strip() for lead, _ in value))
    return {prompt: asked[0], **fields, query: asked[1], **plain}, unread


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _is_instruction(text: str) -> bool:
    bare = text.strip()
    return not bare or bare.endswith((":", ";")) or _INSTRUCTION.match(bare) is not None
