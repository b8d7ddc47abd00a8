"""Text on a terminal: what would command it, rather than show, is spelled out; sizes in words."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}  # C0, DEL and C1
_MARKS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # they turn the direction of reading
_CONTROLS |= {code: f"\\u{code:04x}" for code in _MARKS}
_CONTROLS |= {ord(blank): " " for blank in "\t\n\r"}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *_MARKS)}


def printable(text: str) -> str:
    """`text` as one line that cannot command the terminal: blanks for line ends, control characters spelled out."""
    return text.translate(_CONTROLS)


def printable_lines(text: str) -> str:
    """As `printable`, with its line ends kept."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(document: str) -> str:
    """The same JSON, with escapes for what a terminal would obey; JSON itself escapes only C0."""
    return document.translate(_IN_JSON)


def size_in_words(size: float) -> str:
    """Bytes as people say them: 512 B, 3.2 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def age_in_words(seconds: float) -> str | None:
    """An age in its largest unit, such as 3 days; None below a minute."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (number := int(seconds // length)) > 0:
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return None
