"""`debater search`: one query, a prompt, or a file of queries."""

import logging
import shlex
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.completion import index_names
from debater_search.cli.hit_rows import hit_rows, query_rows
from debater_search.cli.hits import hits_document, show_hits
from debater_search.cli.index_option import found_index
from debater_search.cli.options import (
    INDEXES,
    RANKING,
    BaseModel,
    Device,
    Instruction,
    Json,
    Mode,
    QueryModel,
    Rerank,
    RerankDepth,
    Rescore,
    SearchMode,
    examples,
    load_reranker,
)
from debater_search.cli.output import Output, results
from debater_search.cli.prompt import converse
from debater_search.cli.search_checks import parse_weights, require_columns, require_one_way, require_text
from debater_search.terminal import say
from debater_search.types import Answer, Like

if TYPE_CHECKING:
    from debater_search.encoder import PairScorer
    from debater_search.search import SearchEngine

log = logging.getLogger(__name__)

FILES = "A file of queries"

EXAMPLES = examples(
    'debater search "how do wings stall at low speed"',
    'debater search "boundary layer" --index indexes/cranfield -k 20 --json',
    "debater search flutter --where \"year > 2019 and not venue in ('ACL', 'SIGIR')\"",
    "debater search --like 1706.03762 --mode hybrid --explain",
    "debater search flutter --rerank cross-encoder/ms-marco-MiniLM-L12-v2",
    "debater search                   # a prompt that keeps the model loaded",
    "debater search --queries queries.jsonl -k 1000 --run run.trec",
    "debater search flutter -k 100 --csv > hits.csv",
)


def search(
    query: Annotated[
        str | None,
        typer.Argument(help="The query. Without it, queries are read from standard input.", metavar="QUERY"),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            help="A folder, or a name in indexes/. Default: the newest in indexes/.",
            metavar="INDEX",
            autocompletion=index_names,
            callback=found_index,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per query.", metavar="N")] = 10,
    mode: SearchMode = Mode.dense,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the two rankings in --mode hybrid. Default: 6,1.",
            metavar="DENSE,LEXICAL",
            rich_help_panel=RANKING,
        ),
    ] = None,
    rescore: Annotated[
        Rescore | None,
        typer.Option(
            help="Reorder the nearest documents by the best (max) or the mean of their stored thinking steps.",
            metavar="max|mean",
            rich_help_panel=RANKING,
        ),
    ] = None,
    rerank: Rerank = None,
    rerank_depth: RerankDepth = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Search exactly, on every type of vector index.", rich_help_panel=RANKING),
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Search documents by metadata, id, title: = != < <= > >= in (…), between … and …, has, contains, "
            "like, is missing; and, or, not, ().",
            metavar="FILTER",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="Find documents like this one, by its stored vector. Replaces QUERY.", metavar="ID"),
    ] = None,
    model: QueryModel = None,
    base_model: BaseModel = None,
    instruction: Instruction = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Answer a file of queries; needs --run or --csv.", metavar="FILE", rich_help_panel=FILES),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Where --queries writes its TREC run.", metavar="OUT", rich_help_panel=FILES)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a finished run.", rich_help_panel=FILES)] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show why each document is a hit, and the time of each stage.")
    ] = False,
    device: Device = "auto",
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print hits as CSV, with a column per metadata field."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Search an index.

    Without QUERY, read one query per line.

    Commands there: `:k 20`, `:mode lexical`, `:where year > 2020`, `:like ID`, `:help`, `:q`.
    """
    with results(as_json) as out:
        require_one_way(query, like, queries, run, force=force, as_csv=as_csv)
        if as_csv:
            require_columns(query, like, queries, run, explain=explain, as_json=as_json)
        fusion = parse_weights(weights)
        with closing(open_engine(index, model, base_model, device, where=where)) as engine:
            reranker = load_reranker(rerank, rerank_depth, device)
            conversation = Search(
                engine, out, k, mode, instruction, explain, rescore, fusion, exact, reranker, rerank_depth, as_csv
            )
            conversation.restrict(where)
            if queries is not None:
                conversation.answer_file(queries, run)
            elif query is not None:
                conversation.answer(query)
            elif like is not None:
                conversation.answer_like(like)
            else:
                conversation.load()
                raise typer.Exit(converse(conversation, out))


@dataclass
class Search:
    """An open index and how to search it."""

    engine: "SearchEngine"
    out: Output
    k: int = 10
    mode: Mode = Mode.dense
    instruction: str | None = None
    explain: bool = False
    rescore: Rescore | None = None
    weights: tuple[float, float] | None = None
    exact: bool = False
    reranker: "PairScorer | None" = None
    rerank_depth: int | None = None
    as_csv: bool = False
    where: str | None = None

    def restrict(self, where: str | None) -> None:
        """Search only documents that a filter allows, or all of them if it is None; DebaterError if it is wrong."""
        self.engine.check(where=where)
        self.where = where

    def load(self, *, model: bool = True, queries: int = 1) -> float:
        """Load the model and the vectors, unless they are loaded or the mode needs none; returns the seconds."""
        start = time.perf_counter()
        if self.mode is not Mode.lexical:
            from debater_search.vectors.faiss import require_one_faiss

            require_one_faiss()
            self.engine.check(**self._settings())  # before seconds go into loading
            self.engine.warm_up(model=model, queries=queries)
        return time.perf_counter() - start

    def answer(self, query: str) -> None:
        """Search for `query` and print the hits."""
        require_text(query)
        load = self.load()
        answer = self.engine.answer(
            query, self.k, instruction=self.instruction, explain=self.explain, **self._settings()
        )
        self._show({"query": query}, answer, load, marked=query)
        self._say_id(query.strip(), answer)

    def answer_like(self, id: str) -> None:
        """Search for documents like one of the index and print the hits; the model is not needed."""
        load = self.load(model=False)
        self._show({"like": id}, self.engine.answer(Like(id), self.k, explain=self.explain, **self._settings()), load)

    def answer_file(self, queries: Path, run: Path | None) -> None:
        """Search for every query of a file and write the run, or print the hits as CSV if there is none."""
        from debater_search.data import read_queries, write_run

        read = read_queries(queries)
        load = self.load(queries=len(read))
        if run is None:
            found = self.engine.search_many(read, self.k, instruction=self.instruction, **self._settings())
            return self.out.csv(query_rows(list(zip(read, found, strict=True))))
        answer = self.engine.answer_batch(read, self.k, instruction=self.instruction, **self._settings())
        timings = {"load": load, **answer.timings}
        write_run(answer.run, run, tag=self._system, depth=self.k)
        if self.out.as_json:
            return self.out.json({"run": str(run), "queries": len(answer.run), "timings": timings})
        self.out.facts([("run", str(run)), ("queries", f"{len(answer.run):,}")])
        return self._show_timings(timings)

    @property
    def _system(self) -> str:
        """What the run says of who made it: model, mode and reranker, as in the results of an evaluation."""
        from debater_search.search.request import system_name

        encoder = self.engine.manifest.encoder
        model, reranker = encoder.name if encoder else None, self.reranker.name if self.reranker else None
        return system_name(model, self.mode.value, reranker)

    @property
    def _rescore(self) -> Any:
        return None if self.rescore is None else self.rescore.value

    def _settings(self) -> dict[str, Any]:
        settings = {
            "mode": self.mode.value,
            "where": self.where,
            "rescore": self._rescore,
            "exact": self.exact,
            "rerank": self.reranker,
            "rerank_depth": self.rerank_depth,
        }
        return settings if self.weights is None else settings | {"weights": self.weights}

    def _show(self, query: dict[str, str], answer: Answer, load: float, *, marked: str = "") -> None:
        """Print hits, with the words of `marked` highlighted."""
        if self.as_csv:
            return self.out.csv(hit_rows(answer.hits))
        timings = {"load": load, **answer.timings}
        if self.out.as_json:
            return self.out.json(hits_document(query, answer.hits, timings))
        show_hits(self.out, self.engine.marks(marked), answer.hits)
        if not answer.hits and self.mode is Mode.lexical and self.where is None:
            meaning = "; mode hybrid also goes by meaning" if self.engine.manifest.encoder else ""
            log.info("Lexical search finds whole words of title and text%s.", meaning)
        return self._show_timings(timings)

    def _say_id(self, id: str, answer: Answer) -> None:
        """Say how to see the document if the query is the id of one; of filters the log has spoken."""
        from debater_search.search.answer import id_note

        if (note := id_note(id)) in answer.notes:
            say(note)
            say(shlex.join(["debater", "get", str(self.engine.folder), id]))

    def _show_timings(self, timings: dict[str, float]) -> None:
        if self.explain:
            self.out.facts([(stage, f"{1000 * seconds:,.1f} ms") for stage, seconds in timings.items()])


def open_engine(
    index: Path | None, model: str | None, base_model: str | None, device: str, *, where: str | None = None
) -> "SearchEngine":
    """Open the index that the options name, or the newest one, with its own model or with that of the options.

    Raises DebaterError if there is no such index, another model made it, or (before it is loaded) a filter is wrong.
    """
    from debater_search.search import SearchEngine, latest_index
    from debater_search.store.folders import open_manifest

    if index is None:
        index = latest_index(INDEXES)
        log.info("Searching %s.", index)
    chosen = model is not None or base_model is not None or device != "auto"
    info = open_manifest(index).encoder if chosen else None
    if info is None:
        return SearchEngine.open(index)
    if where is not None:
        with closing(SearchEngine.open(index)) as without_model:
            without_model.check(where=where)
    from debater_search.encoder import load_again

    encoder = load_again(info, index, model=model, base_model=base_model, device=device, for_queries=True)
    return SearchEngine.open(index, encoder=encoder)
