"""Where the cells of a table go on a screen: side by side if they fit, else texts above numbers. No cell is cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from debater_search.terminal import text_width, wrapped

GAP = "  "
Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a table are laid out: the first `texts` cells are texts, to the left, the others numbers."""

    widths: Sequence[int]
    texts: int
    screen: int | None
    stacked: bool = False
    """The texts of a row are on a line of their own, above its numbers."""

    def lines(self, row: Row, *, is_head: bool = False) -> list[str]:
        """The lines of a row; cells that are wider than their column are broken at blanks."""
        if not self.stacked:
            return self._beside(row, 0, is_head)
        texts = wrapped(GAP.join(filter(None, row[: self.texts])), self.screen)
        numbers = [line for joined in self._beside(row, self.texts, is_head) for line in wrapped(joined, self.screen)]
        return [*texts, *(GAP + line for line in numbers)]

    def _beside(self, row: Row, first: int, is_head: bool) -> list[str]:
        widths = self.widths[first:] if self.screen else [None] * len(self.widths[first:])
        cells = [wrapped(cell, width) for cell, width in zip(row[first:], widths, strict=True)]
        height = max(map(len, cells), default=0)
        lines = []
        for number in range(height):
            line = []
            for column, cell in enumerate(cells, first):
                at = number - (height - len(cell) if is_head else 0)  # names end at the rule, texts begin at the top
                text = cell[at] if 0 <= at < len(cell) else ""
                blanks = " " * (self.widths[column] - text_width(text))
                line.append(text + blanks if column < self.texts else blanks + text)
            lines.append(GAP.join(line).rstrip())
        return lines


def layout(head: Row, rows: Sequence[Row], texts: int, screen: int | None) -> Layout:
    """The layout of a table for a screen of so many columns (None: no screen, and every row is one line).

    On a narrow screen the names of numbers are broken at blanks, then texts, and then texts and numbers are stacked.
    """
    whole = [max(text_width(row[column]) for row in [head, *rows]) for column in range(len(head))]
    if screen is None or _total(whole) <= screen:
        return Layout(whole, texts, screen)
    numbers = [max([_longest_word(head[at]), *(text_width(row[at]) for row in rows)]) for at in range(texts, len(head))]
    least = [max(_longest_word(row[column]) for row in [head, *rows]) for column in range(texts)]
    if _total([*least, *numbers]) > screen:
        fits = len(GAP) + _total(whole[texts:]) <= screen
        return Layout(whole if fits else [*whole[:texts], *numbers], texts, screen, stacked=True)
    widths = [*whole[:texts], *numbers]
    while _total(widths) > screen:
        widest = max((at for at in range(texts) if widths[at] > least[at]), key=widths.__getitem__)
        widths[widest] -= 1
    return Layout(widths, texts, screen)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _longest_word(text: str) -> int:
    return max(map(text_width, text.split(" ")))
