import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from debater_search.errors import DamagedError, InvalidError, MissingError
from debater_search.serving import Settings
from debater_search.serving.keys import SCOPES, KeyFile, add_key, expiry, list_keys, revoke_key
from tests.serving.conftest import Serve

SEARCH, DOCUMENTS = "/v1/indexes/papers/search", "/v1/indexes/papers/documents"
QUERY = {"query": "wing", "mode": "lexical"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_key_is_shown_once_and_its_file_is_its_owners(keys: Path) -> None:
    token = add_key(keys, "page")
    assert keys.stat().st_mode & 0o777 == 0o600
    assert token not in keys.read_text()
    caller = KeyFile(keys).find(token)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("page", {"search", "document"})
    assert KeyFile(keys).find(token[:-1]) is None


def test_names_scopes_and_periods_are_checked(keys: Path) -> None:
    add_key(keys, "page")
    for name, scopes in (("page", ["search"]), ("a b", ["search"]), ("other", ["everything"])):
        with pytest.raises(InvalidError):
            add_key(keys, name, scopes=scopes)
    with pytest.raises(InvalidError):
        expiry("soon")
    assert timedelta(days=89) < expiry("90d") - datetime.now(UTC) <= timedelta(days=90)
    with pytest.raises(MissingError):
        revoke_key(keys, "nobody")


def test_a_file_that_others_may_read_or_that_is_damaged_is_refused(keys: Path) -> None:
    add_key(keys, "page")
    keys.chmod(0o644)
    with pytest.raises(InvalidError, match="Other users"):
        list_keys(keys)
    keys.chmod(0o600)
    keys.write_text("{}}")
    with pytest.raises(DamagedError):
        KeyFile(keys)


def test_the_file_is_read_again_when_it_changes_and_nobody_gets_in_while_it_is_broken(keys: Path) -> None:
    first = add_key(keys, "first")
    file = KeyFile(keys)
    second = add_key(keys, "second")
    assert file.find(second)
    revoke_key(keys, "first")
    assert file.find(first) is None
    good = keys.read_text()
    keys.write_text("broken")
    assert file.find(second) is None
    keys.write_text(good)
    assert file.find(second)
    os.remove(keys)
    assert file.find(second) is None


def test_requests_need_a_key_that_is_known_and_not_expired(serve: Serve, built: Path, keys: Path) -> None:
    good = add_key(keys, "good")
    old = add_key(keys, "old", expires=datetime.now(UTC) - timedelta(seconds=1))
    client = serve(built, keys=keys)
    assert client.get("/healthz").status_code == client.get("/openapi.json").status_code == 200
    assert client.post(SEARCH, json=QUERY, headers=bearer(good)).status_code == 200
    for headers in ({}, bearer("no"), bearer(old), {"Authorization": f"Basic {good}"}):
        refused = client.post(SEARCH, json=QUERY, headers=headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/metrics").status_code == 401
    revoke_key(keys, "good")
    assert client.post(SEARCH, json=QUERY, headers=bearer(good)).status_code == 401


def test_a_scope_allows_its_routes_and_no_others(serve: Serve, built: Path, keys: Path) -> None:
    tokens = {scope: add_key(keys, scope, scopes=[scope]) for scope in SCOPES}
    client = serve(built, keys=keys)
    routes = {
        "search": ("POST", SEARCH, QUERY),
        "document": ("GET", "/v1/indexes/papers/documents/d1", None),
        "embed": ("POST", "/v1/embeddings", {"model": "fake", "input": "wing"}),
        "metrics": ("GET", "/metrics", None),
    }
    for needed, (method, path, body) in routes.items():
        for scope, token in tokens.items():
            answer = client.request(method, path, json=body, headers=bearer(token))
            assert answer.status_code == (200 if scope == needed else 403), (needed, scope, answer.text)
    assert client.delete("/v1/indexes/papers/documents/d1", headers=bearer(tokens["search"])).status_code == 403


def test_an_index_that_a_key_may_not_see_is_not_there(serve: Serve, built: Path, keys: Path) -> None:
    token = add_key(keys, "other", scopes=SCOPES, indexes=["other*"])
    client = serve(built, keys=keys)
    assert client.get("/v1/indexes", headers=bearer(token)).json() == {"indexes": []}
    for method, path in (
        ("POST", SEARCH),
        ("GET", "/v1/indexes/papers"),
        ("DELETE", "/v1/indexes/papers/documents/d1"),
    ):
        hidden = client.request(method, path, json=QUERY if method == "POST" else None, headers=bearer(token))
        assert (hidden.status_code, hidden.json()["error"]["code"]) == (404, "unknown_index")
    embedding = client.post("/v1/embeddings", json={"model": "fake", "input": "x"}, headers=bearer(token))
    assert embedding.json()["error"]["code"] == "unknown_model"


def test_nobody_writes_without_a_key(client: TestClient) -> None:
    refused = client.delete("/v1/indexes/papers/documents/d1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")


def test_other_machines_are_served_with_keys_only() -> None:
    with pytest.raises(InvalidError, match="Without keys"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", no_keys=True).no_keys
    assert Settings(host="::1").host == "::1"


def test_each_key_has_its_own_rate(serve: Serve, built: Path, keys: Path) -> None:
    one, two = add_key(keys, "one"), add_key(keys, "two")
    client = serve(built, keys=keys, rate=0.5)
    assert client.post(SEARCH, json=QUERY, headers=bearer(one)).status_code == 200
    refused = client.post(SEARCH, json=QUERY, headers=bearer(one))
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert client.post(SEARCH, json=QUERY, headers=bearer(two)).status_code == 200


def test_the_keys_file_says_what_its_description_says(keys: Path) -> None:
    add_key(keys, "page", expires=expiry("1h"))
    (key,) = json.loads(keys.read_text())["keys"]
    assert list(key) == ["name", "sha256", "scopes", "indexes", "created", "expires"]
