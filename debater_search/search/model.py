"""The model that encodes the queries of an index."""

import sys
from collections.abc import Sequence
from threading import Lock

import numpy as np

from debater_search.encoder.again import load_again
from debater_search.encoder.protocol import QueryEncoder, TextEncoder, device_of
from debater_search.search.request import as_vectors
from debater_search.search.snapshot import Snapshot
from debater_search.search.timings import Timings
from debater_search.vectors.faiss.library import follows_torch

FEW = 8
"""Queries that are encoded without torch, where the model allows it: to import torch takes longer than they do."""


class QueryModel:
    """A model that the caller gave, or the index's own, loaded when it is first needed; many threads may share it."""

    def __init__(self, given: TextEncoder | None = None) -> None:
        self._given = given
        self._lock = Lock()
        # With their fingerprint, which takes longer to compute.
        self._loaded: tuple[str, TextEncoder] | None = None
        self._light: tuple[str, QueryEncoder | None] | None = None

    @property
    def device(self) -> str:
        """Where vectors are searched: on the GPU of a model that was given, else on the CPU."""
        return "cpu" if self._given is None else device_of(self._given)

    def check(self, snapshot: Snapshot) -> None:
        """Raise DebaterError if a model was given and another one made this index."""
        if self._given is not None:
            snapshot.require_made_by(self._given)

    def of(self, snapshot: Snapshot) -> TextEncoder:
        """The model that made this state of the index.

        Raises:
            DebaterError: the index has no embeddings; its model cannot be loaded from where it was, or has changed.

        """
        made_by = snapshot.require_dense()
        if self._given is not None:
            return self._given
        with self._lock:
            if self._loaded is None or self._loaded[0] != made_by.fingerprint:
                self._loaded = None  # an index of another model has replaced the one before
                self._loaded = made_by.fingerprint, load_again(made_by, snapshot.folder, for_queries=True)
            return self._loaded[1]

    def for_documents(self, snapshot: Snapshot) -> TextEncoder | None:
        """The model to encode documents with; None for an index of words only, or where queries take another one.

        Queries are in floating point even where documents are in 8-bit integers: a change loads its model itself then.

        Raises:
            DebaterError: as `of`.

        """
        made_by = snapshot.manifest.encoder
        return None if made_by is None or (made_by.int8 and self._given is None) else self.of(snapshot)

    def for_queries(self, snapshot: Snapshot, count: int | None) -> QueryEncoder:
        """What encodes so many queries (None: many) for this state of the index: a few without importing torch.

        Raises:
            DebaterError: as `of`.

        """
        made_by = snapshot.require_dense()
        few = count is not None and count <= FEW
        if few and self._given is None and "torch" not in sys.modules and not follows_torch():
            from debater_search.encoder.light import load_light

            with self._lock:
                if self._light is None or self._light[0] != made_by.fingerprint:
                    self._light = made_by.fingerprint, load_light(made_by)
                if self._light[1] is not None:
                    return self._light[1]
        return self.of(snapshot)


class TextVectors:
    """Vectors of texts. They are encoded once, even if a change to the index makes the search start again."""

    def __init__(self, model: QueryModel, texts: Sequence[str], instruction: str | None) -> None:
        self._model, self._texts, self._instruction = model, list(texts), instruction
        self._encoded: tuple[str, np.ndarray] | None = None  # with the fingerprint of the model

    def of(self, snapshot: Snapshot, timings: Timings) -> np.ndarray:
        """The vectors by the model of this index, float32 [texts, dim].

        Raises:
            DebaterError: as `QueryModel.of`; or the model gives a vector that is not finite.

        """
        made_by = snapshot.require_dense()
        if self._encoded is None or self._encoded[0] != made_by.fingerprint:
            encoder = self._model.for_queries(snapshot, len(self._texts))
            with timings.of("encode"):
                vectors = encoder.encode_queries(self._texts, instruction=self._instruction)
                self._encoded = made_by.fingerprint, as_vectors(vectors, len(self._texts), made_by.dim)
        return self._encoded[1]
