"""One thread computes with a model; what waits meanwhile goes together: batches without a time window.

Searches come before embeddings, and these before writing. Long work comes in pieces, so that a search waits for one
piece at most. After some batches one piece of the work that comes later is done, so that all of it goes on under load.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

MAX_TEXTS = 32
MAX_TOKENS = 2048
"""Padded tokens of a batch or a piece, estimated: the model cuts longer texts, and its own batches keep to memory."""
FAIR = 8
"""Batches, or pieces, after which the work that comes later gets a turn."""
_CHARACTERS_PER_TOKEN = 4


class Priority(IntEnum):
    """What is done first of the work that comes in pieces; searches come before it."""

    EMBED = 1
    WRITE = 2


@dataclass
class Encoded:
    """The vector of a query, float32 [dim], and the seconds that it waited and that its batch took."""

    vector: np.ndarray
    queued: float
    seconds: float


@dataclass
class _Query:
    text: str
    instruction: str | None
    future: "Future[Encoded]" = field(default_factory=Future)
    since: float = field(default_factory=perf_counter)


@dataclass
class _Piece:
    work: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)


EncodeQueries = Callable[[Sequence[str], str | None], np.ndarray]
"""Texts and an instruction → vectors, float32 [n, dim]."""


class ModelThread:
    """The queue of a model and the thread that works on it. `observe` is told the number of queries of each batch."""

    def __init__(
        self, name: str, encode: EncodeQueries | None = None, observe: Callable[[int], None] = lambda _: None
    ) -> None:
        self._encode, self._observe = encode, observe
        self._queries: deque[_Query] = deque()
        self._pieces: dict[Priority, deque[_Piece]] = {Priority.EMBED: deque(), Priority.WRITE: deque()}
        self._waiting = threading.Condition()
        self._closed = False
        self._searches_in_a_row = self._embeds_in_a_row = 0
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        self._thread.start()

    def query(self, text: str, instruction: str | None = None) -> "Future[Encoded]":
        """Encode a query, in a batch with others that wait; a future that is cancelled in time costs nothing."""
        query = _Query(text, instruction)
        self._put(self._queries, query)
        return query.future

    def piece(self, work: Callable[[], Any], priority: Priority) -> "Future[Any]":
        """Do one piece of other work with the model."""
        piece = _Piece(work)
        self._put(self._pieces[priority], piece)
        return piece.future

    @property
    def depth(self) -> int:
        """How much waits."""
        return len(self._queries) + sum(map(len, self._pieces.values()))

    def close(self) -> None:
        """End the thread; what waits is cancelled."""
        with self._waiting:
            self._closed = True
            for query in self._queries:
                query.future.cancel()
            for piece in chain(*self._pieces.values()):
                piece.future.cancel()
            self._waiting.notify()
        self._thread.join()

    def _put(self, queue: deque[Any], item: _Query | _Piece) -> None:
        with self._waiting:
            if self._closed:
                item.future.cancel()
                return
            queue.append(item)
            self._waiting.notify()

    def _run(self) -> None:
        while True:
            with self._waiting:
                while not self._closed and not self.depth:
                    self._waiting.wait()
                if self._closed:
                    return
                batch, piece = self._next()
            if piece is not None:
                _do(piece)
            elif batch:
                self._answer(batch)

    def _next(self) -> tuple[list[_Query], _Piece | None]:
        """What is done now: a batch of queries, or a piece. The caller holds the lock."""
        if any(self._pieces.values()) and (not self._queries or self._searches_in_a_row >= FAIR):
            self._searches_in_a_row = 0
            return [], self._next_piece()
        self._searches_in_a_row += 1
        return self._next_batch(), None

    def _next_piece(self) -> _Piece:
        embeds, writes = self._pieces[Priority.EMBED], self._pieces[Priority.WRITE]
        if embeds and (not writes or self._embeds_in_a_row < FAIR):
            self._embeds_in_a_row += 1
            return embeds.popleft()
        self._embeds_in_a_row = 0
        return writes.popleft()

    def _next_batch(self) -> list[_Query]:
        """The queries that wait longest and fit together: of one instruction, within the limits of a batch."""
        batch: list[_Query] = []
        longest = 0
        while self._queries and len(batch) < MAX_TEXTS:
            query = self._queries[0]
            longest = max(longest, tokens_of(query.text))
            if batch and (query.instruction != batch[0].instruction or longest * (len(batch) + 1) > MAX_TOKENS):
                break
            batch.append(self._queries.popleft())
        return batch

    def _answer(self, batch: list[_Query]) -> None:
        batch = [query for query in batch if query.future.set_running_or_notify_cancel()]
        if not batch:
            return
        assert self._encode is not None
        start = perf_counter()
        try:
            vectors = self._encode([query.text for query in batch], batch[0].instruction)
        except BaseException as error:
            for query in batch:
                query.future.set_exception(error)
            return
        seconds = perf_counter() - start
        self._observe(len(batch))
        for query, vector in zip(batch, vectors, strict=True):
            query.future.set_result(Encoded(vector, start - query.since, seconds))


def _do(piece: _Piece) -> None:
    if not piece.future.set_running_or_notify_cancel():
        return
    try:
        piece.future.set_result(piece.work())
    except BaseException as error:
        piece.future.set_exception(error)


def tokens_of(text: str) -> int:
    """The tokens of a text, roughly, at most as many as a batch may have."""
    return min(len(text) // _CHARACTERS_PER_TOKEN + 2, MAX_TOKENS)


def pieces_of(texts: Sequence[str]) -> list[range]:
    """Cut texts, in their order, into pieces of at most `MAX_TEXTS` texts and about `MAX_TOKENS` padded tokens."""
    pieces: list[range] = []
    start = longest = 0
    for position, text in enumerate(texts):
        longest = max(longest, tokens_of(text))
        rows = position - start + 1
        if rows > 1 and (rows > MAX_TEXTS or longest * rows > MAX_TOKENS):
            pieces.append(range(start, position))
            start, longest = position, tokens_of(text)
    return [*pieces, range(start, len(texts))] if texts else []
