"""The agents' tools: in this process, and mounted in the HTTP server."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult

from debater_search.errors import MissingError
from debater_search.indexing.description import describe
from debater_search.serving import Settings
from debater_search.serving.examples import filter_examples
from debater_search.serving.indexes import named
from debater_search.serving.service import Service
from debater_search.serving.tools import make_server
from tests.fakes import FakeEncoder
from tests.serving.conftest import load_fake

ACCEPT = {"Accept": "application/json, text/event-stream"}
HOSTILE = "a \u0000 \u202e <script> ' \" ; \\ {} \ufffe"


Session = Callable[[Client], Awaitable[Any]]


def talk(indexes: list[Path], session: Session, **settings: Any) -> Any:
    """Let an agent in this process talk to the tools."""

    async def run() -> Any:
        service = Service(named(indexes), Settings(**{"load_encoder": load_fake, **settings}))
        async with Client(make_server(service, alone=True)) as client:
            return await session(client)

    return asyncio.run(run())


def call(indexes: list[Path], tool: str, **arguments: Any) -> CallToolResult:
    """What one call of a tool gives."""
    return talk(indexes, lambda client: client.call_tool(tool, arguments))  # type: ignore[no-any-return]


def refusal(indexes: list[Path], tool: str, **arguments: Any) -> str:
    """The sentence that an agent reads where a call is refused."""
    result = call(indexes, tool, **arguments)
    assert result.is_error
    return result.content[0].text  # type: ignore[union-attr]


def test_the_tools_only_read_and_describe_their_arguments_and_results(library: list[Path]) -> None:
    async def session(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in talk(library, session)}
    assert tools.keys() == {"search", "get_document", "list_indexes"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert tool.description
        assert "  " not in tool.description
        assert "\n" not in tool.description
        assert tool.output_schema
        assert all("description" in argument for argument in tool.input_schema["properties"].values())
    assert tools["search"].input_schema["required"] == ["query"]


@pytest.mark.parametrize("tool", ["search", "get_document", "list_indexes"])
def test_the_text_of_a_result_is_its_structure_on_one_line(library: list[Path], tool: str) -> None:
    arguments = {"search": {"query": "wing", "index": "papers"}, "get_document": {"id": "d3", "index": "papers"}}
    result = call(library, tool, **arguments.get(tool, {}))
    [content] = result.content
    assert "\n" not in content.text  # type: ignore[union-attr]
    assert json.loads(content.text) == result.structured_content  # type: ignore[union-attr]


def test_search_gives_short_hits_of_the_index_by_meaning_and_words(library: list[Path]) -> None:
    found = call(library, "search", query="aircraft unique3", index="papers", k=2).structured_content
    assert found is not None
    assert found.keys() == {"index", "hits", "notes"}
    assert len(found["hits"]) == 2
    assert found["hits"][0]["id"] == "d3"
    assert found["hits"][0].keys() == {"rank", "id", "score", "title", "snippet", "metadata"}
    assert "unique3" in found["hits"][0]["snippet"]
    assert len(found["hits"][0]["metadata"]["abstract"]) < 400  # not what fills an agent's context
    assert len(found["hits"][0]["metadata"]["tags"]) == 20


def test_an_index_of_words_is_searched_by_words(library: list[Path]) -> None:
    found = call(library, "search", query="propellers", index="notes").structured_content
    assert [hit["id"] for hit in found["hits"]] == ["n"]  # type: ignore[index]
    assert "holds words only" in refusal(library, "search", query="x", index="notes", mode="dense")


def test_the_index_may_be_left_out_if_there_is_only_one(library: list[Path]) -> None:
    assert not call(library[:1], "search", query="wing").is_error
    assert refusal(library, "search", query="wing").endswith("Name an index. Indexes: papers, notes.")
    assert "There is no index 'paper'. Indexes: papers, notes." in refusal(
        library, "search", query="wing", index="paper"
    )


def test_a_filter_restricts_a_search_and_a_wrong_one_says_what_is_right(library: list[Path]) -> None:
    found = call(library, "search", query="wing", index="papers", where="year >= 1956").structured_content
    assert {hit["id"] for hit in found["hits"]} == {"d6", "d7"}  # type: ignore[index]
    said = refusal(library, "search", query="wing", index="papers", where="yeer >= 1956")
    assert "No document has a field 'yeer'. Did you mean year? Fields: " in said
    assert "The filter is wrong at character" in refusal(library, "search", query="w", index="papers", where="year >")
    noted = call(library, "search", query="wing", index="papers", where="year = 'soon'").structured_content
    assert noted is not None
    assert "year" in noted["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": ""}, "The query is empty"),
        ({"query": "w", "mode": "fuzzy"}, "mode must be 'dense', 'lexical' or 'hybrid'."),
        ({"index": "papers"}, "query is missing."),
        ({"query": "w", "k": 0}, "k must be at "),
        ({"query": "w", "k": -1}, "k must be at "),
        ({"query": "w", "k": 101}, "k is above 100. Ask for fewer hits"),
        ({"query": "w", "k": 10**30}, "k must be at "),
        ({"query": "w" * 20_000}, "longer than 10,000"),
        ({"query": "w", "where": "(" * 5000}, "nested"),
        ({"query": "w", "where": "year = 1" + " or year = 1" * 5000}, "comparisons"),
        ({"query": "w", "where": HOSTILE}, "wrong at character"),
        ({"query": "w", "index": HOSTILE * 100}, "Indexes: papers"),
        ({"query": "w", "index": "../papers"}, "Indexes: papers"),
        ({"query": "a lone \ud800 surrogate"}, "UTF-8"),
        ({"query": "w", "where": "title = '\ud800'"}, "UTF-8"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    library: list[Path], arguments: dict[str, Any], said: str
) -> None:
    refused = refusal(library[:1], "search", **arguments)
    assert said in refused
    assert "Traceback" not in refused
    assert not refused.startswith("Error executing tool")
    refused.encode()  # it can be sent


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (
            "search",
            {"query": "w", "top_k": 3},
            "search has no argument top_k. Did you mean k? Its arguments are query, ",
        ),
        ("search", {"query": "w", "mod": "dense"}, "search has no argument mod. Did you mean mode? Its arguments are "),
        (
            "search",
            {"q": "w"},
            "search has no argument q. Did you mean query? Its arguments are query, index, k, where, ",
        ),
        ("search", {"query": "w", HOSTILE: 1}, "search has no argument …. Its arguments are query, "),
        (
            "get_document",
            {"doc_id": "d5"},
            "get_document has no argument doc_id. Did you mean id? Its arguments are id, ",
        ),
        ("list_indexes", {"index": "papers"}, "list_indexes has no argument index. It takes no arguments."),
    ],
)
def test_an_unknown_argument_is_refused_with_the_right_name(
    library: list[Path], tool: str, arguments: dict[str, Any], said: str
) -> None:
    result = talk(library[:1], lambda client: client.call_tool(tool, arguments))
    assert result.is_error
    assert result.content[0].text.startswith(said)


@pytest.mark.parametrize("query", ["\u0000", "a\u0000b", HOSTILE, "' OR 1=1 --", '" NEAR (', "*", "wing\n" * 500])
def test_a_hostile_query_is_a_query(library: list[Path], query: str) -> None:
    result = call(library[:1], "search", query=query)
    assert not result.is_error or "empty" in result.content[0].text  # type: ignore[union-attr]


def test_a_document_is_read_in_parts(library: list[Path]) -> None:
    whole = "The wing of aircraft unique5 flies. " + "More of it. " * 2000
    first = call(library, "get_document", index="papers", id="d5").structured_content
    assert first is not None
    assert (first["text"], first["total_characters"]) == (whole[:8000], len(whole))
    assert first["metadata"]["year"] == 1955
    last = call(library, "get_document", index="papers", id="d5", offset=len(whole) - 10, characters=50_000)
    assert last.structured_content["text"] == whole[-10:]  # type: ignore[index]
    behind = call(library, "get_document", index="papers", id="d5", offset=10**9).structured_content
    assert behind["text"] == ""  # type: ignore[index]
    assert "There is no document with this id" in refusal(library, "get_document", index="papers", id="d99")
    assert "id is not UTF-8 text" in refusal(library, "get_document", index="papers", id="\ud800")
    for wrong in ({"offset": -1}, {"characters": 0}, {"characters": 10**9}, {"offset": 10**30}):
        assert "offset must be" in refusal(library, "get_document", index="papers", id="d5", **wrong)


def test_indexes_are_listed_with_fields_and_filters_that_work(library: list[Path]) -> None:
    listed = call(library, "list_indexes").structured_content
    assert listed is not None
    papers, notes = listed["indexes"]
    assert (papers["name"], papers["documents"], papers["modes"]) == ("papers", 8, ["dense", "lexical", "hybrid"])
    assert (notes["name"], notes["modes"], notes["filter_examples"]) == ("notes", ["lexical"], [])
    fields = {field["name"]: field for field in papers["fields"]}
    assert (fields["year"]["type"], fields["year"]["min"], fields["year"]["max"]) == ("number", 1950, 1957)
    assert all(value is not None for field in papers["fields"] for value in field.values())
    assert fields["venue"]["values"] == [["ACL", 4], ["O'Reilly", 4]]
    assert str(library[0].parent) not in json.dumps(listed)


def test_every_example_of_a_filter_allows_documents(library: list[Path]) -> None:
    fields = describe(library[0])["fields"]
    examples = [example for field in fields for example in filter_examples([field])] + filter_examples(fields)
    assert len(examples) > 8

    async def session(client: Client) -> None:
        for example in examples:
            found = await client.call_tool("search", {"query": "wing", "where": example})
            assert not found.is_error, (example, found.content)
            assert found.structured_content["hits"], example  # type: ignore[index]

    talk(library[:1], session)


def test_names_that_filters_cannot_spell_are_no_examples() -> None:
    assert filter_examples([{"name": "a`b", "type": "number", "max": 1}]) == []
    assert filter_examples([{"name": "in", "type": "number", "max": 1}]) == ["`in` >= 1"]
    assert filter_examples([{"name": "long", "type": "long"}]) == []


def test_indexes_are_listed_while_their_model_is_loaded_and_a_search_waits_for_it(library: list[Path]) -> None:
    go = Event()

    def slow(*arguments: Any) -> FakeEncoder:
        go.wait(20)
        return load_fake(*arguments)

    async def session(client: Client) -> Any:
        listed = await client.call_tool("list_indexes", {})
        assert not listed.is_error
        searching = asyncio.create_task(client.call_tool("search", {"query": "unique2"}))
        await asyncio.sleep(0.1)
        assert not searching.done()
        go.set()
        return listed.structured_content, await searching

    listed, found = talk(library[:1], session, load_encoder=slow)
    assert listed["indexes"][0]["fields"]
    assert found.structured_content["hits"][0]["id"] == "d2"


def test_a_model_that_cannot_be_loaded_is_told_without_its_place(library: list[Path]) -> None:
    def gone(*_: Any) -> FakeEncoder:
        raise MissingError("There is no model in /secret/place.")

    result = talk(library[:1], lambda client: client.call_tool("search", {"query": "wing"}), load_encoder=gone)
    assert result.is_error
    assert result.content[0].text.endswith(
        "The index papers could not be opened. Its operator finds the reason in the log."
    )


def test_our_own_failure_is_told_without_its_reason(
    library: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("debater_search.search.SearchEngine.answer", broken)
    assert refusal(library[:1], "search", query="wing") == "Error executing tool search"
    assert "a secret" in caplog.text


def test_the_logging_of_the_process_is_left_alone(library: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.CRITICAL)
    make_server(Service(named(library), Settings()))
    assert (root.handlers, root.level) == ([], logging.CRITICAL)
