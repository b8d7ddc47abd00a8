"""Requests at once, requests that take too long, clients that leave."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from debater_search.serving.errors import ApiError
from debater_search.serving.limits import Admission, Limits, Rates
from debater_search.serving.settings import Settings
from tests.fakes import FakeEncoder
from tests.serving.conftest import Serve, wait_until

SEARCH = "/v1/indexes/papers/search"


class Held(FakeEncoder):
    """Encodes queries once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.batches: list[int] = []

    def encode_queries(self, texts: Sequence[str], **options: object) -> np.ndarray:
        self.go.wait(10)
        self.batches.append(len(texts))
        return super().encode_queries(texts)


def test_what_waits_goes_together_and_what_is_too_much_is_refused(serve: Serve, built: Path) -> None:
    encoder = Held()
    client = serve(built, queue=6, load_encoder=lambda *_: encoder)

    def ask(number: int) -> int:
        return client.post(SEARCH, json={"query": f"wing {number}"}).status_code

    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(ask, 0)
        service = client.app.state.service  # type: ignore[attr-defined]
        wait_until(lambda: service.admission.count == 1)
        others = [pool.submit(ask, number) for number in range(1, 6)]
        wait_until(lambda: service.admission.count == 6)
        refused = client.post(SEARCH, json={"query": "one more"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert "debater_queue_depth 6.0" in client.get("/metrics").text
        encoder.go.set()
        assert [future.result() for future in (first, *others)] == [200] * 6
    assert encoder.batches == [1, 5]
    assert 'debater_batch_queries_bucket{le="4.0"} 1.0' in client.get("/metrics").text


def test_a_query_is_encoded_once(serve: Serve, built: Path) -> None:
    encoder = FakeEncoder()
    client = serve(built, load_encoder=lambda *_: encoder)
    for mode in ("dense", "hybrid", "dense"):
        assert client.post(SEARCH, json={"query": "wing", "mode": mode}).json()["hits"]
    client.post(SEARCH, json={"query": "wing", "instruction": "Find wings:"})
    assert encoder.instructions == [None, "Find wings:"]


def test_a_request_that_takes_too_long_is_given_up_and_its_place_is_free(serve: Serve, built: Path) -> None:
    encoder = Held()
    client = serve(built, request_seconds=0.05, load_encoder=lambda *_: encoder)
    late = client.post(SEARCH, json={"query": "wing"})
    encoder.go.set()
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    assert client.app.state.service.admission.count == 0  # type: ignore[attr-defined]


def test_a_client_that_leaves_frees_its_place() -> None:
    async def never(scope: object, receive: object, send: object) -> None:
        await receive()  # type: ignore[operator]
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: object) -> None:
        raise AssertionError("nobody listens")

    cancelled: list[bool] = []
    scope = {"type": "http", "path": "/v1/x", "method": "POST", "headers": [], "request_id": ""}
    start = time.monotonic()
    asyncio.run(Limits(never, Settings())(scope, receive, send))  # type: ignore[arg-type]
    assert cancelled == [True]
    assert time.monotonic() - start < 30


def test_places_are_counted_and_given_back() -> None:
    admission = Admission(1)
    with admission():
        assert admission.count == 1
        with pytest.raises(ApiError), admission():
            raise AssertionError
    with pytest.raises(ZeroDivisionError), admission():
        raise ZeroDivisionError
    assert admission.count == 0


def test_a_bucket_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("debater_search.serving.limits.monotonic", lambda: now)
    rates = Rates(2)
    for _ in range(4):
        rates.take("a")
    with pytest.raises(ApiError) as refused:
        rates.take("a")
    assert refused.value.status_code == 429
    rates.take("b")
    now += 0.5
    rates.take("a")
    with pytest.raises(ApiError):
        rates.take("a")
    now += 1000
    for _ in range(4):
        rates.take("a")


def test_a_server_that_loads_or_stops_is_not_ready(serve: Serve, built: Path) -> None:
    go = threading.Event()

    def load(*_: object) -> FakeEncoder:
        go.wait(10)
        return FakeEncoder()

    client = serve(built, ready=False, load_encoder=load)
    unready = client.get("/readyz")
    assert (unready.status_code, unready.json()["reason"]) == (503, "The index papers is being opened.")
    early = client.post(SEARCH, json={"query": "wing"})
    assert (early.status_code, early.json()["error"]["code"]) == (503, "loading")
    assert client.get("/healthz").status_code == 200
    go.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
    client.app.state.service.draining = True  # type: ignore[attr-defined]
    assert client.get("/readyz").json()["reason"] == "The server is stopping."


def test_a_model_that_cannot_be_loaded_is_told_and_its_path_is_not(serve: Serve, built: Path) -> None:
    from debater_search.errors import UnavailableError

    def load(*_: object) -> FakeEncoder:
        raise UnavailableError("The model /home/secret/model is gone.")

    client = serve(built, ready=False, load_encoder=load)
    wait_until(lambda: "could not" in client.get("/readyz").json()["reason"])
    failed = client.post(SEARCH, json={"query": "wing"})
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "unavailable")
    assert "secret" not in failed.text


def test_what_fails_is_answered_in_our_shape_and_logged(
    serve: Serve, built: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(built)
    monkeypatch.setattr("debater_search.search.SearchEngine.answer", lambda *_, **__: 1 / 0)
    failed = client.post(SEARCH, json={"query": "wing"})
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal_error")
    assert "ZeroDivisionError" in caplog.text
    assert "Zero" not in failed.text
    assert client.app.state.service.admission.count == 0  # type: ignore[attr-defined]
