"""The agents' tools: `search`, `get_document` and `list_indexes`, over the same `Service` as the API.

This module needs the library `mcp`; `serving.mcp` opens the doors to it.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

import debater_search
from debater_search.errors import DebaterError
from debater_search.indexing.description import describe
from debater_search.refusals import dotted, meant, refusal
from debater_search.serving.agent_schemas import AgentField, AgentIndex, AgentIndexes, Found, FoundHit
from debater_search.serving.callers import ANYBODY, Caller, require
from debater_search.serving.errors import ApiError
from debater_search.serving.examples import filter_examples
from debater_search.serving.indexes import ServedIndex
from debater_search.serving.reading import read_document
from debater_search.serving.schemas import DocumentBody, SearchRequest
from debater_search.serving.searching import search
from debater_search.serving.service import Service

log = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Search collections of documents by meaning and by words. Call list_indexes first: it says which indexes there "
    "are, what they hold, and by which metadata fields a search can be filtered. Then search, and read what you need "
    "of a document with get_document."
)
MOST_CHARACTERS = 50_000
_FIELDS, _VALUES = 30, 10
"""Fields that are described of an index, and values of a field."""
_SHORT, _WHOLE = 300, 2_000
"""Characters of a text in the metadata of a hit, and of a document."""
_ELEMENTS = 20
_OPENING_SECONDS = 50.0
"""How long a tool waits for an index that is being opened; clients give up after about 60 seconds."""
_CLOSING_SECONDS = 1.0


Query = Annotated[str, Field(description="What to look for: a question, a claim or words.")]
IndexName = Annotated[str | None, Field(description="The index; may be left out if there is only one.")]
Where = Annotated[
    str | None,
    Field(
        description="Only documents whose metadata passes this filter: field = != < <= > >= value, in (…), between … "
        "and …, has, contains, like, is missing, joined by and, or, not, (). Texts in single quotes. An example: "
        "year >= 2020 and venue in ('ACL', 'SIGIR'). list_indexes has the fields."
    ),
]
Mode = Annotated[
    Literal["dense", "lexical", "hybrid"] | None,
    Field(description="By meaning (dense), by words (lexical) or both (hybrid, the default where there are vectors)."),
]


def make_server(service: Service, *, alone: bool = False) -> MCPServer[Any]:
    """The MCP server over a service. `alone`: it starts and closes the service; else the application does."""
    tools = _Tools(service)
    with _root_logger_as_it_is():
        server = _Server(
            "debater",
            title="debater",
            instructions=INSTRUCTIONS,
            version=debater_search.__version__,
            log_level="WARNING",
            lifespan=tools.lifespan if alone else None,
        )
    for tool, title in (
        (tools.search, "Search documents"),
        (tools.get_document, "Read a document"),
        (tools.list_indexes, "List indexes"),
    ):
        hints = ToolAnnotations(
            title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
        description = " ".join((tool.__doc__ or "").split())
        server.add_tool(tool, title=title, description=description, annotations=hints, structured_output=True)
    return server


class _Server(MCPServer[Any]):
    """An MCP server that refuses arguments in our sentences instead of its validator's, and those that it has not."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool; ToolError for what an agent can mend."""
        for tool in await self.list_tools():
            if tool.name == name:
                _require_known(tool.name, arguments, tool.input_schema["properties"])
        try:
            return _compact(await super().call_tool(name, arguments, context))
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise _refused(error.__cause__) from None
            if type(error.__cause__) is ToolError:  # ours, before which the library puts the name of the tool
                raise error.__cause__ from None
            raise


def _compact(result: Any) -> Any:
    """The result with its text on one line: the library indents it, which would only fill an agent's context."""
    if not isinstance(result, CallToolResult) or result.structured_content is None:
        return result
    text = json.dumps(result.structured_content, ensure_ascii=False)
    return result.model_copy(update={"content": [TextContent(type="text", text=text)]})


class _Tools:
    """The tools. Their docstrings and the descriptions of their arguments are what an agent reads."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @asynccontextmanager
    async def lifespan(self, _: MCPServer[Any]) -> AsyncIterator[None]:
        """Open the indexes behind the first requests, and close them."""
        self._service.start()
        try:
            yield
        finally:
            closing = Thread(target=self._service.close, daemon=True)  # a model that is being loaded is not waited for
            closing.start()
            closing.join(_CLOSING_SECONDS)

    async def search(
        self,
        query: Query,
        ctx: Context[Any, Any],
        index: IndexName = None,
        k: Annotated[int, Field(description="Hits, 1 to 100.")] = 5,
        where: Where = None,
        mode: Mode = None,
    ) -> Found:
        """Find the documents of an index that answer a query best: id, title, best sentence and metadata of each."""
        with _told_to_agents():
            caller = _caller(ctx, "search")
            _require_utf8(query=query, where=where)
            served = await self._opened(self._chosen(index, caller))
            mode = mode or ("hybrid" if served.opened[1] is not None else "lexical")
            request = SearchRequest(query=query, k=k, where=where, mode=mode)
            if k > (most := self._service.settings.max_k):
                raise ToolError(f"k is above {most}. Ask for fewer hits, or filter by where.")
            async with asyncio.timeout(self._service.settings.request_seconds):
                answer = await search(self._service, served.name, caller, request)
            hits = [
                FoundHit(
                    rank=hit["rank"],
                    id=hit["id"],
                    score=hit["score"],
                    title=hit["title"],
                    snippet=hit["snippet"],
                    metadata=_shortened(hit["metadata"], _SHORT),
                )
                for hit in answer["hits"]
            ]
            return Found(index=served.name, hits=hits, notes=answer["notes"])

    async def get_document(
        self,
        id: Annotated[str, Field(description="The id of a hit.")],
        ctx: Context[Any, Any],
        index: IndexName = None,
        offset: Annotated[int, Field(description="First character of the text.")] = 0,
        characters: Annotated[int, Field(description=f"Characters of the text, 1 to {MOST_CHARACTERS:,}.")] = 8000,
    ) -> DocumentBody:
        """Read a document: its title, metadata and a part of its text. If the text is longer than `characters`, read on
        with `offset`; `total_characters` says how long it is.
        """
        with _told_to_agents():
            caller = _caller(ctx, "document")
            _require_utf8(id=id)
            if not 0 <= offset < 2**31 or not 1 <= characters <= MOST_CHARACTERS:
                raise ToolError(f"offset must be 0 or more, and characters 1 to {MOST_CHARACTERS:,}.")
            served = await self._opened(self._chosen(index, caller))
            read = await self._service.retrieve(read_document, served, id, offset, characters)
            return DocumentBody.model_validate(read | {"metadata": _shortened(read["metadata"], _WHOLE)})

    async def list_indexes(self, ctx: Context[Any, Any]) -> AgentIndexes:
        """List the indexes that can be searched: what they hold, their metadata fields with types and values, and
        examples of filters.
        """
        with _told_to_agents():
            caller = _caller(ctx, None)
            found, damaged = [], {}
            for served in self._service.visible(caller):
                try:
                    found.append(_described(await self._service.retrieve(_facts, served)))
                except DebaterError as error:
                    log.error("Index %s: %s", served.name, error)
                    damaged[served.name] = "It cannot be read. Its operator finds the reason in the log."
            return AgentIndexes(indexes=found, damaged=damaged)

    def _chosen(self, name: str | None, caller: Caller) -> ServedIndex:
        """The index of a name, or the only one; ToolError, with the names that there are, if that is none."""
        visible = {served.name: served for served in self._service.visible(caller)}
        if name is None and len(visible) == 1:
            return next(iter(visible.values()))
        if name in visible:
            return visible[name]
        names = f"Indexes: {', '.join(visible)}." if visible else "There is no index for you."
        raise ToolError(f"Name an index. {names}" if name is None else f"There is no index {name[:100]!r}. {names}")

    async def _opened(self, served: ServedIndex) -> ServedIndex:
        """The index once it is open; ToolError if it cannot be, or not in time."""
        deadline = monotonic() + _OPENING_SECONDS
        while not served.is_open and served.failure is None and monotonic() < deadline:
            await asyncio.sleep(0.05)
        if served.is_open:
            return served
        if served.failure is None:
            raise ToolError(f"The index {served.name} is being opened. Try again in a minute.")
        log.error("Index %s: %s", served.name, served.failure)
        raise ToolError(f"The index {served.name} could not be opened. Its operator finds the reason in the log.")


def _caller(ctx: Context[Any, Any], scope: Any) -> Caller:
    """Who asks: the holder of the key over HTTP, the user of this machine over standard input."""
    request = ctx.request_context.request
    caller: Caller = ANYBODY if request is None else request.scope["caller"]
    if scope is not None:
        require(caller, scope)
    return caller


def _require_utf8(**texts: str | None) -> None:
    """Raise ToolError for an argument with half a surrogate pair, which no document can hold."""
    for name, text in texts.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            raise ToolError(f"{name} is not UTF-8 text.") from None


def _require_known(tool: str, arguments: Collection[str], known: Collection[str]) -> None:
    """Raise ToolError for an argument that a tool does not have; the library would leave it out."""
    for name in arguments:
        if name not in known:
            near = meant(name, known)
            hint = f"Did you mean {near}? " if near else ""
            takes = f"Its arguments are {', '.join(known)}." if known else "It takes no arguments."
            shown = name if name.isascii() and name.isidentifier() and len(name) <= 40 else "…"
            raise ToolError(f"{tool} has no argument {shown}. {hint}{takes}")


def _refused(error: ValidationError) -> ToolError:
    first = error.errors(include_url=False, include_input=False)[0]
    return ToolError(f"{refusal(first, dotted(first['loc']))}.")


@contextmanager
def _told_to_agents() -> Iterator[None]:
    """Turn errors that an agent can mend into a sentence that it reads."""
    try:
        yield
    except ValidationError as error:
        raise _refused(error) from None
    except (ApiError, DebaterError) as error:
        said = f"{error.message} {error.hint}".strip()
        raise ToolError(said.encode("utf-8", "backslashreplace").decode()) from None
    except TimeoutError:
        raise ToolError("The search took too long. Ask for fewer hits, or again later.") from None


def _facts(served: ServedIndex) -> dict[str, Any]:
    """What is in an index, also while its model is being loaded. In a thread for retrieval."""
    if served.is_open:
        return served.facts()
    facts = describe(served.folder)
    modes = ["dense", "lexical", "hybrid"] if "model" in facts else ["lexical"]
    return facts | {"name": served.name, "corpus": Path(facts["corpus"]).name, "modes": modes}


def _described(facts: dict[str, Any]) -> AgentIndex:
    fields = facts["fields"]
    shown = [AgentField(**field | {"values": field.get("values", [])[:_VALUES] or None}) for field in fields[:_FIELDS]]
    return AgentIndex(
        name=facts["name"],
        documents=facts["documents"],
        corpus=facts["corpus"],
        modes=facts["modes"],
        fields=shown,
        more_fields=len(fields) - len(shown),
        filter_examples=filter_examples(fields),
    )


def _shortened(value: Any, characters: int) -> Any:
    """Metadata without what would fill an agent's context: long texts, and all but the first elements of lists."""
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}…"
    if isinstance(value, list):
        return [_shortened(element, characters) for element in value[:_ELEMENTS]]
    if isinstance(value, dict):
        return {key: _shortened(element, characters) for key, element in value.items()}
    return value


@contextmanager
def _root_logger_as_it_is() -> Iterator[None]:
    """Keep the MCP library from configuring the logging of the process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
