"""A picture of a training run: losses and learning rate over the steps."""

import json
from pathlib import Path

WIDTH, HEIGHT = 9.0, 4.2
CONTRAST, DISTILL, RATE = "#0072B2", "#D55E00", "#555555"  # told apart by the colour-blind and, by dashes, in grey


def draw_training(metrics: Path, picture: Path) -> None:
    """Draw `metrics.jsonl` (one JSON object a step) as a PNG: a panel a phase."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    panels = [(phase, terms) for phase, terms in _PHASES.items() if any(e["phase"] == phase for e in entries)]
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (phase, terms) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        rows = [e for e in entries if e["phase"] == phase]
        steps = [e["step"] for e in rows]
        for (key, label), colour, dashes in zip(terms, (CONTRAST, DISTILL), ("-", "--"), strict=True):
            if all(key in e for e in rows):
                values = [e[key] for e in rows]
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                axes.plot(steps, smoothed(values), dashes, color=colour, label=label)
        axes.set(title=phase.capitalize(), xlabel="step", ylabel="loss")
        rate = axes.twinx()
        rate.plot(steps, [e["learning_rate"] for e in rows], ":", color=RATE, label="learning rate")
        rate.set_ylabel("learning rate", color=RATE)
        rate.ticklabel_format(axis="y", style="sci", scilimits=(-3, -3))
        lines = [*axes.get_lines()[1::2], *rate.get_lines()]
        axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="upper right")
    figure.savefig(picture, dpi=120)


_PHASES = {
    "warm start": (("distance", "1 - cosine to the base model"), ("order", "similarity matrices")),
    "training": (("contrast", "contrast"), ("distill", "self-distillation")),
}


def smoothed(values: list[float], weight: float = 0.8) -> list[float]:
    """Exponential moving average, corrected for its start."""
    out, average = [], 0.0
    for n, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        out.append(average / (1 - weight**n))
    return out
