"""`debater search`: one query, a prompt, or a file of queries."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.hits import hits_document, show_hits
from debater_search.cli.options import (
    INDEXES,
    BaseModel,
    Device,
    Force,
    Instruction,
    Json,
    Mode,
    SearchMode,
    examples,
)
from debater_search.cli.output import Output, results
from debater_search.cli.prompt import converse
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.search import SearchEngine

log = logging.getLogger(__name__)

EXAMPLES = examples(
    'debater search "how do wings stall at low speed"',
    'debater search "boundary layer" --index indexes/cranfield -k 20 --json',
    "debater search flutter --where \"year >= 2020 and venue in ('ACL', 'SIGIR') and not lang = 'de'\"",
    "debater search                   # a prompt that keeps the model loaded",
    "debater search --queries queries.jsonl -k 1000 --run run.trec",
)


def search(
    query: Annotated[
        str | None,
        typer.Argument(help="What to look for. Without it, queries are read from standard input.", metavar="QUERY"),
    ] = None,
    index: Annotated[
        Path | None, typer.Option("--index", "-i", help="An index folder. Default: the newest in indexes/.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    mode: SearchMode = Mode.dense,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Keep to documents by metadata, id, title: = != < <= > >= in (…), is missing, and, or, not, ().",
            metavar="FILTER",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Encodes queries; refused unless it made the index.", metavar="M"),
    ] = None,
    base_model: BaseModel = None,
    instruction: Instruction = None,
    queries: Annotated[Path | None, typer.Option(help="Answer a file of queries; needs --run.", metavar="FILE")] = None,
    run: Annotated[Path | None, typer.Option(help="Where --queries writes its TREC run.", metavar="OUT")] = None,
    force: Force = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show where the time went.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Search an index.

    Without QUERY, read one query a line; `:k 20`, `:mode lexical`, `:where year > 2020` and `:q` are understood there.
    """
    with results(as_json) as out:
        _check(query, queries, run, force)
        engine = open_engine(index, model, base_model, device)
        conversation = Search(engine, out, k, mode, instruction, explain)
        conversation.restrict(where)
        if queries is not None and run is not None:
            conversation.answer_file(queries, run)
        elif query is not None:
            conversation.answer(query)
        else:
            conversation.load()
            raise typer.Exit(converse(conversation, out))


@dataclass
class Search:
    """An open index and how to search it."""

    engine: "SearchEngine"
    out: Output
    k: int
    mode: Mode
    instruction: str | None
    explain: bool
    where: str | None = None

    def restrict(self, where: str | None) -> None:
        """Search only the documents that a filter allows, or with None all again; DebaterError if it is wrong."""
        if where is not None:
            self.engine.check_filter(where)
        self.where = where

    def load(self) -> float:
        """Load the model and the vectors if the mode needs them and they are not there yet; returns the seconds."""
        start = time.perf_counter()
        if self.mode is not Mode.lexical:
            _ = self.engine.encoder, self.engine.vectors
        return time.perf_counter() - start

    def answer(self, query: str) -> None:
        """Search for `query` and print the hits."""
        _require_text(query)
        load = self.load()
        hits = self.engine.search(query, self.k, **self._settings())
        timings = {"load": load, **self.engine.timings}
        if self.out.as_json:
            return self.out.json(hits_document(query, hits, timings))
        show_hits(self.out, query, hits)
        return self._explain(timings)

    def answer_file(self, queries: Path, run: Path) -> None:
        """Search for every query of a file and write the run."""
        from debater_search.data import read_queries, write_run

        asked = read_queries(queries)
        load = self.load()
        found = self.engine.search_batch(asked, self.k, **self._settings())
        timings = {"load": load, **self.engine.timings}
        write_run(found, run, depth=self.k)
        if self.out.as_json:
            return self.out.json({"run": str(run), "queries": len(found), "timings": timings})
        self.out.facts([("run", str(run)), ("queries", f"{len(found):,}")])
        return self._explain(timings)

    def _settings(self) -> dict[str, Any]:
        return {"mode": self.mode.value, "instruction": self.instruction, "where": self.where}

    def _explain(self, timings: dict[str, float]) -> None:
        if self.explain:
            self.out.facts([(stage, f"{1000 * seconds:,.1f} ms") for stage, seconds in timings.items()])


def _check(query: str | None, queries: Path | None, run: Path | None, force: bool) -> None:
    """Refuse what cannot work before the model is loaded."""
    if query is not None and queries is not None:
        raise DebaterError("There is a QUERY and there is --queries.", "Give one of them.")
    if (queries is None) != (run is None):
        raise DebaterError("--queries and --run go together.", "Give both: --queries FILE --run OUT.")
    if run is not None and run.exists() and not force:
        raise DebaterError(f"{run} exists.", "Give another --run, or --force to replace it.")
    if run is not None:
        from debater_search.data.files import require_writable

        require_writable(run)
    if query is not None:
        _require_text(query)


def _require_text(query: str) -> None:
    if not query.strip():
        raise DebaterError("The query is empty.", 'Say what to look for: debater search "how do wings stall".')
    try:
        query.encode("utf-8")
    except UnicodeEncodeError:
        raise DebaterError("The query is not UTF-8 text.", "Check the terminal's or the file's encoding.") from None


def open_engine(index: Path | None, model: str | None, base_model: str | None, device: str) -> "SearchEngine":
    """The index that the options name, or the newest; with its own model, or that of the options if it is the same."""
    from debater_search.search import SearchEngine, latest_index

    if index is None:
        index = latest_index(INDEXES)
        log.info("Searching %s.", index)
    engine = SearchEngine.open(index)
    given = {name: value for name, value in (("model", model), ("base_model", base_model)) if value is not None}
    made_by = engine.manifest.encoder
    if made_by is None or (not given and device == "auto"):
        return engine
    from debater_search.encoder import Encoder

    engine.close()
    recipe: dict[str, Any] = {**made_by.recipe, **given}  # lengths and the like stay those of the index
    return SearchEngine.open(index, encoder=Encoder.load(**recipe, device=device))
