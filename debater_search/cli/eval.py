"""`debater eval`: how well a model, or any system's run, finds what it should."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from debater_search.cli.scoring import SHOWN, Baseline, ResultTable, Scoring, load_tasks, score_tasks
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Result

log = logging.getLogger(__name__)

EXAMPLES = examples(
    "debater eval data/cranfield",
    "debater eval data/cranfield --model checkpoints/demo --baseline bm25 --all-steps",
    "debater eval beir --model debater-2b --output results",
    "debater eval --run run.trec --qrels data/cranfield/qrels/test.tsv",
)


def evaluate(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders in BEIR layout, beir/NAME, names of mteb's, or suites: beir, mteb-eng-v2, …", metavar="TASK"
        ),
    ] = None,
    model: Model = None,
    base_model: BaseModel = None,
    split: Annotated[
        str | None, typer.Option(help="Which judgements. Default: test, for MSMARCO dev.", show_default=False)
    ] = None,
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
            result = _score_run_file(tasks, run, qrels)
            _require_free(output, result.task, force)
            table = ResultTable(out, [result.task], models=[result.model])
            table.add(result)
            if output is not None:
                result.save(output)
        else:
            loaded, suites = load_tasks(tasks)
            how = Scoring(split, instruction, mode, index_type, baseline, all_steps, output, force)
            how.check(loaded)
            encoder = None if mode is Mode.lexical else load_encoder(model, base_model, device)
            table = score_tasks(loaded, suites, encoder, how, out)
        _show(out, table, output)
        table.require_all()


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


def _require_free(output: Path | None, task: str, force: bool) -> None:
    """Refuse an output that could not be saved, before anything is computed."""
    from debater_search.data.files import require_writable

    if output is None:
        return
    require_writable(output)
    if (output / task / "run.trec").exists() and not force:
        raise DebaterError(
            f"{output / task} holds a run already.", "Choose another --output, or replace it with --force."
        )


def _show(out: Output, table: ResultTable, output: Path | None) -> None:
    """What the table of results leaves to say."""
    if out.as_json:
        suites = {"suites": table.means} if table.means else {}
        return out.json({"results": [result.as_dict() for result in table.results], **suites})
    for result in table.results:
        if result.steps:
            rows = [
                [str(number), *(f"{step[name]:.4f}" for name in SHOWN)] for number, step in enumerate(result.steps, 1)
            ]
            out.show("")
            out.table(f"{result.task}, each thinking step alone", ["step", *SHOWN], rows)
    return out.show(f"Saved in {output}.") if output is not None else None
