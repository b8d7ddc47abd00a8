"""Pictures of an evaluation's analyses, each made only from its table on disk."""

import csv
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from debater_search.extras import require
from debater_search.reports.style import (
    COLOURS,
    DARK,
    HEIGHT,
    WIDTH,
    depth_colour,
    grid,
    mark_best,
    new_figure,
    save,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = list[dict[str, str]]
"""A table: column → cell."""

SCORE = "ndcg@10"
SCORE_LABEL = "nDCG@10 (95% interval)"
LETTERS = 11  # of a title, per inch
VALUE_SIZE = 9  # points
BLUE, VERMILION, GREEN = COLOURS


def draw_analysis(name: str, table: Path, title: str) -> tuple[Path, Path]:
    """Draw the analysis `name` from its CSV file; returns the SVG and the PNG written beside it."""
    matplotlib = require("matplotlib", extra="eval")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    picture = table.with_suffix(".png")
    with styled(), matplotlib.rc_context({"text.parse_math": False}):  # a $ in a name is no formula
        width, height = _SIZES.get(name, (WIDTH, HEIGHT))
        figure = new_figure(width, height)
        figure.suptitle(textwrap.fill(title, int(LETTERS * width)), fontsize=11)
        DRAWINGS[name](figure, rows)
        save(figure, picture)
    return picture.with_suffix(".svg"), picture


def _steps(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    alone = [row for row in rows if row["step"].isdigit()]
    together = [row for row in rows if not row["step"].isdigit()]
    scores = _numbers(alone, SCORE)
    axes.axhline(scores[-1], color=DARK, linewidth=0.9, linestyle=":")
    axes.plot(range(len(alone)), scores, color="#888888", linewidth=1)
    for place, row in enumerate(alone):
        _point(axes, place, row, "o", depth_colour(place / max(1, len(alone) - 1)))
    apart = [len(alone) + 0.5 + 1.2 * place for place in range(len(together))]
    for right, row, marker, colour in zip(apart, together, "s^", (VERMILION, GREEN), strict=True):
        _point(axes, right, row, marker, colour)
    names = [*(row["step"] for row in alone), *(f"{row['step']}\nof steps" for row in together)]
    names[len(alone) - 1] += "\n(search)"
    axes.set_xticks([*range(len(alone)), *apart], names)
    axes.set(xlabel="thinking step", ylabel=SCORE_LABEL)
    axes.margins(y=0.12)
    grid(axes)


def _cosines(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    names = [row["step"] for row in rows]
    matrix = [_numbers([row], *names) for row in rows]
    low = min(map(min, matrix))
    digits = 3 if low > 0.9 else 2
    image = axes.imshow(matrix, cmap="cividis", vmin=low, vmax=1, aspect="equal")
    if len(names) <= 12:
        for y, values in enumerate(matrix):
            for x, value in enumerate(values):
                light = value > (1 + low) / 2  # the cell's colour
                axes.text(
                    x, y, f"{value:.{digits}f}", ha="center", va="center", size=VALUE_SIZE, color="k" if light else "w"
                )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="thinking step", ylabel="thinking step")
    bar = figure.colorbar(image, ax=axes, label="mean cosine over documents")
    bar.outline.set_visible(False)


def _last(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    steps = _numbers(rows, "step")
    low, high, mean = (_numbers(rows, name) for name in ("quartile_1", "quartile_3", "mean"))
    axes.fill_between(steps, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(steps, mean, marker="o", color=BLUE, linewidth=1.8)
    axes.set_xticks(steps, [row["step"] for row in rows])
    axes.set(xlabel="thinking step", ylabel=f"cosine to step {rows[-1]['step']}")
    # both curves end in one point; the corner is free
    axes.legend(["middle half of the documents", "mean"], frameon=False, loc="lower right")
    grid(axes)


def _dimensions(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    sizes = _numbers(rows, "dimensions")
    axes.set_xscale("log", base=2)
    axes.axhline(_numbers(rows, SCORE)[-1], color=DARK, linewidth=0.9, linestyle=":")
    _curve(axes, sizes, rows)
    for size, score in zip(sizes, _numbers(rows, SCORE), strict=True):
        _label(axes, size, score, f"{score:.3f}", (7, -6), "left", va="top")
    _ticks(axes, sizes)
    axes.set(xlabel="dimensions kept", ylabel=SCORE_LABEL)
    axes.margins(x=0.1, y=0.12)


def _indexes(figure: "Figure", rows: Rows) -> None:
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    names = [row["type"] for row in rows]
    columns = [
        ("recall@10", "recall@10\n(relative to exact search)", 1.0),
        ("ms_per_query_p50", "search time per query\n(ms, median)", 1.0),
        ("memory_bytes", "memory of the index\n(MB)", 1e-6),
    ]
    for axes, (column, label, scale), colour in zip(panels, columns, COLOURS, strict=True):
        values = [scale * value for value in _numbers(rows, column)]
        bars = axes.barh(names, values, color=colour, alpha=0.75, height=0.6)
        axes.bar_label(
            bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values], padding=3, size=VALUE_SIZE
        )
        axes.set_xlim(0, 1.3 * max(values))
        axes.set(xlabel=label)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=3)
        grid(axes, "x")
    panels[0].set_ylabel("index type")
    panels[0].invert_yaxis()
    panels[0].set_xticks([0, 0.5, 1])


def _lengths(figure: "Figure", rows: Rows) -> None:
    kinds = list(dict.fromkeys(row["of"] for row in rows))
    panels: Sequence[Axes] = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind, marker, colour in zip(panels, kinds, "os", COLOURS, strict=False):
        own = [row for row in rows if row["of"] == kind]
        for place, row in enumerate(own):
            _point(axes, place, row, marker, colour)
        names = [f"{_range(row)}\nn = {row['queries']}" for row in own]
        axes.set_xticks(range(len(own)), names, size=VALUE_SIZE)
        axes.set(xlabel=f"length of {kind} (words)")
        axes.margins(x=0.12, y=0.12)
        grid(axes)
    panels[0].set_ylabel(SCORE_LABEL)


def _weights(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    places, scores = _numbers(rows, "dense_weight"), _numbers(rows, SCORE)
    _curve(axes, places, rows)
    _label(axes, places[0], scores[0], f"lexical only\n{scores[0]:.3f}", (8, -8), "left", va="top")
    _label(axes, places[-1], scores[-1], f"dense only\n{scores[-1]:.3f}", (-8, -8), "right", va="top")
    at = max(range(len(scores)), key=scores.__getitem__)
    if 0 < at < len(scores) - 1:
        mark_best(axes, places[at], scores[at], f"{scores[at]:.3f} at {places[at]:g}", left=at > len(scores) / 2)
    axes.set_xticks(places)
    axes.set(xlabel="weight of dense search (lexical: the rest)", ylabel=SCORE_LABEL)
    axes.margins(y=0.15)


def _training(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    places, scores = _numbers(rows, "step"), _numbers(rows, SCORE)
    _curve(axes, places, rows)
    at = max(range(len(scores)), key=scores.__getitem__)
    mark_best(axes, places[at], scores[at], f"{scores[at]:.3f} at step {places[at]:,.0f}", left=at > len(scores) / 2)
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="training step of the checkpoint", ylabel=SCORE_LABEL)
    axes.margins(y=0.15)


def _depth(figure: "Figure", rows: Rows) -> None:
    axes: Axes = figure.subplots()
    depths = _numbers(rows, "thinking_steps")
    axes.set_xscale("log", base=2)
    for depth, row in zip(depths, rows, strict=True):
        _point(axes, depth, row, "o", BLUE, row["checkpoint"])
    if len(set(depths)) == len(depths):
        axes.plot(depths, _numbers(rows, SCORE), color="#888888", linewidth=1, zorder=1)
    _ticks(axes, sorted(set(depths)))
    axes.set(xlabel="thinking steps of the checkpoint", ylabel=SCORE_LABEL)
    axes.margins(x=0.15, y=0.12)
    grid(axes)


DRAWINGS: dict[str, Callable[["Figure", Rows], None]] = {
    "steps": _steps,
    "cosines": _cosines,
    "last": _last,
    "dimensions": _dimensions,
    "indexes": _indexes,
    "lengths": _lengths,
    "weights": _weights,
    "training": _training,
    "depth": _depth,
}
_SIZES = {"cosines": (5.6, 4.8), "indexes": (8.4, 3.4), "lengths": (8.4, HEIGHT)}  # inches, if not WIDTH and HEIGHT


def _numbers(rows: Rows, *columns: str) -> list[float]:
    return [float(row[column]) for row in rows for column in columns]


def _curve(axes: "Axes", places: list[float], rows: Rows) -> None:
    """Draw the scores, and their intervals as a band."""
    axes.fill_between(places, _numbers(rows, "low"), _numbers(rows, "high"), color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(places, _numbers(rows, SCORE), marker="o", markersize=6, color=BLUE, linewidth=1.8)
    grid(axes)


def _point(
    axes: "Axes", place: float, row: dict[str, str], marker: str, colour: str | tuple[float, ...], name: str = ""
) -> None:
    """Draw a score with its interval, and its value above."""
    score, low, high = _numbers([row], SCORE, "low", "high")
    axes.errorbar(
        place, score, [[score - low], [high - score]], fmt=marker, color=colour, markeredgecolor=DARK, markersize=7,
        capsize=3, elinewidth=1.2,
    )  # fmt: skip
    _label(axes, place, high, f"{name}\n{score:.3f}".strip(), (0, 3), "center")


def _label(
    axes: "Axes", x: float, y: float, text: str, offset: tuple[float, float], ha: str, va: str = "bottom"
) -> None:
    axes.annotate(text, (x, y), textcoords="offset points", xytext=offset, ha=ha, va=va, size=VALUE_SIZE)


def _ticks(axes: "Axes", places: list[float]) -> None:
    """Set ticks only at these places, as plain numbers."""
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()


def _range(row: dict[str, str]) -> str:
    low, high = (f"{float(row[name]):.0f}" for name in ("shortest", "longest"))
    return low if low == high else f"{low}–{high}"
