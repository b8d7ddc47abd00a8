"""What clients send by mistake or on purpose: each is answered with a 4xx in the one shape, and quotes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from starlette.testclient import TestClient

from debater_search.serving import Settings, make_app
from tests.serving.conftest import URL, Serve, load_fake, wait_until

SEARCH, DOCUMENTS = "/v1/indexes/papers/search", "/v1/indexes/papers/documents"
SECRET = "Sesame"
JSON = {"Content-Type": "application/json"}

HOSTILE = {
    "half a surrogate pair": b'{"query": "Sesame \\ud800"}',
    "half a pair in a refused field": b'{"Sesame\\udfff": 1, "query": "x"}',
    "NUL": b'{"query": "Sesame\\u0000"}',
    "raw NUL": b'{"query": "Sesame\x00"}',
    "deep lists": b'{"query": "Sesame", "facets": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "nine levels": b'{"facets": [[[[[[[[]]]]]]]]}',
    "no JSON": b"Sesame",
    "half of it": b'{"query": "Sesame',
    "nothing": b"",
    "a list": b'["Sesame"]',
    "a number": b"7",
    "null": b"null",
    "NaN": b'{"query": "Sesame", "weights": [NaN, 1]}',
    "Infinity": b'{"query": "Sesame", "weights": [1e999, 1]}',
    "a number of many digits": b'{"query": "Sesame", "k": ' + b"9" * 5000 + b"}",
    "another encoding": '{"query": "Sesame"}'.encode("utf-16"),
    "not UTF-8": b'{"query": "Sesame \xff"}',
    "an unknown field": b'{"query": "Sesame", "Sesame": 1}',
    "a text for a number": b'{"query": "Sesame", "k": "10"}',
    "a truth for a number": b'{"query": "Sesame", "k": true}',
    "too many hits": b'{"query": "Sesame", "k": 90, "offset": 20}',
    "no hits": b'{"query": "Sesame", "k": 0}',
    "an empty query": b'{"query": " "}',
    "query and like": b'{"query": "Sesame", "like": "d1"}',
    "an unknown mode": b'{"query": "Sesame", "mode": "magic"}',
    "a broken filter": b'{"query": "Sesame", "where": "year >>"}',
    "a long query": json.dumps({"query": "Sesame " * 2000}).encode(),
    "an unknown facet": b'{"query": "Sesame", "facets": ["color"]}',
    "an id for a vector": b'{"query": [0.1, 0.2]}',
}


@pytest.fixture(scope="module")
def shared(built: Path) -> Iterator[TestClient]:
    """One server for all of them."""
    app = make_app([built], Settings(rate=0, mcp=False, load_encoder=load_fake))
    with TestClient(app, URL, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_search_is_refused_without_an_echo(shared: TestClient, name: str) -> None:
    refused = shared.post(SEARCH, content=HOSTILE[name], headers=JSON)
    assert refused.status_code == 400, refused.text
    error = refused.json()["error"]
    assert set(error) == {"code", "message", "hint", "type", "request_id"}
    assert error["type"] == "invalid_request_error"
    assert name == "an unknown field" or SECRET not in refused.text
    assert refused.content.isascii()


def test_other_content_types_are_refused(shared: TestClient) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        assert shared.post(SEARCH, content=b'{"query": "x"}', headers=headers).status_code == 415
    assert shared.post(SEARCH, content=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"}).status_code == 415
    assert shared.post(SEARCH, json={"query": "x", "mode": "lexical"}).status_code == 200


def test_bodies_over_the_limit_are_refused_announced_or_not(shared: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    for content in (b" " * 2_000_000, chunks()):
        refused = shared.post(SEARCH, content=content, headers=JSON)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


def test_a_foreign_host_is_refused(shared: TestClient) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::2]"):
        refused = shared.get("/v1/indexes", headers={"Host": host})
        assert refused.status_code == 421, host
    for host in ("localhost", "127.0.0.1:9999", "[::1]:8080"):
        assert shared.get("/v1/indexes", headers={"Host": host}).status_code == 200


def test_other_origins_are_allowed_only_where_they_are_named(shared: TestClient, serve: Serve, built: Path) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in shared.options(SEARCH, headers=asked).headers
    client = serve(built, allow_origins=("https://app.example",))
    assert client.options(SEARCH, headers=asked).headers["access-control-allow-origin"] == "https://app.example"
    other = client.options(SEARCH, headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "path", ["/v1/indexes/../../etc/passwd", "/%2e%2e/app.py", "/v1/indexes/%00", "/%ff%fe", "/main.js/"]
)
def test_paths_that_lead_nowhere(shared: TestClient, path: str) -> None:
    refused = shared.get(path)
    assert (refused.status_code, refused.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", SEARCH, "POST"), ("HEAD", "/v1/indexes", "GET"), ("PUT", "/v1/embeddings", "POST")],
)
def test_another_method_is_told_which_one_a_path_takes(
    shared: TestClient, method: str, path: str, allowed: str
) -> None:
    refused = shared.request(method, path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert refused.json()["error"]["hint"] == f"Use {allowed}."


def test_a_load_balancer_may_ask_for_the_head_alone(shared: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert shared.head(path).status_code == 200


def test_headers_keep_browsers_safe(shared: TestClient) -> None:
    for path in ("/", "/v1/indexes", "/nothing"):
        headers = shared.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
    for path in ("/docs", "/redoc"):
        assert shared.get(path).status_code == 404


def test_no_request_that_the_description_allows_fails(shared: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(shared.get("/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 12
    for operation in operations:
        _ask_as_described(operation, shared)


@schemathesis.serializer("application/x-ndjson")
def _lines(_: Any, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


def _ask_as_described(operation: Any, client: TestClient) -> None:
    @settings(
        max_examples=3,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        asked = case.as_transport_kwargs(base_url=URL)
        asked.pop("cookies", None)
        answer = client.request(**asked)
        assert answer.status_code < 500, answer.text
        assert str(answer.status_code) in operation.definition.raw["responses"], (answer.status_code, answer.text)

    ask()
