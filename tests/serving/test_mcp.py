"""The agents' tools: in this process, and mounted in the HTTP server."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from starlette.testclient import TestClient

from debater_search.errors import MissingError, UnavailableError
from debater_search.indexing import build
from debater_search.indexing.description import describe
from debater_search.serving import Settings, make_app
from debater_search.serving.examples import filter_examples
from debater_search.serving.indexes import named
from debater_search.serving.keys import add_key
from debater_search.serving.service import Service
from debater_search.serving.tools import make_server
from debater_search.types import Document
from tests.fakes import FakeEncoder
from tests.serving.conftest import URL, Serve, load_fake

ACCEPT = {"Accept": "application/json, text/event-stream"}
HOSTILE = "a \u0000 \u202e <script> ' \" ; \\ {} \ufffe"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An index with metadata of every kind, and one of words only."""
    folder = tmp_path_factory.mktemp("library")
    documents = [
        Document(
            f"d{number}",
            f"The wing of aircraft unique{number} flies. " + "More of it. " * 2000,
            f"Title {number}",
            {
                "year": 1950 + number,
                "venue": ["ACL", "O'Reilly"][number % 2],
                "published": f"2020-05-{10 + number}",
                "free": number % 3 == 0,
                "tags": [f"tag{tag}" for tag in range(30)],
                "field of study": "flight",
                "abstract": "long " * 1000,
            },
        )
        for number in range(8)
    ]
    build(documents, FakeEncoder(), folder / "papers")
    build([Document("n", "A note on propellers.")], None, folder / "notes")
    return [folder / "papers", folder / "notes"]


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
        assert tool.output_schema
        assert all("description" in argument for argument in tool.input_schema["properties"].values())
    assert tools["search"].input_schema["required"] == ["query"]


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
    assert "No document has a field 'yeer'. Fields: year" in said
    assert "The filter is wrong at character" in refusal(library, "search", query="w", index="papers", where="year >")
    noted = call(library, "search", query="wing", index="papers", where="year = 'soon'").structured_content
    assert noted is not None
    assert "year" in noted["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"query": ""}, "The query is empty"),
        ({"query": "w", "k": 0}, "k: "),
        ({"query": "w", "k": -1}, "k: "),
        ({"query": "w", "k": 101}, "above 100"),
        ({"query": "w", "k": 10**30}, "k: "),
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
    refused.encode()  # it can be sent


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


# Over HTTP


def post(client: TestClient, method: str, params: dict[str, Any], **headers: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post("/mcp/", json=body, headers={**ACCEPT, **headers})


def post_call(client: TestClient, tool: str, arguments: dict[str, Any], **headers: str) -> Any:
    return post(client, "tools/call", {"name": tool, "arguments": arguments}, **headers).json()["result"]


@pytest.fixture
def agents(serve: Serve, library: list[Path]) -> TestClient:
    return serve(*library, mcp=True)


def test_over_http_each_request_stands_for_itself(agents: TestClient) -> None:
    hits = post_call(agents, "search", {"query": "unique3", "index": "papers"})["structuredContent"]["hits"]
    assert hits[0]["id"] == "d3"
    answer = agents.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}, headers=ACCEPT)
    assert (answer.status_code, len(answer.json()["result"]["tools"])) == (200, 3)
    assert "mcp-session-id" not in answer.headers
    for method in ("GET", "DELETE", "PUT"):
        assert agents.request(method, "/mcp/", headers=ACCEPT).status_code == 405
    assert '"/mcp"' in agents.get("/metrics").text


def test_an_mcp_client_connects_over_http(library: list[Path]) -> None:
    async def run() -> Any:
        app = make_app(library, Settings(load_encoder=load_fake, page=False))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=URL) as http,
            Client(streamable_http_client(f"{URL}/mcp/", http_client=http)) as client,
        ):
            assert (await client.list_tools()).tools
            return await client.call_tool("search", {"query": "unique4", "index": "papers"})

    assert asyncio.run(run()).structured_content["hits"][0]["id"] == "d4"


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}])
def test_a_foreign_host_is_refused(agents: TestClient, headers: dict[str, str]) -> None:
    assert post(agents, "tools/list", {}, **headers).status_code == 421


def test_a_page_of_another_origin_is_refused(agents: TestClient) -> None:
    assert post(agents, "tools/list", {}, Origin="https://evil.example").status_code == 403
    assert post(agents, "tools/list", {}, Origin="http://localhost:3000").status_code == 200
    plain = agents.post("/mcp/", content=b"{}", headers={**ACCEPT, "Content-Type": "text/plain"})
    assert plain.status_code == 400


def test_keys_and_scopes_hold_for_agents_too(serve: Serve, library: list[Path], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    finder = {"Authorization": f"Bearer {add_key(keys, 'finder', scopes=['search'], indexes=['pap*'])}"}
    metrics = {"Authorization": f"Bearer {add_key(keys, 'metrics', scopes=['metrics'])}"}
    client = serve(*library, mcp=True, keys=keys)
    assert post(client, "tools/list", {}).status_code == 401
    assert post(client, "tools/list", {}, Authorization="Bearer wrong").status_code == 401
    listed = post_call(client, "list_indexes", {}, **finder)["structuredContent"]["indexes"]
    assert [index["name"] for index in listed] == ["papers"]
    assert post_call(client, "search", {"query": "unique1"}, **finder)["structuredContent"]["hits"]
    hidden = post_call(client, "search", {"query": "x", "index": "notes"}, **finder)
    assert "There is no index 'notes'. Indexes: papers." in hidden["content"][0]["text"]
    for tool, arguments, key, scope in (
        ("get_document", {"id": "d1"}, finder, "document"),
        ("search", {"query": "x"}, metrics, "search"),
    ):
        refused = post_call(client, tool, arguments, **key)
        assert refused["isError"]
        assert f"This needs the scope {scope}." in refused["content"][0]["text"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"\\ud800"',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": '
        b'{"query": "\\ud800"}}}',
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\u0000", "arguments": {}}}',
        b" " * 2_000_000,
        b"\xff\xfe",
    ],
)
def test_hostile_bodies_break_nothing(agents: TestClient, body: bytes) -> None:
    answer = agents.post("/mcp/", content=body, headers={**ACCEPT, "Content-Type": "application/json"})
    assert answer.status_code < 500
    assert post_call(agents, "search", {"query": "unique3", "index": "papers"})["structuredContent"]["hits"]


def test_without_the_library_the_rest_is_served(
    serve: Serve, library: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise UnavailableError(f"The library {module} is not installed.", f"Install it: {extra}.")

    monkeypatch.setattr("debater_search.serving.mcp.require", missing)
    client = serve(*library, mcp=True)
    assert client.get("/v1/indexes").status_code == 200
    assert post(client, "tools/list", {}).status_code in (404, 405)
