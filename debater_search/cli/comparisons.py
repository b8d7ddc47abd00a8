"""Tables for people of what `debater eval` compares: systems with each other, and measured with published figures."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from debater_search.cli.output import Output

if TYPE_CHECKING:
    from debater_search.evaluation.results import Entry

TOP = 5  # documents shown of a ranking; results.json has ten
TEXT = 60  # characters shown of a query


def show_comparisons(out: Output, comparisons: "Sequence[Entry]") -> None:
    """Show each metric's difference and its significance, then the queries that differ most."""
    for entry in comparisons:
        task, baseline, system = entry["task"], entry["baseline"], entry["system"]
        rows = [
            [
                metric,
                f"{values['baseline']:.4f}",
                f"{values['system']:.4f}",
                f"{values['difference']:+.4f}",
                "{:+.3f}…{:+.3f}".format(*values["interval"]),
                _p(values["p_randomisation"], values["p_randomisation_holm"]),
                _p(values["p_t"], values["p_t_holm"]),
                "–" if values["effect_size"] is None else f"{values['effect_size']:+.2f}",
                f"{values['wins']}/{values['ties']}/{values['losses']}",
            ]
            for metric, values in entry["metrics"].items()
        ]
        columns = ["metric", baseline, system, "difference", "95%", "randomisation p (Holm)", "t-test p (Holm)"]
        out.show("")
        out.table(f"{task}: {system} against {baseline}", [*columns, "effect", "wins/ties/losses"], rows)
        for title, queries in (("gained", entry["gained"]), ("lost", entry["lost"])):
            if queries:
                _show_queries(out, f"Queries of {task} that {title} most, ndcg@10; * is relevant", entry, queries)


def show_published(out: Output, measured: Iterable[tuple[str, str, dict[str, float]]]) -> None:
    """Show published figures beside the measured ones; `measured`: task or suite, model, metrics."""
    from debater_search.evaluation import published_figures

    rows = [
        [
            task,
            model,
            figure.metric,
            f"{figure.value:.{figure.digits}f}",
            f"{figure.measured:.{figure.digits}f}",
            f"{figure.difference:+.{figure.digits}f}",
            "yes" if figure.differs else "no",
            figure.source,
        ]
        for task, model, metrics in measured
        for figure in published_figures(task, model, metrics)
    ]
    if rows:
        columns = ["task", "model", "metric", "published", "here", "difference", "more than rounding", "source"]
        out.show("")
        out.table("Measured beside published (models are recognised by name)", columns, rows, text_columns=3)


def _show_queries(out: Output, title: str, entry: "Entry", queries: "Sequence[Entry]") -> None:
    rows = [
        [
            query["query"],
            query["text"] if len(query["text"]) <= TEXT else query["text"][: TEXT - 1] + "…",
            _top(query["baseline_ranking"]),
            _top(query["system_ranking"]),
            f"{query['baseline']:.3f}",
            f"{query['system']:.3f}",
        ]
        for query in queries
    ]
    baseline, system = entry["baseline"], entry["system"]
    columns = ["query", "text", f"{baseline}: first {TOP}", f"{system}: first {TOP}", baseline, system]
    out.show("")
    out.table(title, columns, rows, text_columns=4)


def _top(ranking: Sequence[Sequence[Any]]) -> str:
    return " ".join(f"{document_id}{'*' * ((gain or 0) > 0)}" for document_id, gain in ranking[:TOP]) or "–"


def _p(p: float, corrected: float) -> str:
    return f"{p:.4f} ({corrected:.4f})"
