"""The picture of a training run: losses, learning rate, and nDCG@10 of each thinking step."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.files import from_json
from debater_search.reports.style import COLOURS, DARK, DASHES, depth_colour, grid, mark_best, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entries = list[dict[str, Any]]

PANEL_WIDTH, ROW_HEIGHT = 4.6, 3.5  # inches
COMPACT: dict[str, float] = {"fontsize": 9, "columnspacing": 1.2, "handlelength": 1.8, "handletextpad": 0.5}
"""Legends in one line below a panel."""
POINTS = 1000
"""Most points per curve, so that the picture of a million steps stays small."""

LOSSES = {
    "warm start": {"distance": "1 - cosine to the base model", "order": "similarity matrices"},
    "training": {"contrast": "contrast", "distill": "self-distillation", "teacher": "teacher"},
}
"""Phase → name of a loss term in the log → its name in the picture."""


def draw_training(metrics: Path, picture: Path) -> None:
    """Draw `metrics.jsonl` as a PNG and, beside it, an SVG: losses, learning rate, nDCG@10 of each thinking step."""
    entries = read_metrics(metrics)
    phases = [phase for phase in LOSSES if _of(entries, phase)]
    measured, start = _of(entries, "evaluation"), _of(entries, "before training")
    top = [*phases, "learning rate"]
    mosaic = [top, ["ndcg"] * len(top)] if measured else [top]
    with styled():
        figure = new_figure(PANEL_WIDTH * len(top), ROW_HEIGHT * len(mosaic))
        panels: dict[str, Axes] = figure.subplot_mosaic(mosaic)
        for phase in phases:
            _draw_losses(panels[phase], phase, _of(entries, phase))
        _draw_rate(panels["learning rate"], _of(entries, phases[-1]) if phases else [])
        if measured:
            _draw_ndcg(panels["ndcg"], measured, start)
        save(figure, picture)


def read_metrics(path: Path) -> Entries:
    """The entries of a log; a line truncated by a kill is skipped."""
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = from_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "phase" in entry and "step" in entry:
            entries.append(entry)
    return entries


def smoothed(values: list[float], weight: float) -> list[float]:
    """Exponential moving average with bias correction."""
    out, average = [], 0.0
    for n, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        out.append(average / (1 - weight**n))
    return out


def _draw_losses(axes: "Axes", phase: str, rows: Entries) -> None:
    for (key, label), colour, dashes in zip(LOSSES[phase].items(), COLOURS, DASHES, strict=False):
        steps, values = _curve(rows, key)
        if not values:
            continue
        axes.plot(*_thinned(steps, values), color=colour, alpha=0.25, linewidth=0.8)
        weight = max(0.8, 1 - 30 / len(values))  # long runs need more smoothing
        axes.plot(*_thinned(steps, smoothed(values, weight)), dashes, color=colour, linewidth=1.8, label=label)
    axes.set(title=phase.capitalize(), xlabel="step", ylabel="loss")
    _grid(axes)
    # below the panel: inside, some course of the losses always passes behind it
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(LOSSES[phase]), **COMPACT)


def _draw_rate(axes: "Axes", rows: Entries) -> None:
    axes.plot(*_thinned(*_curve(rows, "learning_rate")), color=DARK, linewidth=1.5)
    axes.set(title="Learning rate", xlabel="step")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    _grid(axes)


def _draw_ndcg(axes: "Axes", rows: Entries, start: Entries) -> None:
    """Draw nDCG@10 over training: thin lines for thinking steps, a thick one for the last, which search uses.

    A dotted line across is the model before training.
    """
    for score in _curve(start, "ndcg@10")[1][-1:]:
        axes.axhline(score, color=DARK, linewidth=1.3, linestyle=":", label=f"before training: {score:.3f}")
    depth = max((len(row.get("steps") or []) for row in rows), default=0)
    for number in range(depth - 1):
        share = number / max(1, depth - 2)
        alone = [(row["step"], row["steps"][number]) for row in rows if len(row.get("steps") or []) > number]
        axes.plot(
            *zip(*alone, strict=True), color=depth_colour(share),
            linewidth=1.3, marker="." if len(alone) == 1 else "", label=f"step {number + 1}",
        )  # fmt: skip
    steps, scores = _curve(rows, "ndcg@10")
    last = f"step {depth}, used for search" if depth > 1 else "nDCG@10"
    axes.plot(steps, scores, color=DARK, linewidth=2.8, marker="o", markersize=4, label=last)
    _mark_best(axes, steps, scores)
    axes.set(title="nDCG@10 of each thinking step" if depth > 1 else "nDCG@10", xlabel="step", ylabel="nDCG@10")
    _grid(axes)
    axes.margins(y=0.15)
    handles, labels = axes.get_legend_handles_labels()
    # last step on top, as the curves usually lie; beside the panel, since eight entries would hide the curves
    axes.legend(handles[::-1], labels[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _grid(axes: "Axes") -> None:
    axes.locator_params(axis="x", integer=True)  # there is no step 2.5
    grid(axes)


def _mark_best(axes: "Axes", steps: list[int], scores: list[float]) -> None:
    if not scores:
        return
    at = max(range(len(scores)), key=scores.__getitem__)  # the first of equal scores, like the kept checkpoint
    mark_best(axes, steps[at], scores[at], label=f"best checkpoint:\n{scores[at]:.3f} at step {steps[at]:,}")


def _of(entries: Entries, phase: str) -> Entries:
    return [entry for entry in entries if entry["phase"] == phase]


def _curve(rows: Entries, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the entries in which `key` is finite."""
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None and math.isfinite(row[key])]
    return [step for step, _ in found], [value for _, value in found]


def _thinned(steps: list[int], values: list[float]) -> tuple[list[int], list[float]]:
    stride = -(-len(steps) // POINTS) or 1
    return steps[::stride], values[::stride]
