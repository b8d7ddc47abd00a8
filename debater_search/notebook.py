"""Results as notebooks show them: HTML tables without scripts or styles of their own.

Colours are the notebook's, so that light and dark themes are readable; all text is escaped.
"""

from collections.abc import Sequence
from html import escape

from debater_search.terminal import printable

MAX_TEXT = 300  # characters of a cell's line

_CELL = "padding:.3em .7em;vertical-align:top;border-bottom:1px solid rgba(128,128,128,.35);"
_FAINT = "opacity:.75;font-size:.92em;"

Cell = str | Sequence[str]
"""A number or a name, or the lines of a text: the first one in bold, the others faint."""


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "", note: str = "") -> str:
    """A table as HTML: `title` above it, `note` below."""
    head = "".join(f'<th style="{_CELL}text-align:left">{_text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    above = f"<p><b>{_text(title)}</b></p>" if title else ""
    below = f'<p style="{_FAINT}">{_text(note)}</p>' if note else ""
    return (
        f'<div>{above}<table style="border-collapse:collapse;background:transparent;color:inherit">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"
    )


def paragraph(text: str) -> str:
    """A text as HTML, for results without rows."""
    return f"<p>{_text(text)}</p>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f'<td style="{_CELL}text-align:left;white-space:nowrap" dir="auto">{_text(cell)}</td>'
    styles = ["font-weight:600", *[_FAINT] * (len(cell) - 1)]
    lines = [
        f'<div dir="auto" style="{style}">{_text(line)}</div>' for style, line in zip(styles, cell, strict=True) if line
    ]
    return f'<td style="{_CELL}text-align:left">{"".join(lines)}</td>'


def _text(text: str) -> str:
    """Text as HTML; what would turn the direction of reading is spelled out, and half a surrogate pair becomes "?"."""
    text = printable(" ".join(text.split()))
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return escape(cut.encode("utf-8", "replace").decode("utf-8"))
