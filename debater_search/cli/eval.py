"""`debater eval`: score a model, or the run of any system."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from debater_search.cli.completion import task_names
from debater_search.cli.index_option import found_index
from debater_search.cli.options import (
    DEFAULT_MODEL,
    RANKING,
    Attention,
    BaseModel,
    Device,
    Force,
    Instruction,
    Json,
    Mode,
    Model,
    Pooling,
    Rerank,
    RerankDepth,
    SearchMode,
    examples,
)
from debater_search.cli.output import Output, results
from debater_search.errors import InvalidError

if TYPE_CHECKING:
    from debater_search.cli.result_table import ResultTable
    from debater_search.encoder.protocol import TextEncoder
    from debater_search.evaluation.judged import JudgedIndex
    from debater_search.evaluation.suites import Suite
    from debater_search.evaluation.tasks import RetrievalTask

ANALYSES, OTHERS = "Analyses", "Runs, judgements and reports"

EXAMPLES = examples(
    "debater eval cranfield",
    "debater eval cranfield -m checkpoints/demo --baseline bm25 --all-steps",
    "debater eval cranfield -m checkpoints/demo --compare results-before",
    "debater eval cranfield -m checkpoints/demo --analyse steps -o results",
    "debater eval cranfield --rerank my-reranker    # with and without it",
    "debater eval beir --model debater-2b --output results",
    "debater eval indexes/papers --judgements judgements.jsonl --baseline bm25",
    "debater eval --run run.trec --qrels qrels/test.tsv --compare other.trec",
    "debater eval --report results/minilm results/demo --output comparison",
)


class Analysis(StrEnum):
    """The analyses of evaluation.ANALYSES, and all."""

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
            help="Folder in BEIR layout, cranfield (bundled), beir/NAME, mteb task, or suite: beir, mteb-eng-v2.",
            metavar="TASK",
            autocompletion=task_names,
        ),
    ] = None,
    model: Model = None,
    base_model: BaseModel = None,
    pooling: Pooling = None,
    attention: Attention = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split whose judgements are used. Default: test; for MSMARCO dev.", metavar="NAME"),
    ] = None,
    instruction: Instruction = None,
    mode: SearchMode = Mode.dense,
    index_type: Annotated[
        str,
        typer.Option(
            "--index-type", help="Type of the vector index; flat is exact.", metavar="TYPE", rich_help_panel=RANKING
        ),
    ] = "flat",
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Also score and compare: bm25, a model, or a TREC run. Repeatable.", metavar="NAME"),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with a TREC run, a results.json or a folder that holds one. Repeatable.",
            metavar="RUN",
        ),
    ] = None,
    all_steps: Annotated[
        bool, typer.Option("--all-steps", help="Also score each thinking step alone.", rich_help_panel=ANALYSES)
    ] = False,
    analyse: Annotated[
        list[Analysis] | None,
        typer.Option(
            help=f"Analyse the result: a table and a picture in --output. {', '.join(Analysis)}. Repeatable.",
            metavar="NAME",
            rich_help_panel=ANALYSES,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Score this TREC run instead of a model; needs --qrels.", metavar="FILE", rich_help_panel=OTHERS
        ),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Judgements for --run.", metavar="FILE", rich_help_panel=OTHERS)
    ] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(
            help="Judgements of hits (debater serve --judgements) for the index that TASK names. Default model and "
            "type: the index's own.",
            metavar="FILE",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results.json, TASK/run.trec and report.html.", metavar="DIR"),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Score nothing: join the results in the given folders in one report.html.",
            rich_help_panel=OTHERS,
        ),
    ] = False,
    rerank: Rerank = None,
    rerank_depth: RerankDepth = None,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on retrieval tasks and compare it with others.

    Metrics, all with intervals: ndcg@1, 5, 10 and 100, mrr@10, map, map@100, recall@10, 100 and 1000, precision@5 and
    10, success@1, 5 and 10, judged@10, unjudged. The table shows ndcg@10, mrr@10, map@100 and recall@100, and these
    are tested for significance. results.json and --json have all.
    """
    with results(as_json) as out:
        from debater_search.cli.result_table import ResultTable
        from debater_search.evaluation import Campaign, write_report

        if report:
            _refuse_all_but(context, {"report", "tasks", "output", "force", "as_json"}, "--report scores nothing.")
            return _report(out, tasks or [], output)
        tasks, compare = _apart(tasks or [], compare or [])
        if run is not None or qrels is not None:
            if tasks:
                raise InvalidError("TASK and --run exclude each other.", "Give one of them.")
            table = _score_run(context, out, run, qrels, compare=compare, output=output, force=force)
        else:
            chosen: Sequence[RetrievalTask | Suite | str | Path] = tasks
            default: TextEncoder | str = DEFAULT_MODEL
            if judgements is not None:
                judged = _judged_index(tasks, judgements)
                chosen = [judged]
                if not _is_given(context, "index_type"):
                    index_type = judged.index_type
                if model is None and mode is not Mode.lexical:
                    default = judged.load_encoder(device)
            campaign = Campaign(
                chosen,
                model or default,
                mode=mode.value,
                split=split,
                instruction=instruction,
                index_type=index_type,
                baselines=baseline or [],
                compare=compare,
                analyses=[analysis.value for analysis in analyse or []],
                all_steps=all_steps,
                output=output,
                force=force,
                base_model=base_model,
                pooling=pooling,
                attention=attention,
                device=device,
                rerank=rerank,
                rerank_depth=rerank_depth,
            )
            scored = iter(campaign)  # before the head of the table: it refuses what would be lost
            systems = [*campaign.models, *campaign.compared]
            table = ResultTable(out, [task.name for task in campaign.tasks], campaign.suites, systems)
            for task in scored:
                table.add(task)
        if table.results and output is not None:
            write_report([output])
        _show(out, table, output if table.results else None)
        return table.require_all()


def _score_run(
    context: typer.Context,
    out: Output,
    run: Path | None,
    qrels: Path | None,
    *,
    compare: Sequence[str],
    output: Path | None,
    force: bool,
) -> "ResultTable":
    """Score --run by --qrels; raises DebaterError for options that do not go with them."""
    from debater_search.cli.result_table import ResultTable
    from debater_search.evaluation import TaskResults, evaluate_run

    allowed = {"run", "qrels", "tasks", "compare", "output", "force", "as_json"}  # of `--compare A B`, B is in tasks
    _refuse_all_but(context, allowed, "--run scores an existing run, without a model.")
    if run is None or qrels is None:
        raise InvalidError("--run and --qrels go together.", "Give both: --run FILE --qrels FILE.")
    result, comparisons = evaluate_run(run, qrels, compare=compare, output=output, force=force)
    table = ResultTable(out, [result.task], models=[result.model, *(entry["baseline"] for entry in comparisons)])
    table.add(TaskResults(result.task, [replace(result, run={})], comparisons))
    return table


def _judged_index(tasks: Sequence[str], judgements: Path) -> "JudgedIndex":
    from debater_search.evaluation.judged import JudgedIndex

    if len(tasks) != 1:
        raise InvalidError("--judgements goes with one index.", "Name its folder, such as indexes/papers.")
    return JudgedIndex(found_index(Path(tasks[0])) or tasks[0], judgements)


def _apart(tasks: Sequence[str], compare: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tasks, and what to compare with: Typer takes B of `--compare A B` for a task, but it is a run or has results."""

    def is_compared(name: str) -> bool:
        return Path(name).is_file() or (Path(name) / "results.json").is_file()

    others = [name for name in tasks if compare and is_compared(name)]
    return [name for name in tasks if name not in others], [*compare, *others]


def _refuse_all_but(context: typer.Context, allowed: set[str], why: str) -> None:
    """Raise DebaterError if options were given that would be ignored."""
    for option in context.command.params:
        name = option.name or ""
        if name not in allowed and _is_given(context, name):
            raise InvalidError(why, f"Leave {option.opts[0]} out.")


def _is_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _report(out: Output, folders: Sequence[str], output: Path | None) -> None:
    from debater_search.evaluation import write_report

    page = write_report([Path(folder) for folder in folders], output)
    if out.as_json:
        return out.json({"report": str(page)})
    return out.show(f"The report is {page}.")


def _show(out: Output, table: "ResultTable", output: Path | None) -> None:
    """Show everything that the growing table did not."""
    from debater_search.cli.comparisons import show_comparisons, show_published
    from debater_search.cli.result_table import SHOWN

    if out.as_json:
        return out.json(table.document())
    for result in table.results:
        for name, share in result.ceiling.items():
            out.show(f"{result.task}: {name} of what {result.model} reranked is {share:.4f}; no order has more.")
        if result.steps:
            rows = [
                [str(number), *(f"{step[name]:.4f}" for name in SHOWN)] for number, step in enumerate(result.steps, 1)
            ]
            out.show("")
            out.table(f"{result.task}, each thinking step alone", ["step", *SHOWN], rows)
    show_comparisons(out, table.comparisons)
    scored = [(result.task, result.model, result.metrics) for result in table.results]
    show_published(out, scored + [(mean.suite.name, mean.model, mean.metrics) for mean in table.means])
    return out.show(f"Saved in {output}; open {output / 'report.html'} in a browser.") if output is not None else None
