"""The models of a server: one encoder, with a thread of its own, for all indexes with the same fingerprint."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.identity import EncoderInfo
from debater_search.serving.model_thread import Encoded, ModelThread, Priority, pieces_of

log = logging.getLogger(__name__)


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
        self._cache.put(text, instruction, encoded.vector)
        return encoded

    async def embed(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """Vectors of texts of `kind` query or document, float32 [n, dim], computed piece by piece behind searches."""
        encode = self.encoder.encode_queries if kind == "query" else self.encoder.encode_documents
        vectors = []
        for piece in pieces_of(texts):
            some = [texts[position] for position in piece]
            future = self.thread.piece(lambda some=some: encode(some), Priority.EMBED)  # type: ignore[misc]
            vectors.append(await asyncio.wrap_future(future))
        return np.concatenate(vectors)


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
                self._loaded[info.fingerprint] = ServedModel(encoder, self._cached, self._observe)
            return self._loaded[info.fingerprint]

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._loaded.values()))

    def close(self) -> None:
        """End the threads."""
        for model in self._loaded.values():
            model.thread.close()


def public_name(name: str) -> str:
    """How clients call a model: an alias or a hub id as it is, a folder by its last part."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name
