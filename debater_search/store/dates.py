"""Dates as people write them who do not write ISO 8601, and what to write instead."""

import re

from debater_search.store.values import span_of

_YEAR_FIRST = re.compile(r"([0-9]{4})(?:([./-])([0-9]{1,2})\2([0-9]{1,2})|[/-]([0-9]{1,2}))")
_YEAR_LAST = re.compile(r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4})")
_DIGITS = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")


def iso_of(text: str) -> str | None:
    """A date in another form as ISO 8601; None for what is no date, or may be two, as 01/03/2021 may."""
    text = text.strip()
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, last = found.groups()
        parts = [year, month, day] if day else [year, last]
    elif found := _DIGITS.fullmatch(text):
        parts = list(found.groups())
    elif found := _YEAR_LAST.fullmatch(text):
        day, separator, month, year = found.groups()
        if separator != "." and int(month) > 12:
            day, month = month, day
        elif separator != "." and int(day) <= 12 and day != month:
            return None
        parts = [year, month, day]
    else:
        return None
    iso = "-".join(part.zfill(2) for part in parts)
    return iso if span_of(iso) is not None else None


def looks_like_date(text: str) -> bool:
    """Whether a text has the form of a date, with its parts in any order, also if there is no such day."""
    return any(form.fullmatch(text.strip()) for form in (_YEAR_FIRST, _YEAR_LAST))
