"""`debater eval`: how well a model, or any system's run, finds what it should."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.comparisons import (
    compare_results,
    find_compared,
    judged_by_file,
    judged_by_task,
    load_baselines,
    score_baseline,
    show_comparisons,
    show_published,
)
from debater_search.cli.options import (
    BaseModel,
    Device,
    Force,
    Instruction,
    Json,
    Mode,
    Model,
    SearchMode,
    examples,
    load_encoder,
)
from debater_search.cli.output import Output, results
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Judged, Result, RetrievalTask
    from debater_search.evaluation.results import Entry
    from debater_search.types import Document

EXAMPLES = examples(
    "debater eval data/cranfield",
    "debater eval data/cranfield --model checkpoints/demo --baseline bm25 --all-steps",
    "debater eval beir/scifact beir/nfcorpus --model debater-2b --output results",
    "debater eval data/cranfield --model checkpoints/demo --baseline minilm --compare results-before",
    "debater eval --run run.trec --qrels data/cranfield/qrels/test.tsv --compare other.trec",
    "debater eval --report results/minilm results/demo --output comparison",
)

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


def evaluate(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Folders in BEIR layout, beir/NAME, or names of mteb's.", metavar="TASK"),
    ] = None,
    model: Model = None,
    base_model: BaseModel = None,
    split: Annotated[str, typer.Option(help="Which judgements.")] = "test",
    instruction: Instruction = None,
    mode: SearchMode = Mode.dense,
    index_type: Annotated[
        str, typer.Option("--index-type", help="How vectors are searched: flat (exact).", metavar="TYPE")
    ] = "flat",
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Score this too, and compare: bm25, a model, or a TREC run. Repeatable.", metavar="NAME"),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with this: a TREC run, a results.json or a folder that holds one. Repeatable.",
            metavar="RUN_OR_RESULT",
        ),
    ] = None,
    all_steps: Annotated[bool, typer.Option("--all-steps", help="Score each thinking step alone, too.")] = False,
    run: Annotated[
        Path | None, typer.Option(help="Score this TREC run instead; needs --qrels.", metavar="FILE")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="The judgements for --run.", metavar="FILE")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for results.json, TASK/run.trec and report.html.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Score nothing: join the results in these folders on one report.html.")
    ] = False,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on retrieval tasks: nDCG, MRR, MAP, recall and precision."""
    with results(as_json) as out:
        if report:
            return _report(out, tasks or [], output, {"--model": model, "--run": run, "--qrels": qrels})
        from debater_search import evaluation

        corpora: Iterator[Iterable[Document]] = iter([()])  # none where a run is scored
        tasks, compare = _apart(tasks or [], compare or [])
        if run is not None or qrels is not None:
            result, of_file = _score_run_file(tasks, baseline, run, qrels)
            _require_free(output, [result.task], force)
            saved = find_compared(compare, [result.task])
            scored, judged = [[result]], iter([of_file])
        else:
            scored = []
            loaded = _load_tasks(tasks)
            _require_free(output, [task.name for task in loaded], force)
            for task in loaded:  # what lacks is found before the model is loaded
                evaluation.judged_queries(task, split, task.qrels(split))
            if all_steps and mode is Mode.lexical:
                raise DebaterError("Lexical search has no thinking steps.", "Leave --all-steps or --mode lexical out.")
            saved = find_compared(compare, [task.name for task in loaded])
            encoder = None if mode is Mode.lexical else load_encoder(model, base_model, device)
            name = evaluation.model_name(encoder, mode.value)
            baselines = load_baselines(baseline or [], name, len(loaded), device)
            for task in loaded:
                scored.append(_score_task(task, encoder, split, instruction, mode, index_type, baselines, all_steps))
            judged = (judged_by_task(task, split) for task in loaded)
            corpora = (task.corpus(split) for task in loaded)
        if output is not None:
            for of_task in reversed(scored):  # the last one saved comes first
                for number, result in reversed(list(enumerate(of_task))):
                    result.save(output, baseline=number > 0)
        comparisons: list[Entry] = []
        for of_task, judgements, corpus in zip(scored, judged, corpora, strict=True):
            comparisons += compare_results(of_task, saved, judgements)
            if output is not None:
                evaluation.save_details(output, of_task, judgements.qrels, judgements.texts, corpus)
        if output is not None:
            evaluation.save_comparisons(output, comparisons)
            evaluation.write_report([output])
        return _show(out, [result for of_task in scored for result in of_task], comparisons, output)


def _score_task(
    task: "RetrievalTask",
    encoder: Any,
    split: str,
    instruction: str | None,
    mode: Mode,
    index_type: str,
    baselines: Sequence[Any],
    all_steps: bool,
) -> "list[Result]":
    """The model's result on a task, then the baselines'."""
    from debater_search import evaluation

    with evaluation.opened(task, encoder, split=split, index_type=index_type, all_steps=all_steps, progress=True) as (
        engine,
        built,
    ):
        result = evaluation.evaluate(task, engine, split=split, mode=mode.value, instruction=instruction, progress=True)
        steps = evaluation.evaluate_steps(task, engine, split=split, instruction=instruction) if all_steps else []
        scored = [replace(result, timings={**built, **result.timings}, steps=steps)]
        for baseline in baselines:
            scored.append(score_baseline(baseline, task, engine, split=split, index_type=index_type))
    return scored


def _score_run_file(
    tasks: Sequence[str], baseline: Sequence[str] | None, run: Path | None, qrels: Path | None
) -> "tuple[Result, Judged]":
    from debater_search.evaluation import SavedRun, read_saved, run_name

    if tasks:
        raise DebaterError("There is a TASK and there is --run.", "Give one of them.")
    if baseline:
        raise DebaterError("There is --baseline and there is --run.", "Compare with other runs: --compare FILE.")
    if run is None or qrels is None:
        raise DebaterError("--run and --qrels go together.", "Give both: --run FILE --qrels FILE.")
    judged = judged_by_file(qrels)
    result = read_saved(SavedRun(run_name(run), run), judged)
    return replace(result, provenance={"run": str(run), "qrels": str(qrels)}), judged


def _apart(tasks: Sequence[str], compare: Sequence[str]) -> tuple[list[str], list[str]]:
    """TASKs, and what to compare with: of `--compare A B` Typer takes B for a TASK, but it is a run or has results."""

    def is_compared(name: str) -> bool:
        return Path(name).is_file() or (Path(name) / "results.json").is_file()

    others = [name for name in tasks if compare and is_compared(name)]
    return [name for name in tasks if name not in others], [*compare, *others]


def _load_tasks(names: Sequence[str] | None) -> "list[RetrievalTask]":
    from debater_search.evaluation import load_task

    if not names:
        raise DebaterError("There is no TASK to score.", "Name one: debater eval data/cranfield.")
    tasks = [load_task(name) for name in names]
    repeated = [task.name for number, task in enumerate(tasks) if task.name in [t.name for t in tasks[:number]]]
    if repeated:
        raise DebaterError(f"Two tasks are called {repeated[0]}.", "Score them one by one, each with its own --output.")
    return tasks


def _require_free(output: Path | None, tasks: Sequence[str], force: bool) -> None:
    """Refuse an output that could not be saved, before anything is computed."""
    from debater_search.data.files import require_writable

    if output is None:
        return
    require_writable(output)
    taken = [output / task for task in tasks if (output / task / "run.trec").exists()]
    if taken and not force:
        raise DebaterError(f"{taken[0]} holds a run already.", "Choose another --output, or replace it with --force.")


def _report(out: Output, folders: Sequence[str], output: Path | None, others: dict[str, Any]) -> None:
    from debater_search.evaluation import write_report

    given = [option for option, value in others.items() if value is not None]
    if given:
        raise DebaterError("--report scores nothing.", f"Leave {given[0]} out, or leave --report out.")
    page = write_report([Path(folder) for folder in folders], output)
    if out.as_json:
        return out.json({"report": str(page)})
    return out.show(f"The report is {page}.")


def _show(out: Output, scored: "Sequence[Result]", comparisons: "Sequence[Entry]", output: Path | None) -> None:
    if out.as_json:
        document: dict[str, Any] = {"results": [result.as_dict() for result in scored]}
        return out.json(document | ({"comparisons": list(comparisons)} if comparisons else {}))
    rows = []
    for result in scored:
        low, high = result.intervals[SHOWN[0]]
        values = [f"{result.metrics[name]:.4f}" for name in SHOWN]
        rows.append([result.task, result.model, values[0], f"{low:.3f}…{high:.3f}", *values[1:]])
    out.table("", ["task", "model", SHOWN[0], "95%", *SHOWN[1:]], rows, text_columns=2)
    for result in scored:
        if result.steps:
            rows = [
                [str(number), *(f"{step[name]:.4f}" for name in SHOWN)] for number, step in enumerate(result.steps, 1)
            ]
            out.show("")
            out.table(f"{result.task}, each thinking step alone", ["step", *SHOWN], rows)
    show_comparisons(out, comparisons)
    show_published(out, scored)
    return out.show(f"Saved in {output}; open {output / 'report.html'} in a browser.") if output is not None else None
