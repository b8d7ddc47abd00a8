"""The agents' tools, mounted in the HTTP server."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

from debater_search.errors import UnavailableError
from debater_search.serving import Settings, make_app
from debater_search.serving.keys import add_key
from tests.serving.conftest import URL, Serve, load_fake

ACCEPT = {"Accept": "application/json, text/event-stream"}


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


def test_a_stream_that_is_asked_for_is_refused_in_our_shape(agents: TestClient) -> None:
    refused = agents.get("/mcp/", headers={"Accept": "text/event-stream"})
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json()["error"]["code"] == "method_not_allowed"


def test_without_the_library_the_rest_is_served(
    serve: Serve, library: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise UnavailableError(f"The library {module} is not installed.", f"Install it: {extra}.")

    monkeypatch.setattr("debater_search.serving.mcp.require", missing)
    client = serve(*library, mcp=True)
    assert client.get("/v1/indexes").status_code == 200
    assert post(client, "tools/list", {}).status_code in (404, 405)
