"""Results and comparisons as notebooks show them, and in a line for a prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from debater_search.evaluation.metrics import COMPARED
from debater_search.notebook import table
from debater_search.terminal import printable


def result_line(task: str, model: str, metrics: Mapping[str, float], queries: int) -> str:
    """A result for a prompt: what was scored, and the metrics that are compared."""
    figures = ", ".join(f"{name} {metrics[name]:.4f}" for name in COMPARED if name in metrics)
    return f"Result({task!r}, {model!r}, {count_of(queries)}: {figures})"


def count_of(queries: int) -> str:
    """A number of queries in words."""
    return f"{queries:,} {'query' if queries == 1 else 'queries'}"


def result_table(
    title: str, metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], note: str
) -> str:
    """Every metric with its 95% interval, those that are compared above the others."""
    names = [name for name in COMPARED if name in metrics] + [name for name in metrics if name not in COMPARED]
    rows = [(name, f"{metrics[name]:.4f}", "{:.3f} … {:.3f}".format(*intervals[name])) for name in names]
    return table(("metric", "mean", "95% interval"), rows, title=title, note=note)


def comparison_table(entry: Mapping[str, Any]) -> str:
    """Both systems' means, the difference with its interval, and p after Holm correction, for each metric tested."""
    rows = [
        (
            metric,
            f"{values['baseline']:.4f}",
            f"{values['system']:.4f}",
            f"{values['difference']:+.4f}",
            "{:+.3f} … {:+.3f}".format(*values["interval"]),
            f"{values['p_randomisation_holm']:.4f}",
            f"{values['wins']} / {values['ties']} / {values['losses']}",
        )
        for metric, values in entry["metrics"].items()
    ]
    baseline, system = entry["baseline"], entry["system"]
    columns = ("metric", baseline, system, "difference", "95% interval", "p (randomisation, Holm)", "wins/ties/losses")
    note = "p values are corrected for the number of tests, intervals are not"
    return table(columns, rows, title=f"{entry['task']}: {system} against {baseline}", note=note)


def comparison_lines(entries: Sequence[Mapping[str, Any]]) -> str:
    """A line for each comparison: the difference in the first metric, and its p value."""
    lines = []
    for entry in entries:
        metric, values = next(iter(entry["metrics"].items()))
        lines.append(
            f"{entry['task']}: {entry['system']} − {entry['baseline']}: {metric} {values['difference']:+.4f} "
            f"(p {values['p_randomisation_holm']:.4f} after Holm correction)"
        )
    return "\n".join(map(printable, lines)) or "No comparisons."
