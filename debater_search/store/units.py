"""Numbers as people write them with a currency, a unit or a decimal comma, and what to write instead."""

import re

from debater_search.store.values import number_of

_QUANTITY = re.compile(r"(?:[€$£¥] ?)?(-?[0-9]{1,15}(?:[.,][0-9]{1,2})?)(?: ?(?:[€$£¥%]|[^\W\d_]{1,5}))?")


def number_in(text: str) -> str | None:
    """The number of a text such as `10 €`, as a filter takes it; None for a number alone, and for other texts."""
    found = _QUANTITY.fullmatch(text.strip())
    return None if found is None or number_of(text) is not None else found[1].replace(",", ".")
