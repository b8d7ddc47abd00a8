"""The models of a server: one encoder, with a thread of its own, for all indexes with the same fingerprint."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np

from debater_search.encoder.protocol import TextEncoder, Tokenizing, query_length_of
from debater_search.identity import EncoderInfo, fingerprints_of
from debater_search.serving.model_thread import Encoded, ModelThread, Priority, pieces_of
from debater_search.serving.settings import Reranker

MAX_CHARACTERS = 100_000
"""What a model is given of a text; none reads further, and to cut a long text into tokens takes time."""

Kind = Literal["query", "document"]


@dataclass(frozen=True)
class Embedded:
    """Vectors of texts, float32 [n, dim], the tokens that the model read, and whether it read a beginning only."""

    vectors: np.ndarray
    tokens: int
    truncated: bool


class QueryVectors:
    """The vectors of the last queries, by instruction and text; used by the event loop alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._vectors: OrderedDict[tuple[str | None, str], np.ndarray] = OrderedDict()

    def get(self, text: str, instruction: str | None) -> np.ndarray | None:
        """The vector of a query, if it was encoded lately."""
        vector = self._vectors.get((instruction, text))
        if vector is not None:
            self._vectors.move_to_end((instruction, text))
        return vector

    def put(self, text: str, instruction: str | None, vector: np.ndarray) -> None:
        """Keep the vector of a query, and forget the one that was not used for longest."""
        self._vectors[instruction, text] = vector
        if len(self._vectors) > self._limit:
            self._vectors.popitem(last=False)


class ServedModel:
    """An encoder behind its thread."""

    def __init__(self, encoder: TextEncoder, cached: int, observe: Callable[[int], None]) -> None:
        self.encoder = encoder
        self.name = public_name(encoder.name)
        self.thread = ModelThread(self.name, self._encode, observe)
        self._cache = QueryVectors(cached)

    def _encode(self, texts: Sequence[str], instruction: str | None) -> np.ndarray:
        return self.encoder.encode_queries(texts, instruction=instruction)

    async def query(self, text: str, instruction: str | None = None) -> Encoded:
        """The vector of a query, from the cache or by the thread."""
        vector = self._cache.get(text, instruction)
        if vector is not None:
            return Encoded(vector, 0.0, 0.0)
        encoded = await asyncio.wrap_future(self.thread.query(text, instruction))
        self._cache.put(text, instruction, encoded.vector.copy())  # a view would keep its whole batch alive
        return encoded

    async def embed(self, texts: Sequence[str], kind: Kind) -> Embedded:
        """Vectors of texts, computed piece by piece behind searches."""
        pieces: list[Embedded] = []
        for piece in pieces_of(texts):
            some = [texts[position] for position in piece]
            pieces.append(
                await asyncio.wrap_future(self.thread.piece(partial(self._embed, some, kind), Priority.EMBED))
            )
        vectors = np.concatenate([piece.vectors for piece in pieces])
        return Embedded(vectors, sum(piece.tokens for piece in pieces), any(piece.truncated for piece in pieces))

    def cuts(self, text: str, kind: Kind) -> bool:
        """Whether the model reads only the beginning of a text."""
        return count_tokens(self.encoder, [text], kind)[1]

    def _embed(self, texts: Sequence[str], kind: Kind) -> Embedded:
        encode = self.encoder.encode_queries if kind == "query" else self.encoder.encode_documents
        heads = [text[:MAX_CHARACTERS] for text in texts]
        tokens, truncated = count_tokens(self.encoder, heads, kind)
        return Embedded(encode(heads), tokens, truncated or any(len(text) > MAX_CHARACTERS for text in texts))


class ServedReranker:
    """A reranker that many threads share; it scores piece by piece, so that requests take turns."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.name, self.fingerprint = reranker.name, reranker.fingerprint
        self.thread = ModelThread(public_name(reranker.name))

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """As `Reranker`; waits for the thread."""
        scores = [np.empty(0, np.float32)]
        for piece in pieces_of(texts):
            some = [texts[position] for position in piece]
            scores.append(self.thread.piece(partial(self._reranker.score, query, some), Priority.EMBED).result())
        return np.concatenate(scores)


class Models:
    """The models that are loaded, by fingerprint."""

    def __init__(
        self,
        load: Callable[[EncoderInfo, Path, str], TextEncoder],
        device: str,
        cached: int,
        observe: Callable[[int], None],
    ) -> None:
        self._load, self._device, self._cached, self._observe = load, device, cached, observe
        self._loading = Lock()
        self._loaded: dict[str, ServedModel] = {}

    def get(self, info: EncoderInfo, folder: Path) -> ServedModel:
        """The model that made an index, loaded by the first index that needs it; DebaterError if it cannot be."""
        with self._loading:
            if info.fingerprint not in self._loaded:
                encoder = self._load(info, folder, self._device)
                model = ServedModel(encoder, self._cached, self._observe)
                self._loaded.update(dict.fromkeys([*fingerprints_of(encoder), info.fingerprint], model))
            return self._loaded[info.fingerprint]

    def close(self) -> None:
        """End the threads."""
        for model in set(self._loaded.values()):
            model.thread.close()


def count_tokens(encoder: TextEncoder, texts: Sequence[str], kind: Kind) -> tuple[int, bool]:
    """The tokens that a model reads of texts, and whether it cuts one; (0, False) if it does not show its tokens."""
    if not isinstance(encoder, Tokenizing):
        return 0, False
    ids = encoder.token_ids(texts, kind)
    limit = query_length_of(encoder) if kind == "query" else encoder.document_length
    full = [text for text, tokens in zip(texts, ids, strict=True) if limit is not None and len(tokens) >= limit]
    if limit is None or not full:
        return sum(map(len, ids)), False
    (frame,) = encoder.token_ids([""], kind)
    return sum(map(len, ids)), any(len(tokens) + len(frame) > limit for tokens in encoder.token_offsets(full))


def public_name(name: str) -> str:
    """How clients call a model: an alias or a hub id as it is, a folder by its last part."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name
