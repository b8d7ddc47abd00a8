"""Tables for people of what `debater eval` compares: systems with each other, and measured with published figures."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from debater_search.cli.output import Output
from debater_search.terminal import NARROWEST, printable, text_width, wrapped

if TYPE_CHECKING:
    from debater_search.evaluation.results import Entry

TOP = 3  # queries shown that gained most, and as many that lost most; the report has ten
VALUES = 60  # columns of the screen that a table of comparisons needs for values; names that do not fit beside them are
# only in its title


def show_comparisons(out: Output, comparisons: "Sequence[Entry]") -> None:
    """Show the differences in each metric and their significance, then the queries that differ most."""
    for entry in comparisons:
        task, baseline, system = entry["task"], entry["baseline"], entry["system"]
        metrics = entry["metrics"]
        rows = [
            [_label(out, baseline, "baseline"), *(_number(values["baseline"], ".4f") for values in metrics.values())],
            [_label(out, system, "system"), *(_number(values["system"], ".4f") for values in metrics.values())],
            ["difference", *(_number(values["difference"], "+.4f") for values in metrics.values())],
            ["95%", *("…".join(_number(end, "+.3f") for end in values["interval"]) for values in metrics.values())],
            ["p, randomisation", *(_chance(values["p_randomisation_holm"]) for values in metrics.values())],
            ["p, t-test", *(_chance(values["p_t_holm"]) for values in metrics.values())],
            ["effect size", *(_number(values["effect_size"], "+.2f") for values in metrics.values())],
            ["wins/ties/losses", *(f"{v['wins']}/{v['ties']}/{v['losses']}" for v in metrics.values())],
        ]
        out.show("")
        out.table(f"{task}: {system} against {baseline} (p after Holm correction)", ["", *metrics], rows)
        out.show("")
        for side in ("gained", "lost"):
            _show_queries(out, side, entry[side])
    if comparisons:
        out.show(
            "p values are corrected for the number of tests, 95% intervals are not: where they disagree, p decides."
        )


def show_published(out: Output, measured: Iterable[tuple[str, str, dict[str, float]]]) -> None:
    """Show published figures beside the measured ones; `measured`: task or suite, model, metrics."""
    from debater_search.evaluation import published_figures

    rows = [
        [
            task,
            model,
            figure.metric,
            figure.source,
            f"{figure.value:.{figure.digits}f}",
            f"{figure.measured:.{figure.digits}f}",
            f"{figure.difference:+.{figure.digits}f}",
            "yes" if figure.differs else "no",
        ]
        for task, model, metrics in measured
        for figure in published_figures(task, model, metrics)
    ]
    if rows:
        head = ["task", "model", "metric", "source", "published", "here", "difference", "more than rounding"]
        out.show("")
        out.table("Measured beside published (models are recognised by name)", head, rows, text_columns=4)


def _show_queries(out: Output, side: str, queries: "Sequence[Entry]") -> None:
    """One line for each of the first queries: the baseline's value and the system's, id, text."""
    shown = queries[:TOP]
    if not shown:
        return
    of = f"{len(shown)} of {len(queries)}, " if len(queries) > len(shown) else ""
    out.show(f"Queries that {side} most ({of}ndcg@10)")
    width = max(text_width(query["query"]) for query in shown)
    for query in shown:
        blanks = " " * (width - text_width(query["query"]))
        lead = f"  {query['baseline']:.3f} → {query['system']:.3f}  {query['query']}{blanks}  "
        room = out.width and max(out.width - text_width(lead) - 1, NARROWEST)
        first, *rest = wrapped(printable(query["text"]), room)
        out.show(lead + first + ("…" if rest else ""))


def _label(out: Output, name: str, role: str) -> str:
    return name if out.width is None or text_width(name) <= out.width - VALUES else role


def _chance(p: float | None) -> str:
    return "< 0.0001" if p is not None and p < 0.00005 else _number(p, ".4f")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"
