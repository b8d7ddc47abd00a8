"""The pictures of ablation.py: what each variant reaches, and how it got there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from debater_search.reports.style import COLOURS, DASHES, grid, new_figure, save, styled
from debater_search.reports.training import smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Reached = tuple[float, tuple[float, float], Sequence[float]]
"""A variant's mean, its interval and each seed's mean."""
Log = Sequence[Mapping[str, Any]]
"""The entries of a run's metrics.jsonl."""

SMOOTHING = 0.8


def draw_bars(panels: Mapping[str, Mapping[str, Reached]], picture: Path) -> None:
    """A panel for each title: means with intervals, and beside each a small ring for every seed.

    Where all labels are numbers, a line joins the means.
    """
    with styled():
        figure = new_figure(5.25 * len(panels), 3.8)
        for axes, (title, reached) in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
        ):
            means = [mean for mean, _, _ in reached.values()]
            bounds = np.array([interval for _, interval, _ in reached.values()]).reshape(-1, 2)
            errors = [np.subtract(means, bounds[:, 0]), np.subtract(bounds[:, 1], means)]
            numbers = all(label.isdecimal() for label in reached)
            axes.errorbar(
                range(len(means)), means, errors, fmt="o-" if numbers else "o", color=COLOURS[0], capsize=4,
                label="mean, 95% interval",
            )  # fmt: skip
            for place, (_, _, seeds) in enumerate(reached.values()):
                axes.plot([place + 0.15] * len(seeds), seeds, "o", markersize=4, color="#555555", fillstyle="none",
                          label=None if place else "one seed")  # fmt: skip
            labels = [label.replace(" only", "\nonly") for label in reached]
            axes.set_xticks(range(len(labels)), labels, fontsize=None if numbers else 8)
            axes.set(title=title)
            axes.margins(x=0.15)
            grid(axes)
        figure.axes[0].set_ylabel("nDCG@10")
        figure.axes[-1].legend(frameon=False, fontsize=8)
        save(figure, picture)


def draw_curves(logs: Mapping[str, Sequence[Log]], picture: Path) -> None:
    """Contrast and nDCG@10 of each variant over its steps, means over its seeds; variants that measured nothing have
    no curve."""
    with styled():
        figure = new_figure(9.6, 3.8)
        loss, score = figure.subplots(1, 2)
        for number, (name, runs) in enumerate(logs.items()):
            turn = number + number // len(COLOURS)  # neighbours differ in both
            look = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[turn % len(DASHES)]}
            steps, contrast = _mean_curve(runs, "training", "contrast")
            loss.plot(steps, contrast, alpha=0.25, linewidth=0.8, **look)
            loss.plot(steps, smoothed(contrast, SMOOTHING), label=name, **look)
            score.plot(*_mean_curve(runs, "evaluation", "ndcg@10"), marker="o", markersize=4, label=name, **look)
        _finish(loss, "Contrast while training", "loss")
        _finish(score, "Development questions", "nDCG@10")
        save(figure, picture)


def _mean_curve(runs: Sequence[Log], phase: str, key: str) -> tuple[list[int], list[float]]:
    found: dict[int, list[float]] = {}
    for entry in (entry for log in runs for entry in log if entry["phase"] == phase and key in entry):
        found.setdefault(entry["step"], []).append(entry[key])
    return sorted(found), [float(np.mean(found[step])) for step in sorted(found)]


def _finish(axes: "Axes", title: str, label: str) -> None:
    axes.set(title=title, xlabel="step", ylabel=label)
    grid(axes)
    axes.legend(frameon=False, fontsize=8)
