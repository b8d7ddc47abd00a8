"""Bodies of requests that are refused: each error names the field and what it must be, in our words."""

from typing import Any

import pytest
from starlette.testclient import TestClient

SEARCH = "/v1/indexes/papers/search"


@pytest.mark.parametrize(
    ("body", "code", "message", "hint"),
    [
        ({"query": "wing", "k": "ten"}, "invalid_parameter", "k must be a whole number.", "openapi"),
        ({"query": "wing", "k": 0}, "invalid_parameter", "k must be at least 1.", "openapi"),
        ({"query": "wing", "k": 100_000}, "invalid_parameter", "k must be at most 10,000.", "openapi"),
        ({"query": 5}, "invalid_parameter", "query must be text.", "openapi"),
        (
            {"query": "w", "mode": "dens"},
            "invalid_parameter",
            "mode must be 'dense', 'lexical' or 'hybrid'.",
            "openapi",
        ),
        ({"query": "w", "facets": "year"}, "invalid_parameter", "facets must be a list.", "openapi"),
        ({"query": "w", "facets": [""]}, "invalid_parameter", "facets.0 must be text of at least 1 character.", "open"),
        ({"query": "w", "weights": [1]}, "invalid_parameter", "weights must be a list of at least 2 items.", "openapi"),
        ({"query": "w", "explain": "yes"}, "invalid_parameter", "explain must be true or false.", "openapi"),
        ({"quary": "w"}, "unknown_parameter", "quary is unknown.", "Did you mean query?"),
        ({"query": "w", "top_k": 3}, "unknown_parameter", "top_k is unknown.", "Did you mean k?"),
        ({"query": "w", "colour": 1}, "unknown_parameter", "colour is unknown.", "openapi"),
        ({}, "invalid_request", "There is neither query nor like.", "Send one of the two."),
        ({"query": "a", "like": "d1"}, "invalid_request", "query and like exclude each other.", "Send one of the two."),
        ([1], "invalid_parameter", "The body must be a mapping of names to values.", "openapi"),
    ],
)
def test_a_body_that_is_refused_says_what_it_must_be(
    client: TestClient, body: Any, code: str, message: str, hint: str
) -> None:
    answer = client.post(SEARCH, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (400, code, message)
    assert hint in error["hint"]


def test_a_field_that_is_missing_is_named(client: TestClient) -> None:
    error = client.post("/v1/embeddings", json={"model": "fake"}).json()["error"]
    assert error["message"] == "input is missing."


def test_a_body_that_is_not_json_is_said(client: TestClient) -> None:
    error = client.post(SEARCH, content=b'{"query": ', headers={"Content-Type": "application/json"}).json()["error"]
    assert error["message"] == "The body is not JSON."
