"""`debater eval`: how well a model, or any system's run, finds what it should."""

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
    from debater_search.cli.result_table import ResultTable
    from debater_search.evaluation import Judged, Result
    from debater_search.evaluation.results import Entry

EXAMPLES = examples(
    "debater eval data/cranfield",
    "debater eval data/cranfield --model checkpoints/demo --baseline bm25 --all-steps",
    "debater eval data/cranfield --model checkpoints/demo --baseline minilm --compare results-before",
    "debater eval data/cranfield --model checkpoints/demo --analyse steps --analyse weights --output results",
    "debater eval beir --model debater-2b --output results",
    "debater eval --run run.trec --qrels data/cranfield/qrels/test.tsv --compare other.trec",
    "debater eval --report results/minilm results/demo --output comparison",
)


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
    context: typer.Context,
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders in BEIR layout, beir/NAME, mteb's names, or suites: beir, mteb-eng-v2.", metavar="TASK"
        ),
    ] = None,
    model: Model = None,
    base_model: BaseModel = None,
    split: Annotated[
        str | None, typer.Option(help="Which judgements. Default: those that count, test or (MSMARCO) dev.")
    ] = None,
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
    analyse: Annotated[
        list[Analysis] | None,
        typer.Option(help="Draw this too, in --output: a picture and its table. Can be repeated."),
    ] = None,
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
        from debater_search.cli.comparisons import compare_results, find_compared, save_compared
        from debater_search.cli.result_table import ResultTable
        from debater_search.cli.scoring import Scoring, load_tasks, score_tasks
        from debater_search.evaluation import write_report

        if report:
            _refuse_all_but(context, {"report", "tasks", "output", "force", "as_json"}, "--report scores nothing.")
            return _report(out, tasks or [], output)
        if analyse:
            _require_analysable(run, mode, output)
        tasks, compare = _apart(tasks or [], compare or [])
        if run is not None or qrels is not None:
            result, judged = _score_run_file(tasks, baseline, run, qrels)
            alone = {"run", "qrels", "compare", "tasks", "output", "force", "as_json"}
            _refuse_all_but(context, alone, "--run scores what is in the run, with no model.")
            _require_free(output, result, force)
            saved = find_compared(compare, [result.task])
            comparisons = compare_results([result], saved, judged)
            table = ResultTable(out, [result.task], models=[result.model])
            table.comparisons = comparisons
            table.add(result)
            if output is not None:
                result.save(output)
                save_compared(output, [result], judged, table.comparisons)
        else:
            loaded, suites = load_tasks(tasks)
            how = Scoring(split, instruction, mode, index_type, all_steps, output, force)
            how.check(loaded)
            saved = find_compared(compare, [task.name for task in loaded])
            encoder = None if mode is Mode.lexical else load_encoder(model, base_model, device)
            how = how.with_models(encoder, baseline or [], len(loaded), device, saved, analyse or [])
            table = score_tasks(loaded, suites, how, out)
        if output is not None:
            write_report([output])
        _show(out, table, output)
        return table.require_all()


def _score_run_file(
    tasks: Sequence[str], baseline: Sequence[str] | None, run: Path | None, qrels: Path | None
) -> "tuple[Result, Judged]":
    from debater_search.cli.comparisons import judged_by_file
    from debater_search.evaluation import SavedRun, read_saved, run_name

    if tasks:
        raise DebaterError("There is a TASK and there is --run.", "Give one of them.")
    if baseline:
        raise DebaterError("There is --baseline and there is --run.", "Compare with other runs: --compare FILE.")
    if run is None or qrels is None:
        raise DebaterError("--run and --qrels go together.", "Give both: --run FILE --qrels FILE.")
    judged = judged_by_file(qrels)
    result = read_saved(SavedRun(run_name(run), run), judged)
    return replace(result, provenance=result.provenance | {"qrels": str(qrels)}), judged


def _apart(tasks: Sequence[str], compare: Sequence[str]) -> tuple[list[str], list[str]]:
    """TASKs, and what to compare with: of `--compare A B` Typer takes B for a TASK, but it is a run or has results."""

    def is_compared(name: str) -> bool:
        return Path(name).is_file() or (Path(name) / "results.json").is_file()

    others = [name for name in tasks if compare and is_compared(name)]
    return [name for name in tasks if name not in others], [*compare, *others]


def _require_analysable(run: Path | None, mode: Mode, output: Path | None) -> None:
    if output is None:
        raise DebaterError("The pictures of --analyse need a folder.", "Name one with --output.")
    if run is not None:
        raise DebaterError("A run alone cannot be analysed.", "Name a TASK and a --model instead of --run.")
    if mode is not Mode.dense:
        raise DebaterError(
            "What is analysed is dense search.", "Leave --mode out; --analyse weights looks at hybrid search."
        )


def _require_free(output: Path | None, result: "Result", force: bool) -> None:
    """Refuse an output that a run's result could not be saved in, or that holds another's; its own it replaces."""
    from debater_search.data.files import require_writable_folder
    from debater_search.evaluation import read_results

    if output is None:
        return
    require_writable_folder(output)
    place = f"{result.task}/run.trec"
    holders = [entry for entry in read_results(output)["results"] if entry.get("run") == place]
    own = any(entry.get("model") == result.model and _run_of(entry) == result.provenance["run"] for entry in holders)
    if (output / place).exists() and not own and not force:
        raise DebaterError(
            f"{output / result.task} holds a run already.", "Choose another --output, or replace it with --force."
        )


def _run_of(entry: "Entry") -> Any:
    provenance = entry.get("provenance")
    return provenance.get("run") if isinstance(provenance, dict) else None


def _refuse_all_but(context: typer.Context, allowed: set[str], why: str) -> None:
    """Raise DebaterError if options were given that would be ignored."""
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        if name not in allowed and source is not None and source.name == "COMMANDLINE":
            raise DebaterError(why, f"Leave {option.opts[0]} out.")


def _report(out: Output, folders: Sequence[str], output: Path | None) -> None:
    from debater_search.evaluation import write_report

    page = write_report([Path(folder) for folder in folders], output)
    if out.as_json:
        return out.json({"report": str(page)})
    return out.show(f"The report is {page}.")


def _show(out: Output, table: "ResultTable", output: Path | None) -> None:
    """What the table of results leaves to say."""
    from debater_search.cli.comparisons import show_comparisons, show_published
    from debater_search.cli.result_table import SHOWN

    if out.as_json:
        document: dict[str, Any] = {"results": [result.as_dict() for result in table.results]}
        more = {"suites": table.means, "comparisons": table.comparisons}
        return out.json(document | {name: entries for name, entries in more.items() if entries})
    for result in table.results:
        if result.steps:
            rows = [
                [str(number), *(f"{step[name]:.4f}" for name in SHOWN)] for number, step in enumerate(result.steps, 1)
            ]
            out.show("")
            out.table(f"{result.task}, each thinking step alone", ["step", *SHOWN], rows)
    show_comparisons(out, table.comparisons)
    scored = [(result.task, result.model, result.metrics) for result in table.results]
    show_published(out, scored + [(mean["suite"], mean["model"], mean["metrics"]) for mean in table.means])
    return out.show(f"Saved in {output}; open {output / 'report.html'} in a browser.") if output is not None else None
