"""`debater eval`: how well a model, or any system's run, finds what it should."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from debater_search.evaluation import Result, RetrievalTask

log = logging.getLogger(__name__)

EXAMPLES = examples(
    "debater eval data/cranfield",
    "debater eval data/cranfield --model checkpoints/demo --baseline bm25 --all-steps",
    "debater eval data/cranfield --model checkpoints/demo --analyse steps --analyse weights --output results",
    "debater eval beir/scifact beir/nfcorpus --model debater-2b --output results",
    "debater eval --run run.trec --qrels data/cranfield/qrels/test.tsv",
)

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


class Baseline(StrEnum):
    """What to compare with."""

    bm25 = "bm25"


class Analysis(StrEnum):
    """What to look at behind the scores."""

    steps = "steps"
    cosines = "cosines"
    last = "last"
    dimensions = "dimensions"
    indexes = "indexes"
    lengths = "lengths"
    weights = "weights"
    training = "training"
    depth = "depth"
    all = "all"


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
    baseline: Annotated[Baseline | None, typer.Option(help="Score this too.")] = None,
    all_steps: Annotated[bool, typer.Option("--all-steps", help="Score each thinking step alone, too.")] = False,
    analyse: Annotated[
        list[Analysis] | None,
        typer.Option(help="Draw this too, in --output: a picture and its table. Can be repeated."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Score this TREC run instead; needs --qrels.", metavar="FILE")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="The judgements for --run.", metavar="FILE")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for results.json and TASK/run.trec.")
    ] = None,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on retrieval tasks: nDCG, MRR, MAP, recall and precision."""
    with results(as_json) as out:
        if analyse:
            _require_analysable(run, mode, output)
        if run is not None or qrels is not None:
            scored = [_score_run_file(tasks, run, qrels)]
            _require_free(output, [result.task for result in scored], force)
        else:
            from debater_search.evaluation import choose_analyses, judged_queries

            scored = []
            loaded = _load_tasks(tasks)
            _require_free(output, [task.name for task in loaded], force)
            for task in loaded:
                judged_queries(task, split, task.qrels(split))  # what lacks is found before the model is loaded
            if all_steps and mode is Mode.lexical:
                raise DebaterError("Lexical search has no thinking steps.", "Leave --all-steps or --mode lexical out.")
            encoder = None if mode is Mode.lexical else load_encoder(model, base_model, device)
            analyses = choose_analyses(analyse, encoder) if analyse and encoder is not None else []
            for task in loaded:
                scored += _score_task(
                    task, encoder, split, instruction, mode, index_type, baseline, all_steps, analyses, output
                )
        if output is not None:
            for result in reversed(scored):  # the last one saved comes first
                result.save(output, baseline=result.model == "bm25" and baseline is not None)
        _show(out, scored, output)


def _score_task(
    task: "RetrievalTask",
    encoder: Any,
    split: str,
    instruction: str | None,
    mode: Mode,
    index_type: str,
    baseline: Baseline | None,
    all_steps: bool,
    analyses: Sequence[str],
    output: Path | None,
) -> "list[Result]":
    """The model's result on a task, then the baseline's, over one index; its analyses go to `output`."""
    from debater_search import evaluation

    stored = all_steps or evaluation.need_all_steps(analyses)
    with evaluation.opened(task, encoder, split=split, index_type=index_type, all_steps=stored, progress=True) as (
        engine,
        built,
    ):
        result = evaluation.evaluate(task, engine, split=split, mode=mode.value, instruction=instruction, progress=True)
        steps = evaluation.evaluate_steps(task, engine, split=split, instruction=instruction) if all_steps else []
        scored = [replace(result, timings={**built, **result.timings}, steps=steps)]
        if baseline is Baseline.bm25 and mode is not Mode.lexical:
            scored.append(evaluation.evaluate(task, engine, split=split, mode="lexical"))
        if analyses and output is not None:
            scored[0].save(output)  # before an analysis can fail
            evaluation.analyse(task, engine, scored[0], analyses, output, progress=True)
    return scored


def _score_run_file(tasks: Sequence[str] | None, run: Path | None, qrels: Path | None) -> "Result":
    from debater_search.data import read_qrels, read_run
    from debater_search.evaluation import scored

    if tasks:
        raise DebaterError("There is a TASK and there is --run.", "Give one of them.")
    if run is None or qrels is None:
        raise DebaterError("--run and --qrels go together.", "Give both: --run FILE --qrels FILE.")
    folder = qrels.resolve().parent  # …/cranfield/qrels/test.tsv is about cranfield
    task = folder.parent.name if folder.name == "qrels" else _stem(qrels)
    answers, judged = read_run(run), read_qrels(qrels)
    missing = len(judged.keys() - answers.keys())
    if missing == len(judged):
        raise DebaterError(f"{run} answers none of the queries that {qrels} judges.", "Do the two belong together?")
    if missing:
        log.warning("Judged queries that the run does not answer: %d of %d. They count as 0.", missing, len(judged))
    provenance = {"run": str(run), "qrels": str(qrels)}
    return scored(task, _stem(run), answers, judged, provenance=provenance)


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name.strip(".")


def _load_tasks(names: Sequence[str] | None) -> "list[RetrievalTask]":
    from debater_search.evaluation import load_task

    if not names:
        raise DebaterError("There is no TASK to score.", "Name one: debater eval data/cranfield.")
    tasks = [load_task(name) for name in names]
    repeated = [task.name for number, task in enumerate(tasks) if task.name in [t.name for t in tasks[:number]]]
    if repeated:
        raise DebaterError(f"Two tasks are called {repeated[0]}.", "Score them one by one, each with its own --output.")
    return tasks


def _require_analysable(run: Path | None, mode: Mode, output: Path | None) -> None:
    if output is None:
        raise DebaterError("The pictures of --analyse need a folder.", "Name one with --output.")
    if run is not None:
        raise DebaterError("A run alone cannot be analysed.", "Name a TASK and a --model instead of --run.")
    if mode is not Mode.dense:
        raise DebaterError(
            "What is analysed is dense search.", "Leave --mode out; --analyse weights looks at hybrid search."
        )


def _require_free(output: Path | None, tasks: Sequence[str], force: bool) -> None:
    """Refuse an output that could not be saved, before anything is computed."""
    from debater_search.data.files import require_writable

    if output is None:
        return
    require_writable(output)
    taken = [output / task for task in tasks if (output / task / "run.trec").exists()]
    if taken and not force:
        raise DebaterError(f"{taken[0]} holds a run already.", "Choose another --output, or replace it with --force.")


def _show(out: Output, scored: "Sequence[Result]", output: Path | None) -> None:
    if out.as_json:
        return out.json({"results": [result.as_dict() for result in scored]})
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
    return out.show(f"Saved in {output}.") if output is not None else None
