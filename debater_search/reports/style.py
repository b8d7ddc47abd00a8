"""The common style of all pictures: readable for the colour-blind and in grey."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from debater_search.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.4, 4.0  # inches, for one panel

COLOURS, DASHES = ("#0072B2", "#D55E00", "#009E73"), ("-", "--", "-.")
"""Distinct for the colour-blind and, by their dashes, in grey."""
DARK = "#111111"
BEST = "#E69F00"
SHALLOW, DEEP = 0.82, 0.12
"""The ends of cividis for thinking steps: ordered by lightness, both visible on white."""


@contextmanager
def styled() -> Iterator[None]:
    """Everything drawn and saved in this block has the common style."""
    matplotlib = require("matplotlib", extra="eval")
    common = {"svg.hashsalt": "debater", "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(common):
        yield


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> "Figure":
    """An empty picture, size in inches; opens no window."""
    figure: Figure = require("matplotlib.figure", extra="eval").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", extra="eval").FigureCanvasAgg(figure)
    return figure


def depth_colour(share: float) -> tuple[float, ...]:
    """The colour of a thinking step, from the first (0) to the last (1): later steps are darker."""
    matplotlib = require("matplotlib", extra="eval")
    colour: tuple[float, ...] = matplotlib.colormaps["cividis"](SHALLOW + share * (DEEP - SHALLOW))
    return colour


def grid(axes: "Axes", axis: Literal["x", "y"] = "y") -> None:
    """Draw faint grid lines."""
    axes.grid(axis=axis, alpha=0.25)
    axes.set_axisbelow(True)


def mark_best(axes: "Axes", at: float, score: float, text: str = "", *, left: bool = False, label: str = "") -> None:
    """Mark the best point of a curve by a star, with text to its left or right; `label` adds it to the legend."""
    axes.plot(
        at, score, linestyle="", marker="*", markersize=17, markerfacecolor=BEST, markeredgecolor=DARK,
        label=label, zorder=5,
    )  # fmt: skip
    if text:
        beside, ha = (-12, "right") if left else (12, "left")
        axes.annotate(text, (at, score), textcoords="offset points", xytext=(beside, 12), ha=ha)


def save(figure: "Figure", picture: Path) -> None:
    """Write a picture as PNG and, beside it, as SVG; the same data gives the same bytes."""
    figure.savefig(picture, dpi=120)
    figure.savefig(picture.with_suffix(".svg"), metadata={"Date": None})
