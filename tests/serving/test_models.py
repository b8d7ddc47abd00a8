"""Embeddings and reranking over HTTP."""

import base64
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from starlette.testclient import TestClient

from debater_search.errors import UnavailableError
from debater_search.identity import EncoderInfo
from debater_search.indexing import build
from tests.fakes import FakeEncoder, tiny_corpus
from tests.serving.conftest import Serve, wait_until

EMBEDDINGS = "/v1/embeddings"


class FakeReranker:
    """Scores texts by the words that they share with the query."""

    name, fingerprint = "models/fake-reranker", "f" * 64

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        words = set(query.split())
        return np.array([len(words & set(text.split())) for text in texts], np.float32)


def test_embeddings_have_openais_shape(client: TestClient) -> None:
    texts = [f"text number {n}" for n in range(70)]  # more than a piece
    body = client.post(EMBEDDINGS, json={"model": "fake", "input": texts}).json()
    assert (body["object"], body["model"], body["truncated"]) == ("list", "fake", False)
    assert [item["index"] for item in body["data"]] == list(range(70))
    vectors = np.array([item["embedding"] for item in body["data"]], np.float32)
    np.testing.assert_array_equal(vectors, FakeEncoder().encode_documents(texts))
    assert body["usage"] == {"prompt_tokens": 70 * 5, "total_tokens": 70 * 5}


def test_queries_and_base64(client: TestClient) -> None:
    expected = FakeEncoder().encode_queries(["wing"])[0]
    for request in ({"model": "fake", "input_type": "query"}, {"model": "fake-query"}):
        asked = {**request, "input": "wing", "encoding_format": "base64", "dimensions": 64}
        body = client.post(EMBEDDINGS, json=asked).json()
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4"), expected)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"input": [1, 2, 3]}, 400, "token_input"),
        ({"input": [[1, 2], [3]]}, 400, "token_input"),
        ({"input": []}, 400, "invalid_input"),
        ({"input": ["a", None]}, 400, "invalid_input"),
        ({"input": {"a": 1}}, 400, "invalid_input"),
        ({"input": ["a"] * 2049}, 400, "too_many_inputs"),
        ({"input": "a", "dimensions": 32}, 400, "wrong_dimensions"),
        ({"input": "a", "model": "other"}, 404, "unknown_model"),
        ({"input": "a", "model": "fake-query", "input_type": "document"}, 400, "invalid_input_type"),
        ({"input": "a", "encoding_format": "hex"}, 400, "invalid_parameter"),
        ({"input": "a", "color": "red"}, 400, "unknown_parameter"),
    ],
)
def test_embeddings_that_cannot_be_made_are_refused(
    client: TestClient, request_: dict[str, object], status: int, code: str
) -> None:
    refused = client.post(EMBEDDINGS, json={"model": "fake", **request_})
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text


def test_an_index_that_cannot_be_opened_is_in_nobodys_way(serve: Serve, built: Path, tmp_path: Path) -> None:
    go = Event()

    def load(info: EncoderInfo, folder: Path, device: str) -> FakeEncoder:
        if folder.name == "other":
            go.wait(10)
            raise UnavailableError("The model is gone.")
        return FakeEncoder(info.name, info.dim)

    other = tmp_path / "other"
    build(tiny_corpus(3), FakeEncoder("another", dim=32), other)
    client = serve(built, other, ready=False, load_encoder=load)
    service = client.app.state.service  # type: ignore[attr-defined]
    wait_until(lambda: service.indexes["papers"].is_open)
    assert client.post(EMBEDDINGS, json={"model": "fake", "input": "a"}).status_code == 200
    early = client.post(EMBEDDINGS, json={"model": "another", "input": "a"})
    assert (early.status_code, early.headers["retry-after"]) == (503, "2")
    go.set()
    wait_until(lambda: service.indexes["other"].failure is not None)
    assert client.post(EMBEDDINGS, json={"model": "fake", "input": "a"}).status_code == 200
    assert client.post(EMBEDDINGS, json={"model": "another", "input": "a"}).status_code == 404


def test_token_arrays_are_answered_with_what_helps(client: TestClient) -> None:
    refused = client.post(EMBEDDINGS, json={"model": "fake", "input": [[1, 2]]})
    assert "check_embedding_ctx_length" in refused.json()["error"]["hint"]


def test_long_texts_are_cut_and_it_is_said(client: TestClient) -> None:
    assert client.post(EMBEDDINGS, json={"model": "fake", "input": "word " * 100}).json()["truncated"] is True
    assert client.post(EMBEDDINGS, json={"model": "fake", "input": "x" * 200_000}).json()["truncated"] is True


def test_reranking_has_coheres_shape(serve: Serve, built: Path) -> None:
    client = serve(built, rerank="fake", load_reranker=lambda model, device: FakeReranker())
    documents = ["no", "a wing", "a wing of an aircraft", "wing"]
    request = {"query": "wing aircraft", "documents": documents, "top_n": 2, "return_documents": True}
    body = client.post("/v1/rerank", json=request).json()
    assert body["model"] == "models/fake-reranker"
    assert body["results"] == [
        {"index": 2, "relevance_score": 2.0, "document": {"text": documents[2]}},
        {"index": 1, "relevance_score": 1.0, "document": {"text": documents[1]}},
    ]
    assert client.post("/v1/rerank", json={**request, "model": "another"}).status_code == 404
    assert client.post("/v1/rerank", json={**request, "documents": []}).status_code == 400


def test_searches_do_not_wait_for_the_reranker_and_one_that_cannot_be_loaded_is_told(
    serve: Serve, built: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go = Event()

    def load(model: str, device: str) -> FakeReranker:
        go.wait(10)
        raise RuntimeError("no such thing as /home/secret")

    client = serve(built, ready=False, rerank="fake", load_reranker=load)
    wait_until(lambda: "reranker" in client.get("/readyz").json()["reason"])
    assert client.post("/v1/indexes/papers/search", json={"query": "wing"}).status_code == 200
    early = client.post("/v1/rerank", json={"query": "a", "documents": ["b"]})
    assert (early.status_code, early.headers["retry-after"]) == (503, "2")
    go.set()
    wait_until(lambda: client.get("/readyz").json()["reason"] == "The reranker could not be loaded.")
    failed = client.post("/v1/rerank", json={"query": "a", "documents": ["b"]})
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "unavailable")
    assert "retry-after" not in failed.headers
    assert "secret" in caplog.text
    assert "secret" not in failed.text


def test_a_server_without_a_reranker_says_so(client: TestClient) -> None:
    refused = client.post("/v1/rerank", json={"query": "a", "documents": ["b"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_reranker")
    refused = client.post("/v1/indexes/papers/search", json={"query": "a", "rerank": 5})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_reranker")
