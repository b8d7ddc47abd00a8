"""Judgements over HTTP, and the file that keeps them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from debater_search.data.judgements import judged_queries
from debater_search.errors import InvalidError
from debater_search.serving.judgements import JudgementLog
from debater_search.serving.keys import add_key
from tests.serving.conftest import Serve

JUDGE = "/v1/indexes/papers/judgements"
YES = {"query": "unique7", "id": "d7", "relevant": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "judgements.jsonl"


@pytest.fixture
def client(serve: Serve, built: Path, path: Path) -> TestClient:
    return serve(built, judgements=path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def relevance(client: TestClient, query: str = "unique7", **more: Any) -> Any:
    body = {"query": query, "mode": "lexical"}
    return client.post("/v1/indexes/papers/search", json=body, **more).json()["hits"][0].get("relevant", "not said")


def test_the_last_judgement_is_said_of_a_hit_and_none_is_lost(client: TestClient, path: Path) -> None:
    assert relevance(client) is None
    for relevant in (True, False, None, True):
        answer = client.post(JUDGE, json=YES | {"relevant": relevant})
        assert answer.status_code == 200, answer.text
        assert relevance(client) is relevant
        assert answer.json() == lines(path)[-1]
    assert [line["relevant"] for line in lines(path)] == [True, False, None, True]
    assert lines(path)[0].keys() == {"time", "index", "query", "id", "relevant", "key"}
    assert relevance(client, "  unique7 ") is True  # the same query
    assert relevance(client, "unique7 wing") is None
    assert judged_queries(path, "papers")[0].documents == {"d7": True}


def test_the_guide_shows_a_line_as_it_is_written(client: TestClient, path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "site" / "guides" / "judgements.md"
    shown = guide.read_text(encoding="utf-8").partition("```json\n")[2].partition("\n")[0]
    client.post(JUDGE, json=YES)
    own = {name: json.loads(shown)[name] for name in ("time", "query", "id")}
    assert shown == json.dumps(lines(path)[0] | own)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (YES | {"id": "nothing"}, 404),
        (YES | {"query": " "}, 400),
        (YES | {"query": "x" * 10_001}, 400),
        (YES | {"relevant": 1}, 400),
        (YES | {"relevant": "true"}, 400),
        ({"query": "unique7", "id": "d7"}, 400),
        (YES | {"index": "papers"}, 400),
        (YES | {"id": "d7\x00"}, 400),
        (YES | {"query": "\ud800"}, 400),
    ],
)
def test_what_is_no_judgement_is_refused(client: TestClient, path: Path, body: dict[str, Any], status: int) -> None:
    answer = client.post(JUDGE, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert path.read_bytes() == b""


def test_judging_needs_its_scope(serve: Serve, built: Path, path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    reader, judge = (
        {"Authorization": f"Bearer {add_key(keys, name, scopes=scopes)}"}
        for name, scopes in (("reader", ["search"]), ("kim", ["search", "judge"]))
    )
    client = serve(built, judgements=path, keys=keys)
    assert client.post(JUDGE, json=YES, headers=reader).json()["error"]["code"] == "missing_scope"
    assert client.post(JUDGE, json=YES, headers=judge).json()["key"] == "kim"
    assert (relevance(client, headers=reader), relevance(client, headers=judge)) == ("not said", True)
    facts = [client.get("/v1/indexes/papers", headers=headers).json()["judgements"] for headers in (reader, judge)]
    assert facts == [False, True]


def test_without_a_file_there_are_no_judgements(serve: Serve, built: Path) -> None:
    client = serve(built)
    assert client.post(JUDGE, json=YES).status_code in (404, 405)
    assert client.get("/v1/indexes/papers").json()["judgements"] is False
    assert relevance(client) == "not said"


def test_servers_share_a_file(path: Path) -> None:
    one, other = JudgementLog(path), JudgementLog(path)
    one.add("papers", "a wing", "d1", True, None)
    other.add("papers", "a wing", "d2", False, "kim")
    assert one.said("papers", "a wing") == other.said("papers", "a wing") == {"d1": True, "d2": False}
    assert one.said("laws", "a wing") == {}


@pytest.mark.parametrize(
    ("end", "kept"),
    [('{"time": "20', 1), (json.dumps({"index": "papers", "query": "q", "id": "d2", "relevant": True}), 2)],
)
def test_half_a_line_goes_and_a_whole_one_stays(path: Path, end: str, kept: int) -> None:
    JudgementLog(path).add("papers", "é " * 50_000, "d1", True, None)  # longer than what is looked at at once
    with path.open("a", encoding="utf-8") as file:
        file.write(end)
    JudgementLog(path).add("papers", "q", "d3\n\u2028", True, None)
    assert len(path.read_bytes().split(b"\n")) == kept + 2
    assert JudgementLog(path).said("papers", "q") == ({"d2": True} if kept == 2 else {}) | {"d3\n\u2028": True}


def test_a_full_disk_leaves_the_file_as_it_was(
    client: TestClient, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client.post(JUDGE, json=YES)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = client.post(JUDGE, json=YES | {"relevant": False})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert "No space left" in caplog.text
    assert path.read_bytes() == before
    assert relevance(client) is True


def test_a_bad_line_stops_the_server_before_it_listens(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(
        json.dumps({"index": "papers", **YES}) + "\nrubbish\n" + json.dumps({"index": "papers", **YES}) + "\n"
    )
    with pytest.raises(InvalidError, match=r"judgements\.jsonl, line 2: this is not JSON"):
        JudgementLog(path)
    with pytest.raises(InvalidError, match="not a regular file"):
        JudgementLog(path.parent)


def test_a_line_that_goes_bad_later_ends_no_search(client: TestClient, path: Path) -> None:
    client.post(JUDGE, json=YES)
    with path.open("a") as file:
        file.write("rubbish\n")
    assert relevance(client) is True
    path.write_text("")  # somebody started it anew
    assert relevance(client) is None
    path.unlink()
    assert relevance(client) is None
    assert client.post(JUDGE, json=YES).status_code == 200
    assert relevance(client) is True
