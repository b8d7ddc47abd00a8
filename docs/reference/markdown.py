"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    ruler = "|--" * len(head) + "|\n"
    first, *others = (f"| {' | '.join(line)} |\n" for line in (head, *rows))
    return "".join([first, ruler, *others])


def cell(text: str) -> str:
    """Plain text in a cell, where no character is a mark but backquotes."""
    pieces = " ".join(text.split()).split("`")
    for number in range(0, len(pieces), 2):  # the others are code
        for mark in "\\*_[]":
            pieces[number] = pieces[number].replace(mark, f"\\{mark}")
        pieces[number] = pieces[number].replace("<", "&lt;")
    return "`".join(pieces).replace("|", "\\|")


def code(text: str) -> str:
    """Code in a cell."""
    return "`" + text.replace("|", "\\|") + "`"
