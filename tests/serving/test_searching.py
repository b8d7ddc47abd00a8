from starlette.testclient import TestClient


def test_a_search_answers_with_hits_marks_and_times(client: TestClient) -> None:
    answer = client.post("/v1/indexes/papers/search", json={"query": "unique7", "k": 2, "mode": "lexical"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    first = body["hits"][0]
    assert (body["index"], body["generation"], len(body["hits"])) == ("papers", 0, 1)
    assert (first["rank"], first["id"], first["metadata"]) == (1, "d7", {"year": 7})
    start, stop = first["marks"]["snippet"][-1]
    assert first["snippet"][start:stop] == "unique7"
    assert set(body["ms"]) == {"queue", "encode", "retrieve", "rerank", "fetch"}


def test_dense_and_hybrid_search_use_the_model_of_the_index(client: TestClient) -> None:
    for mode in ("dense", "hybrid"):
        request = {"query": "aircraft", "k": 3, "mode": mode, "facets": ["year"], "explain": True, "where": "year < 9"}
        body = client.post("/v1/indexes/papers/search", json=request).json()
        assert len(body["hits"]) == 3
        assert body["facets"]["year"]["of"] == body["facets"]["year"]["documents"] == 9
        assert body["hits"][0]["explanation"]["dense"]["rank"] == 1
        assert len(body["hits"][0]["explanation"]["steps"]) == 3


def test_facets_over_http_are_values_or_ranges_of_numbers(client: TestClient) -> None:
    counted = [
        client.post("/v1/indexes/papers/search", json={"query": "wing", "facets": ["year"], "where": where}).json()
        for where in ("year < 3", "year >= 0")
    ]
    few, many = (answer["facets"]["year"] for answer in counted)
    assert few == {"of": 3, "documents": 3, "values": [[0, 1], [1, 1], [2, 1]], "ranges": []}
    assert many == {
        "of": 25, "documents": 25, "values": [],
        "ranges": [[0, 5, 5], [5, 10, 5], [10, 15, 5], [15, 20, 5], [20, 25, 5]],
    }  # fmt: skip


def test_errors_have_one_shape(client: TestClient) -> None:
    missing = client.post("/v1/indexes/papers/search", json={"query": "x", "where": "yeer > 1"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, "unknown_field")
    assert missing.json()["error"]["request_id"] == missing.headers["x-request-id"]
    like = client.post("/v1/indexes/papers/search", json={"like": "none"})
    assert (like.status_code, like.json()["error"]["code"]) == (404, "unknown_document")
    facet = client.post("/v1/indexes/papers/search", json={"like": "d3", "facets": ["yeer"]})
    assert (facet.status_code, facet.json()["error"]["code"]) == (400, "unknown_field")
    assert client.get("/v1/indexes/none").status_code == 404
    assert client.get("/v1/indexes/papers/documents/none").json()["error"]["code"] == "unknown_document"
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"


def test_indexes_facts_documents_health_metrics_and_page(client: TestClient) -> None:
    assert client.get("/v1/indexes").json()["indexes"][0]["name"] == "papers"
    facts = client.get("/v1/indexes/papers").json()
    assert facts["fields"][0] == {"name": "year", "type": "number", "documents": 25, "min": 0, "max": 24}
    document = client.get("/v1/indexes/papers/documents/d3", params={"offset": 4, "characters": 4}).json()
    assert (document["title"], document["text"], document["total_characters"]) == ("Title 3", "wing", 59)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert "debater_requests_total" in client.get("/metrics").text
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")


def test_documents_are_listed_without_a_query(client: TestClient) -> None:
    url = "/v1/indexes/papers/documents"
    body = client.get(url, params={"where": "year >= 3", "k": 2, "offset": 1}).json()
    assert (body["index"], body["generation"], body["total"], body["notes"]) == ("papers", 0, 22, [])
    assert [document["id"] for document in body["documents"]] == ["d4", "d5"]
    hits = client.post("/v1/indexes/papers/search", json={"query": "unique4", "mode": "lexical"}).json()["hits"]
    assert body["documents"][0] == {name: hits[0][name] for name in ("id", "title", "snippet", "metadata")}
    assert client.get(url).json()["total"] == 25
    wrong = client.get(url, params={"where": "yeer = 1"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "unknown_field")
    for refused in ({"where": "year >"}, {"k": 0}):
        assert client.get(url, params=refused).status_code == 400
