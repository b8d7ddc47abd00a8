"""Text on a terminal: what would command it is spelled out, lines end between words; sizes in words."""

import os
import re
import sys
from typing import TextIO

NARROWEST = 20  # columns for text, however far it is indented

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}  # C0, DEL and C1
_MARKS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # they turn the direction of reading
_CONTROLS |= {code: f"\\u{code:04x}" for code in _MARKS}
_CONTROLS |= {ord(blank): " " for blank in "\t\n\r"}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *_MARKS)}

# In scripts that are written without blanks a line may end after each character, but not before a closing mark.
_WIDE, _CLOSE = (
    "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60\U00020000-\U0003fffd",
    "、。，．：；？！）」』】》〉",
)
_WORD = re.compile(" *[^ ]+| +")
_PART = re.compile(rf" *(?:[「『（【《〈]*[{_WIDE}]|[^ {_WIDE}]+)[{_CLOSE}]*| +")


def printable(text: str) -> str:
    """`text` as one line that cannot command the terminal: blanks for line ends, control characters spelled out."""
    return text.translate(_CONTROLS)


def printable_lines(text: str, width: int | None = None) -> str:
    """As `printable`, with its line ends kept, and broken into lines of `width` columns that keep their indentation."""
    lines = []
    for line in map(printable, text.split("\n")):
        words = line.lstrip(" ")
        indent = line[: len(line) - len(words)]
        lines += [indent + part for part in wrapped(words, width and max(width - len(indent), NARROWEST))]
    return "\n".join(lines)


def screen_width(stream: TextIO) -> int | None:
    """The width of the terminal that `stream` writes to; None if it is none: there no line is broken."""
    if not stream.isatty():
        return None
    if (said := os.environ.get("COLUMNS", "")).isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def text_width(text: str) -> int:
    """How many columns of a terminal `text` takes: a Chinese character takes two, an accent none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def breaks(text: str, width: int) -> list[int]:
    """Where lines after the first begin, so that each fits into `width` columns and no word is broken.

    A word that is longer has a line of its own. The terminal continues it, so that it can be copied whole. Only Chinese
    and Japanese are broken between characters, unless they look like a path.
    """
    starts, start, end = [], 0, 0
    for word in _WORD.findall(text):
        for part in _PART.findall(word) if text_width(word.rstrip(" ")) > width and "/" not in word else [word]:
            if end > start and text_width(text[start : end + len(part)].rstrip(" ")) > width:
                start = end + len(part) - len(part.lstrip(" "))
                starts.append(start)
            end += len(part)
    return starts


def wrapped(text: str, width: int | None) -> list[str]:
    """`text`, one line, as lines of at most `width` columns (None: as it is), which end between words."""
    if width is None or text_width(text) <= width:
        return [text]
    ends = breaks(text, width)
    return [text[start:end].rstrip(" ") for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def printable_json(document: str) -> str:
    """The same JSON, with escapes for what a terminal would obey; JSON itself escapes only C0."""
    return document.translate(_IN_JSON)


def say(text: str) -> None:
    """Print one line on stderr; on a terminal it is broken between words."""
    print(*wrapped(printable(text), screen_width(sys.stderr)), sep="\n", file=sys.stderr, flush=True)


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
