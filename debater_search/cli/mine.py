"""`debater mine`: queries and their answers in, training data with hard negatives out."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from debater_search.cli.completion import index_names
from debater_search.cli.index import corpus_name
from debater_search.cli.index_option import found_index
from debater_search.cli.options import (
    RANKING,
    BaseModel,
    Device,
    Force,
    Instruction,
    Json,
    QueryModel,
    RerankDepth,
    examples,
    load_reranker,
)
from debater_search.cli.output import Output, results
from debater_search.cli.search import open_engine
from debater_search.errors import DebaterError
from debater_search.terminal import printable, wrapped

if TYPE_CHECKING:
    from debater_search.mining import Summary

MINED = Path("mined")
SHOWN_EXAMPLES, SHOWN_WIDTH = 3, 120
CHOICE = "Choice of negatives"

EXAMPLES = examples(
    "debater mine train.jsonl.gz --index indexes/papers",
    "debater mine data/scifact -i indexes/scifact --window 10:100 --negatives 4",
    "debater mine train.jsonl --rerank cross-encoder/ms-marco-MiniLM-L12-v2",
    "debater mine judgements.jsonl --index indexes/papers",
    "debater mine train.jsonl --mode lexical --corpus papers.jsonl",
)


class Mode(StrEnum):
    """How negatives are found and scored."""

    dense = "dense"
    lexical = "lexical"


class Choice(StrEnum):
    """Which of the documents that pass every rule."""

    top = "top"
    random = "random"


def mine(
    source: Annotated[
        str,
        typer.Argument(
            help="Training data (jsonl with query and positive, .gz too), judgements of hits, or a BEIR folder.",
            metavar="QUERIES",
        ),
    ],
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            help="Index to take negatives from: a folder, or a name in indexes/. Default: the newest in indexes/.",
            metavar="INDEX",
            autocompletion=index_names,
            callback=found_index,
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Corpus to take negatives from instead of an index; needs --mode lexical.", metavar="CORPUS"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .jsonl file. Default: mined/NAME OF QUERIES.jsonl.", metavar="FILE"),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="Search by vectors (dense), or by words (lexical: BM25, which needs no model).",
            metavar="MODE",
            rich_help_panel=RANKING,
        ),
    ] = Mode.dense,
    negatives: Annotated[int, typer.Option("--negatives", "-n", min=1, help="Negatives per query.", metavar="N")] = 8,
    window: Annotated[
        str,
        typer.Option(help="Ranks to take negatives from, first to last.", metavar="FIRST:LAST", rich_help_panel=CHOICE),
    ] = "1:100",
    margin: Annotated[
        float | None,
        typer.Option(
            help="A negative scores at most the positive's score minus this.", metavar="SCORE", rich_help_panel=CHOICE
        ),
    ] = None,
    max_share: Annotated[
        float | None,
        typer.Option(
            help="A negative scores at most this share of the positive's score. "
            "Default: 0.95 in dense mode, without --rerank.",
            metavar="SHARE",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    choice: Annotated[
        Choice,
        typer.Option(
            help="Which candidates become negatives: the best (top), or a random choice.",
            metavar="top|random",
            rich_help_panel=CHOICE,
        ),
    ] = Choice.top,
    seed: Annotated[int, typer.Option(help="Seed of the random choice.", metavar="N", rich_help_panel=CHOICE)] = 42,
    split: Annotated[
        str, typer.Option(help="Split of a BEIR folder whose judgements are used.", metavar="NAME")
    ] = "train",
    model: QueryModel = None,
    base_model: BaseModel = None,
    instruction: Instruction = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            "--rerank",
            help="Take the scores of positives and negatives from this reranker.",
            metavar="MODEL",
            rich_help_panel=RANKING,
        ),
    ] = None,
    rerank_depth: RerankDepth = None,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Mine hard negatives: documents that rank high but do not answer.

    Writes training data with the scores of positives and negatives, and a report with examples beside it (.md).
    """
    with results(as_json) as out:
        from debater_search.mining import MiningSettings, check_output, check_source
        from debater_search.mining import mine as run

        settings = MiningSettings(
            mode=mode.value,
            negatives=negatives,
            window=read_window(window),
            margin=margin,
            max_share=max_share,
            choice=choice.value,
            seed=seed,
            instruction=instruction,
            rerank_depth=rerank_depth,
        )
        check_source(source, split)
        file = output or MINED / f"{corpus_name(source)}.jsonl"
        check_output(file, source, force=force)
        if index is not None and corpus is not None:
            raise DebaterError("--index and --corpus exclude each other.", "Give one of them.")
        lexical = mode is Mode.lexical
        with ExitStack() as open_files:
            engine = None
            if corpus is None:
                engine = open_engine(index, *((None, None, "auto") if lexical else (model, base_model, device)))
                open_files.callback(engine.close)
            teacher = load_reranker(rerank, rerank_depth, device)
            summary = run(
                source,
                file,
                settings,
                engine=engine,
                corpus=corpus,
                split=split,
                rerank=teacher,
                force=force,
                progress=True,
            )
        if as_json:
            return out.json(summary.as_dict())
        return _show(out, summary)


def read_window(window: str) -> tuple[int, int]:
    """The first and the last rank of `10:100`. Raises DebaterError where it is something else."""
    first, colon, last = window.partition(":")
    if not (colon and all(rank.strip().isdecimal() and len(rank) < 19 for rank in (first, last))):
        raise DebaterError(
            f"{window!r} is not a range of ranks.", "Give the first and the last, as in --window 10:100."
        )
    return int(first.strip()), int(last.strip())


def _show(out: Output, summary: "Summary") -> None:
    from debater_search.mining.selection import RULES

    out.facts(
        [
            ("output", str(summary.output)),
            ("report", str(summary.report)),
            ("rows", f"{summary.rows:,}"),
            ("negatives", f"{summary.negatives:,}"),
        ]
    )
    out.show("")
    out.table("", ["negatives of a row", "rows"], [[str(size), f"{n:,}"] for size, n in summary.per_row.items()])
    dropped = [[RULES[rule], f"{n:,}"] for rule, n in summary.dropped.items() if n]
    if dropped:
        out.show("")
        out.table("", ["in a window, and no negative, for it", "documents"], dropped)
    scores = [[name, *(f"{value:.3f}" for value in q.values())] for name, q in summary.scores.items() if q]
    out.show("")
    out.table("", ["score", *next(iter(summary.scores.values()))], scores)
    for row in summary.nearest[:SHOWN_EXAMPLES]:
        score, positive = max(zip(row["positive_scores"], row["positive"], strict=True))
        out.show("")
        out.beside("  ", _shortened(row["query"]))
        out.beside(f"  + {score:.3f}  ", _shortened(positive))
        out.beside(f"  - {row['negative_scores'][0]:.3f}  ", _shortened(row["negative"][0]))
    out.show("", "Next: name the file under data: in a config, and debater train CONFIG")


def _shortened(text: str) -> str:
    first, *rest = wrapped(printable(" ".join(text.split())), SHOWN_WIDTH)
    return first + "…" if rest else first
