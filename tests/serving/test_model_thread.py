import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from debater_search.serving.model_thread import FAIR, MAX_TEXTS, MAX_TOKENS, ModelThread, Priority, pieces_of
from debater_search.serving.models import Models
from debater_search.serving.writing import BehindSearches
from tests.fakes import FakeEncoder
from tests.serving.conftest import wait_until


class Model:
    """Notes what is computed; `hold` keeps the thread busy until the block ends."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.thread = ModelThread("test", self.encode)
        self._go = threading.Event()

    def encode(self, texts: Sequence[str], instruction: str | None) -> np.ndarray:
        self.done.append((instruction, list(texts)))
        if "bad" in texts:
            raise ValueError("bad")
        return np.array([[len(text)] for text in texts], np.float32)

    def piece(self, name: str, priority: Priority) -> Any:
        return self.thread.piece(lambda: self.done.append(name), priority)

    def held(self) -> Callable[[], None]:
        """Keep the thread busy; the function that is returned lets it go."""
        busy = self.thread.piece(lambda: self._go.wait(10), Priority.EMBED)
        wait_until(busy.running)
        return self._go.set


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.thread.close()


def test_what_waited_goes_together_each_with_its_own_vector(model: Model) -> None:
    go = model.held()
    futures = [model.thread.query("x" * length) for length in range(1, 6)]
    go()
    assert [future.result(10).vector.tolist() for future in futures] == [[1], [2], [3], [4], [5]]
    assert [len(texts) for _, texts in model.done] == [5]


def test_a_batch_has_one_instruction_and_a_largest_size(model: Model) -> None:
    go = model.held()
    futures = [model.thread.query(f"q{n}") for n in range(MAX_TEXTS + 1)]
    futures += [model.thread.query("a", "one"), model.thread.query("b", "two")]
    futures += [model.thread.query("long " * 5 * MAX_TOKENS, "two") for _ in range(2)]
    go()
    for future in futures:
        future.result(10)
    assert [(instruction, len(texts)) for instruction, texts in model.done] == [
        (None, MAX_TEXTS), (None, 1), ("one", 1), ("two", 1), ("two", 1), ("two", 1),
    ]  # fmt: skip


def test_searches_come_first_and_the_rest_goes_on_under_load(model: Model) -> None:
    go = model.held()
    pieces = [model.piece("write", Priority.WRITE), model.piece("embed", Priority.EMBED)]
    queries = [model.thread.query("q", str(n)) for n in range(2 * FAIR + 2)]  # a batch each
    go()
    for future in (*pieces, *queries):
        future.result(10)
    order = [done if isinstance(done, str) else "query" for done in model.done]
    assert order == ["query"] * FAIR + ["embed"] + ["query"] * FAIR + ["write"] + ["query"] * 2


def test_writing_gets_its_turn_behind_embeddings(model: Model) -> None:
    go = model.held()
    pieces = [model.piece("write", Priority.WRITE), *(model.piece("embed", Priority.EMBED) for _ in range(3 * FAIR))]
    go()
    for future in pieces:
        future.result(10)
    assert model.done.index("write") <= FAIR


def test_who_has_left_costs_nothing(model: Model) -> None:
    go = model.held()
    kept, left = model.thread.query("kept"), model.thread.query("left")
    gone = model.piece("gone", Priority.EMBED)
    assert left.cancel()
    assert gone.cancel()
    go()
    kept.result(10)
    assert model.done == [(None, ["kept"])]


def test_an_error_reaches_those_who_asked_and_the_thread_goes_on(model: Model) -> None:
    with pytest.raises(ValueError, match="bad"):
        model.thread.query("bad").result(10)
    with pytest.raises(ZeroDivisionError):
        model.thread.piece(lambda: 1 / 0, Priority.WRITE).result(10)
    assert model.thread.query("good").result(10).vector.tolist() == [4]


def test_a_closed_thread_keeps_nobody_waiting() -> None:
    model = Model()
    go = model.held()
    waiting = model.thread.query("waiting")
    threading.Timer(0.05, go).start()
    model.thread.close()
    for future in (waiting, model.thread.query("late")):
        with pytest.raises(CancelledError):
            future.result(10)


def test_pieces_keep_order_and_limits() -> None:
    texts = ["short"] * 70 + ["long " * 10 * MAX_TOKENS] * 2 + ["short"]
    pieces = pieces_of(texts)
    assert [position for piece in pieces for position in piece] == list(range(len(texts)))
    assert [len(piece) for piece in pieces] == [32, 32, 6, 1, 1, 1]
    assert pieces_of([]) == []


def test_indexes_of_one_model_share_it() -> None:
    loads = []

    def load(info: Any, *_: Any) -> FakeEncoder:
        loads.append(info.name)
        return FakeEncoder(info.name)

    from debater_search.identity import EncoderInfo

    models = Models(load, "cpu", 10, lambda _: None)
    infos = [EncoderInfo.of(FakeEncoder(name)) for name in ("one", "one", "two")]
    first, second, third = (models.get(info, None) for info in infos)  # type: ignore[arg-type]
    models.close()
    assert first is second is not third
    assert loads == ["one", "two"]


def test_changes_encode_as_the_model_does() -> None:
    encoder, thread = FakeEncoder(), ModelThread("test")
    texts = [f"text {n}" for n in range(70)]
    behind = BehindSearches(encoder, thread)
    np.testing.assert_array_equal(behind.deliberate(texts), encoder.deliberate(texts))
    np.testing.assert_array_equal(behind.encode_documents(texts), encoder.encode_documents(texts))
    assert behind.token_ids(["a b"], "document") == encoder.token_ids(["a b"], "document")
    assert behind.deliberate([]).shape == (0, encoder.thinking_steps, encoder.dim)
    thread.close()
