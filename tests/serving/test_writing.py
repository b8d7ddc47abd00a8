"""Documents that are written, replaced and deleted over HTTP; and changes that others make."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from starlette.testclient import TestClient

from debater_search.indexing import add, build
from debater_search.locks import writing
from debater_search.serving.keys import SCOPES, add_key
from tests.fakes import FakeEncoder, tiny_corpus
from tests.serving.conftest import Serve, wait_until

DOCUMENTS, SEARCH = "/v1/indexes/papers/documents", "/v1/indexes/papers/search"
LINES = {"Content-Type": "application/x-ndjson"}
NEW = {"id": "new", "title": "A glider", "text": "It soars zephyr high.", "year": 2024}


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy of the index, to be changed."""
    return Path(copytree(built, tmp_path / "papers"))


Write = Callable[..., TestClient]


@pytest.fixture
def writable(serve: Serve, own: Path, tmp_path: Path) -> TestClient:
    token = add_key(tmp_path / "keys.json", "all", scopes=SCOPES)
    client = serve(own, keys=tmp_path / "keys.json")
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def lines(*documents: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(document).encode() for document in documents) + b"\n"


def found(client: TestClient, query: str, mode: str = "lexical") -> list[str]:
    answer = client.post(SEARCH, json={"query": query, "mode": mode, "k": 5})
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_a_written_document_is_found_at_once_by_words_and_by_vectors(writable: TestClient) -> None:
    done = writable.put(DOCUMENTS, content=lines(NEW, {**NEW, "id": "d1"}), headers=LINES)
    assert done.status_code == 200, done.text
    assert done.json() == {
        "index": "papers", "generation": 1, "documents": 26, "added": 1, "updated": 1, "deleted": 0, "unchanged": 0,
        "encoded": 2, "warnings": [],
    }  # fmt: skip
    assert sorted(found(writable, "zephyr")) == ["d1", "new"]
    assert set(found(writable, "A glider It soars zephyr high.", "dense")[:2]) == {"d1", "new"}
    assert writable.get(f"{DOCUMENTS}/new").json()["metadata"] == {"year": 2024}
    assert writable.get("/v1/indexes/papers").json()["documents"] == 26
    again = writable.put(DOCUMENTS, content=lines(NEW), headers=LINES).json()
    assert (again["unchanged"], again["generation"]) == (1, 1)


def test_a_deleted_document_is_gone(writable: TestClient) -> None:
    assert writable.delete(f"{DOCUMENTS}/d7").json()["deleted"] == 1
    assert writable.get(f"{DOCUMENTS}/d7").status_code == 404
    assert found(writable, "unique7") == []
    again = writable.delete(f"{DOCUMENTS}/d7")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "unknown_document")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no document"),
        (b"\n \n", "no document"),
        (b'{"id": "1", "text": "a"}\nnot json', "Line 2: The body is not JSON."),
        (b'[{"id": "1"}]', "Line 1 is no JSON object."),
        (b'{"text": "a"}', "Line 1"),
        (b'{"id": "1"}', "Line 1"),
        (b'{"id": "a\\u0007b", "text": "x"}', "Line 1"),
        (b'{"id": "1", "text": "a\\ud800"}', "Line 1"),
        (b'{"id": "1", "text": "a\\u0000"}', "Line 1"),
        (b'{"id": "1", "text": "a\xff"}', "Line 1"),
        (b'{"id": "1", "text": "a", "m": ' + b"[" * 9 + b"]" * 9 + b"}", "Line 1"),
        (lines(NEW, NEW), "new"),
    ],
)
def test_a_body_with_a_bad_line_changes_nothing(writable: TestClient, body: bytes, message: str) -> None:
    refused = writable.put(DOCUMENTS, content=body, headers=LINES)
    assert refused.status_code == 400, refused.text
    assert message in refused.json()["error"]["message"]
    assert writable.get("/v1/indexes").json()["indexes"][0]["generation"] == 0


@pytest.mark.parametrize(("sent", "added"), [([NEW, {**NEW, "id": "b"}], 2), ([NEW], 1), (NEW, 1)])
def test_documents_may_come_as_one_json_document(writable: TestClient, sent: Any, added: int) -> None:
    done = writable.put(DOCUMENTS, json=sent)
    assert (done.status_code, done.json()["added"], done.json()["encoded"]) == (200, added, added), done.text
    assert "new" in found(writable, "zephyr")
    assert writable.get(f"{DOCUMENTS}/new").json()["metadata"] == {"year": 2024}


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (b"", "The body holds no document.", "Send one JSON object per document."),
        (b"[]", "The body holds no document.", "Send one JSON object per document."),
        (lines(NEW, NEW), "The body is not JSON.", "Send an array of objects, or JSON lines as application/x-ndjson."),
        (b'[{"id": "1", "text": "a"}, 7]', "Document 2 is no JSON object.", "Send documents such as"),
        (b'[{"id": "1", "text": "a"}, {"id": "2"}]', "Document 2: there is no text.", "Every row needs"),
        (b'"text"', "Document 1 is no JSON object.", "Send documents such as"),
        (b'[{"id": "1", "text": "a", "m": ' + b"[" * 8 + b"]" * 8 + b"}]", "The body is nested more than 9", "flatter"),
        (b'{"id": "1", "text": "a\\ud800"}', "A string holds a NUL", "Send Unicode text."),
    ],
)
def test_a_json_document_with_a_bad_part_changes_nothing(
    writable: TestClient, body: bytes, message: str, hint: str
) -> None:
    refused = writable.put(DOCUMENTS, content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 400, refused.text
    assert message in refused.json()["error"]["message"]
    assert hint in refused.json()["error"]["hint"]
    assert writable.get("/v1/indexes").json()["indexes"][0]["generation"] == 0


def test_other_content_types_are_not_read_as_documents(writable: TestClient) -> None:
    refused = writable.put(DOCUMENTS, content=lines(NEW), headers={"Content-Type": "text/csv"})
    assert refused.status_code == 415
    assert refused.json()["error"]["hint"] == "Send application/json or application/x-ndjson or application/jsonl."


def test_rows_are_read_by_the_columns_of_the_index(serve: Serve, tmp_path: Path) -> None:
    rows = [{"sku": n, "name": f"N{n}", "description": "A tent.", "tags": "light|dry"} for n in (1, 2)]
    build(rows, FakeEncoder(), tmp_path / "shop", columns={"id": "sku", "text": "description", "list": "tags"})
    token = add_key(tmp_path / "keys.json", "all", scopes=SCOPES)
    client = serve(tmp_path / "shop", keys=tmp_path / "keys.json")
    client.headers["Authorization"] = f"Bearer {token}"
    new = [{"sku": 3, "name": "Nest", "description": "Warm.", "tags": "warm;red"}, {"sku": 4, "description": "Wet."}]
    assert client.put("/v1/indexes/shop/documents", json=new).json()["added"] == 2
    read = client.get("/v1/indexes/shop/documents/3").json()
    assert (read["title"], read["text"], read["metadata"]) == ("Nest", "Warm.", {"tags": ["warm", "red"]})
    body = {"query": "tent", "mode": "lexical", "where": "tags has 'dry'", "facets": ["tags"]}
    answer = client.post("/v1/indexes/shop/search", json=body).json()
    assert [hit["metadata"]["tags"] for hit in answer["hits"]] == [["light", "dry"]] * 2
    assert answer["facets"]["tags"]["values"] == [["dry", 2], ["light", 2]]
    lacking = client.put("/v1/indexes/shop/documents", json=[{"sku": 6, "name": "Nest"}]).json()["error"]
    assert lacking["message"] == "Document 1: there is no text among sku, name."
    assert lacking["hint"] == (
        "The index was built with the columns id=sku, title=name, text=description, list=tags; or send id and text."
    )
    plain = client.put("/v1/indexes/shop/documents", json={"id": "5", "text": "Plain.", "tags": "a;b"}).json()
    assert plain["added"] == 1
    assert client.get("/v1/indexes/shop/documents/5").json()["metadata"] == {"tags": ["a", "b"]}


def test_odd_values_are_told_in_the_answer(writable: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    years = writable.get("/v1/indexes/papers").json()["documents"]
    odd = {"id": "N7", "text": "Odd.", "year": "soon"}
    told = writable.put(DOCUMENTS, json=odd).json()["warnings"]
    assert told == [f"year: {years} of {years + 1} values are numbers; N7 has 'soon'."]
    assert writable.put(DOCUMENTS, json=NEW).json()["warnings"] == []  # an earlier document is told once
    assert writable.delete(f"{DOCUMENTS}/new").json()["warnings"] == []
    monkeypatch.setattr("debater_search.indexing.change.MOST_COUNTED", 10)
    assert writable.put(DOCUMENTS, json={**odd, "id": "N8"}).json()["warnings"] == []


def test_deleting_without_an_id_is_refused_with_the_path_to_use(writable: TestClient) -> None:
    refused = writable.delete(DOCUMENTS)
    assert (refused.status_code, refused.headers["allow"]) == (405, "PUT")
    assert "Use DELETE /v1/indexes/{index}/documents/{id}" in refused.json()["error"]["hint"]
    other = writable.post(DOCUMENTS)
    assert (other.status_code, other.json()["error"]["code"]) == (405, "method_not_allowed")


def test_the_last_document_stays(serve: Serve, tmp_path: Path) -> None:
    build(tiny_corpus(1), FakeEncoder(), tmp_path / "one")
    token = add_key(tmp_path / "keys.json", "all", scopes=["write"])
    client = serve(tmp_path / "one", keys=tmp_path / "keys.json")
    refused = client.delete("/v1/indexes/one/documents/d0", headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")


def test_another_writer_is_waited_for_by_the_client(writable: TestClient, own: Path) -> None:
    with writing(own):
        refused = writable.put(DOCUMENTS, content=lines(NEW), headers=LINES)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
    assert int(refused.headers["retry-after"]) > 0
    assert writable.put(DOCUMENTS, content=lines(NEW), headers=LINES).status_code == 200


def test_changes_at_the_same_time_are_all_made(writable: TestClient) -> None:
    statuses = []

    def put(number: int) -> None:
        body = lines({**NEW, "id": f"new{number}"})
        statuses.append(writable.put(DOCUMENTS, content=body, headers=LINES).status_code)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert writable.get("/v1/indexes").json()["indexes"][0]["documents"] == 29


def test_what_others_add_is_found_soon(writable: TestClient, own: Path) -> None:
    wait_until(lambda: writable.get("/readyz").status_code == 200)  # what is opened after the change is no reload
    add(own, [{**NEW, "id": "outside"}], encoder=FakeEncoder())  # type: ignore[list-item]
    wait_until(lambda: found(writable, "zephyr") == ["outside"])
    # Counted once the new state is in service, which a search may see before.
    wait_until(lambda: 'debater_reloads_total{index="papers"} 1.0' in writable.get("/metrics").text, seconds=10)
    assert 'debater_index_generation{index="papers"} 1.0' in writable.get("/metrics").text


def test_a_state_that_a_search_opened_is_reported_too(serve: Serve, own: Path) -> None:
    client = serve(own, watch_seconds=1000.0)
    service = client.app.state.service  # type: ignore[attr-defined]
    add(own, [{**NEW, "id": "outside"}], encoder=FakeEncoder())  # type: ignore[list-item]
    service.indexes["papers"].engine.refresh()  # as a search does whose state is gone
    service.renew(service.indexes["papers"])
    text = client.get("/metrics").text
    assert 'debater_reloads_total{index="papers"} 1.0' in text
    assert 'debater_index_generation{index="papers"} 1.0' in text


def test_an_index_made_again_by_another_model_is_served_by_that_model(writable: TestClient, own: Path) -> None:
    assert writable.get("/v1/indexes/papers").json()["documents"] == 25
    build(tiny_corpus(3), FakeEncoder("another", dim=32), own, force=True)
    wait_until(lambda: writable.get("/v1/indexes").json()["indexes"][0]["dim"] == 32)
    assert len(found(writable, "wing", "dense")) == 3
    facts = writable.get("/v1/indexes/papers").json()
    assert (facts["documents"], facts["model"], facts["dim"]) == (3, "another", 32)


def test_a_damaged_change_leaves_the_state_before_it_in_service(writable: TestClient, own: Path) -> None:
    manifest = (own / "manifest.json").read_text()
    (own / "manifest.json").write_text("{")
    wait_until(lambda: writable.app.state.service.indexes["papers"].failure is not None)  # type: ignore[attr-defined]
    assert found(writable, "unique7") == ["d7"]
    (own / "manifest.json").write_text(manifest)
    wait_until(lambda: writable.app.state.service.indexes["papers"].failure is None)  # type: ignore[attr-defined]
