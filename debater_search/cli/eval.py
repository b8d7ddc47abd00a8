"""`debater eval`: how well a model, or any system's run, finds what it should."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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

EXAMPLES = examples(
    "debater eval data/cranfield",
    "debater eval data/cranfield --model checkpoints/demo --baseline bm25 --all-steps",
    "debater eval beir/scifact beir/nfcorpus --model debater-2b --output results",
    "debater eval --run run.trec --qrels data/cranfield/qrels/test.tsv",
)

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


class Baseline(StrEnum):
    """What to compare with."""

    bm25 = "bm25"


def evaluate(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Folders in BEIR layout, beir/NAME, or names of mteb's.", metavar="[TASK]..."),
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
        if run is not None or qrels is not None:
            scores = [_score_run_file(tasks, run, qrels)]
            _require_free(output, [score.result.task for score in scores], force)
        else:
            scores = []
            loaded = _load_tasks(tasks)
            _require_free(output, [task.name for task in loaded], force)
            for task in loaded:
                task.qrels(split)  # a wrong split is found before the model is loaded
            if all_steps and mode is Mode.lexical:
                raise DebaterError("Lexical search has no thinking steps.", "Leave --all-steps or --mode lexical out.")
            encoder = None if mode is Mode.lexical else load_encoder(model, base_model, device)
            for task in loaded:
                scores += _score_task(task, encoder, split, instruction, mode, index_type, baseline, all_steps)
        if output is not None:
            for score in reversed(scores):  # a task's run.trec is that of its first score, the model's
                score.result.save(output)
        _show(out, scores, output)


@dataclass
class Score:
    """A result, and the metrics of each thinking step alone where they were asked for."""

    result: "Result"
    steps: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return self.result.as_dict() | ({"steps": self.steps} if self.steps else {})


def _score_task(
    task: "RetrievalTask",
    encoder: Any,
    split: str,
    instruction: str | None,
    mode: Mode,
    index_type: str,
    baseline: Baseline | None,
    all_steps: bool,
) -> list[Score]:
    """The model's score on a task, then the baseline's, over one index."""
    from debater_search import evaluation

    with evaluation.opened(task, encoder, split=split, index_type=index_type, all_steps=all_steps, progress=True) as (
        engine,
        built,
    ):
        result = evaluation.evaluate(task, engine, split=split, mode=mode.value, instruction=instruction, progress=True)
        result = replace(result, timings={**built, **result.timings})
        steps = evaluation.evaluate_steps(task, engine, split=split, instruction=instruction) if all_steps else []
        scores = [Score(result, steps)]
        if baseline is Baseline.bm25 and mode is not Mode.lexical:
            scores.append(Score(evaluation.evaluate(task, engine, split=split, mode="lexical")))
    return scores


def _score_run_file(tasks: Sequence[str] | None, run: Path | None, qrels: Path | None) -> Score:
    from debater_search.data import read_qrels, read_run
    from debater_search.evaluation import scored

    if tasks:
        raise DebaterError("There is a TASK and there is --run.", "Give one of them.")
    if run is None or qrels is None:
        raise DebaterError("--run and --qrels go together.", "Give both: --run FILE --qrels FILE.")
    folder = qrels.resolve().parent  # …/cranfield/qrels/test.tsv is about cranfield
    task = folder.parent.name if folder.name == "qrels" else _stem(qrels)
    provenance = {"run": str(run), "qrels": str(qrels)}
    return Score(scored(task, _stem(run), read_run(run), read_qrels(qrels), provenance=provenance))


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


def _require_free(output: Path | None, tasks: Sequence[str], force: bool) -> None:
    taken = [output / task for task in tasks if (output / task / "run.trec").exists()] if output is not None else []
    if taken and not force:
        raise DebaterError(f"{taken[0]} holds a run already.", "Choose another --output, or replace it with --force.")


def _show(out: Output, scores: Sequence[Score], output: Path | None) -> None:
    if out.as_json:
        return out.json({"results": [score.as_dict() for score in scores]})
    rows = []
    for score in scores:
        low, high = score.result.intervals[SHOWN[0]]
        values = [f"{score.result.metrics[name]:.4f}" for name in SHOWN]
        rows.append([score.result.task, score.result.model, values[0], f"{low:.3f}…{high:.3f}", *values[1:]])
    out.table("", ["task", "model", SHOWN[0], "95%", *SHOWN[1:]], rows, text_columns=2)
    for score in scores:
        if score.steps:
            rows = [
                [str(number), *(f"{step[name]:.4f}" for name in SHOWN)] for number, step in enumerate(score.steps, 1)
            ]
            out.show("")
            out.table(f"{score.result.task}, each thinking step alone", ["step", *SHOWN], rows)
    return out.show(f"Saved in {output}.") if output is not None else None
