"""What to write instead, where people write filters as other languages have them; no text where nothing is sure."""

import re

_LONGEST = 60  # characters of what is shown; longer texts get no advice

_CURRENCIES = ("€", "$", "£", "¥", "%")
_SIGNS = re.compile(r"&&?|\|\|?|!")
_BEFORE = re.compile(r"[\w.:-]*\Z")
_AFTER = re.compile(r"[\w.:-]*")
_DECIMALS = re.compile(r",([0-9]+)(?![\w.,])")
_DAY = re.compile(r"([0-3]?[0-9])\.([01]?[0-9])\.([0-9]{4})")
_TEXT_OF_DIGITS = re.compile(r"[0-9][\w.:]*(?:-[\w.:]+)*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_WORDS = re.compile(r"[^\W\d][\w.'-]*(?: (?!(?:and|or|not)\b)[\w.'-]+)*", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]*")


_F = r"(?P<f>[^\W\d][\w.-]{0,59})"
_V, _W = (rf"(?P<{name}>'[^']{{1,60}}'|\"[^\"]{{1,60}}\"|[0-9][0-9.]{{0,20}}(?![\w.]))" for name in "vw")
_END = r"(?=\s*(?:\Z|\)|and\b|or\b))"
_SEVERAL = "Write {f} in ({v}, …) for one of several, {f} has {v} and {f} has … for all of them."
_HABITS = [
    (re.compile(pattern, re.IGNORECASE), cure)
    for pattern, cure in (
        (rf"{_F}\s+(?:has|includes?|contains)\b\s*(?:any|all)?\b\s*(?:of)?\s*[\[(]\s*{_V}", _SEVERAL),
        (rf"{_F}\s*(?:==?\s*[\[(]|\bin\s*\[)\s*{_V}", _SEVERAL),
        (rf"{_V}\s+in\s+{_F}{_END}", "Write {f} has {v}."),
        (rf"{_F}\s+in\s+{_V}", "Write {f} in ({v})."),
        (rf"{_F}\s+includes?\s+{_V}", "Write {f} has {v}."),
        (rf"{_F}\s+has\s+not\s+{_V}", "Write {f} not has {v}."),
        (rf"{_F}\s*(?:\bis\s+|==?\s*)(?:empty|null|none)\b", "Write {f} is missing."),
        (rf"{_F}\s*(?:\bexists\b|(?:\bis\s+not\s+|!=\s*)(?:empty|null|none)\b)", "Write {f} is not missing."),
        (
            rf"{_F}\s*(?P<o>[=<>!]{{1,2}}|\bhas\b)\s*{_V}\s+(?P<j>and|or)\s+{_W}{_END}",
            "Write {f} {o} {v} {j} {f} {o} {w}.",
        ),
    )
]
"""How a comparison is written in other languages, or with less words, and in this one."""


def habit(expression: str, start: int, position: int) -> str:
    """Advice on a comparison that begins at `start`, of which `position` is not understood."""
    for begin in dict.fromkeys((start, position)):
        for pattern, cure in _HABITS:
            if (found := pattern.match(expression, begin)) and found.end() > position:
                return cure.format(**found.groupdict())
    return ""


def at(expression: str, position: int) -> str:
    """Advice on what stands at and around the first character that is not understood."""
    if _SIGNS.match(expression, position):
        return "Write and, or, not."
    if expression[position : position + 1] in _CURRENCIES:
        return "Write the number without a unit."
    before = _match(_BEFORE.search(expression, max(0, position - _LONGEST), position))
    if (decimals := _DECIMALS.match(expression, position)) and re.fullmatch("-?[0-9]+", before):
        return _with_point(before, decimals[1])
    found = before + _match(_AFTER.match(expression, position, position + _LONGEST + 1))
    if len(found) > _LONGEST:
        return ""
    if day := _DAY.fullmatch(found):
        return f"Write a date so: '{day[3]}-{day[2]:0>2}-{day[1]:0>2}'"
    if _TEXT_OF_DIGITS.fullmatch(found) and not _NUMBER.fullmatch(found):  # such as a date
        return f"Put quotes around it: {_in_quotes(found)}"
    return ""


def quoted(expression: str, start: int, position: int) -> str:
    """Advice on words without quotes at `position`, in a comparison that begins at `start`."""
    words = _match(_WORDS.match(expression[position : position + _LONGEST + 1]))
    if not words or len(words) > _LONGEST:
        return ""
    before = expression[start:position].lstrip()
    shown = "" if len(before) > _LONGEST or "(" in before else before
    return f"Put quotes around a text: {shown}{_in_quotes(words)}"


def unquoted(token: str) -> str:
    """Advice on a text in the place of a field."""
    name = token[1:-1]
    if token[:1] not in ("'", '"') or not name.strip() or len(name) > _LONGEST or "`" in name:
        return ""
    return f"Write a field without quotes: {name}" if _PLAIN_NAME.fullmatch(name) else f"Write a field so: `{name}`"


def _with_point(whole: str, decimals: str) -> str:
    if len(whole) + len(decimals) > _LONGEST:
        return ""
    return f"Write {whole}.{decimals}" + (f", or {whole}{decimals}." if len(decimals) == 3 else ".")


def _match(found: re.Match[str] | None) -> str:
    return found[0] if found else ""


def _in_quotes(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
