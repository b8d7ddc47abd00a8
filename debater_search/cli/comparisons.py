"""What `debater eval` sets beside its results: baselines, other runs, published figures; and how that is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cli.output import Output
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Judged, Result, RetrievalTask, SavedRun
    from debater_search.evaluation.results import Entry
    from debater_search.search import SearchEngine
    from debater_search.types import Document

BM25 = "bm25"
TOP = 5  # documents shown of a ranking; results.json has ten
TEXT = 60  # characters shown of a query


def find_compared(sources: Iterable[str], tasks: Sequence[str]) -> "list[SavedRun]":
    """All runs that `--compare` names. Raises DebaterError where one answers none of the tasks, or no single one."""
    from debater_search.evaluation import find_runs

    found: list[SavedRun] = []
    for source in sources:
        runs = find_runs(source)
        if len(tasks) > 1 and any(run.task is None for run in runs):
            raise _one_task(source, len(tasks))
        matching = [run for run in runs if run.task is None or run.task in tasks]
        if not matching:
            has = ", ".join(sorted({run.task for run in runs if run.task})) or "none"
            raise DebaterError(f"{source} has no results on {', '.join(tasks)}.", f"It has results on: {has}.")
        found += matching
    return found


def judged_by_task(task: "RetrievalTask", split: str) -> "Judged":
    """What runs on a task are scored against."""
    from debater_search.evaluation import Judged

    texts = {query.id: query.text for query in task.queries(split)}
    return Judged(task.name, task.qrels(split), texts, task.ignore_identical_ids)


def judged_by_file(qrels: Path) -> "Judged":
    """What `--run` is scored against; .../cranfield/qrels/test.tsv is about cranfield, whose queries are beside it."""
    from debater_search.data import read_qrels, read_queries
    from debater_search.evaluation import Judged, run_name

    judged, folder = read_qrels(qrels), qrels.resolve().parent
    if folder.name != "qrels":
        return Judged(run_name(qrels), judged, {})
    try:
        texts = {query.id: query.text for query in read_queries(folder.parent)}
    except DebaterError:  # a run is scored without its queries as well
        texts = {}
    return Judged(folder.parent.name, judged, texts)


def load_baselines(names: Sequence[str], system: str, tasks: int, device: str) -> list[Any]:
    """What `--baseline` names, ready for `score_baseline`: "bm25", a run file or an encoder.

    Raises DebaterError where one has the name of another, or of the `system` that is evaluated; BM25 may be both.
    """
    taken = {system}
    baselines: list[Any] = []
    for name in names:
        if name == system == BM25:
            continue
        baseline = _load_baseline(name, tasks, device)
        called = baseline_name(baseline)
        if called in taken:
            raise DebaterError(f"Two of what is to be compared are called {called}.", "Name each of them once.")
        taken.add(called)
        baselines.append(baseline)
    return baselines


def baseline_name(baseline: Any) -> str:
    """What results call a baseline."""
    from debater_search.evaluation import run_name

    return run_name(baseline) if isinstance(baseline, Path) else getattr(baseline, "name", BM25)


def _load_baseline(name: str, tasks: int, device: str) -> Any:
    from debater_search.encoder import Encoder

    if name == BM25:
        return BM25
    if not Path(name).is_file():
        return Encoder.load(name, device=device)
    if tasks > 1:
        raise _one_task(name, tasks)
    return Path(name)


def score_baseline(
    baseline: Any, task: "RetrievalTask", engine: "SearchEngine", *, split: str, index_type: str
) -> "Result":
    """A baseline's result on a task; `engine` has its corpus, so that BM25 needs no index of its own."""
    from debater_search import evaluation

    if baseline == BM25:
        return evaluation.evaluate(task, engine, split=split, mode="lexical")
    if isinstance(baseline, Path):
        saved = evaluation.SavedRun(evaluation.run_name(baseline), baseline)
        return evaluation.read_saved(saved, judged_by_task(task, split))
    return evaluation.evaluate(task, baseline, split=split, index_type=index_type, progress=True)


def compare_results(results: "Sequence[Result]", saved: "Sequence[SavedRun]", judged: "Judged") -> "list[Entry]":
    """The first of one task's results beside the others, and beside the saved runs of that task."""
    from debater_search.evaluation import compare, read_saved

    system, *baselines = results
    taken = {result.model for result in results}
    for run in saved:
        if run.task in (None, judged.task):
            name = run.name if run.name not in taken else f"{run.name} ({run.path})"
            taken.add(name)
            baselines.append(replace(read_saved(run, judged), model=name))
    return compare(system, baselines, judged)


def save_compared(
    output: Path,
    results: "Sequence[Result]",
    judged: "Judged",
    comparisons: "Sequence[Entry]",
    documents: "Iterable[Document]" = (),
) -> None:
    """Keep the comparisons of one task, and the queries and documents that explain them."""
    from debater_search.evaluation import save_comparisons, save_details

    save_details(output, results, judged.qrels, judged.texts, documents)
    save_comparisons(output, comparisons)


def show_comparisons(out: Output, comparisons: "Sequence[Entry]") -> None:
    """Tables for people: every metric's difference and its significance, then the queries that differ most."""
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
    """A table of what is published, and what was measured: by task or suite, model, metrics."""
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
        out.table("Measured beside published (models are told by their names)", columns, rows, text_columns=3)


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


def _one_task(source: str, tasks: int) -> DebaterError:
    return DebaterError(
        f"The run {source} answers one task, and there are {tasks}.",
        "Score one task at a time, or compare with a folder that eval --output wrote.",
    )
