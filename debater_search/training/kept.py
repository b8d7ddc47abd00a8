"""Teachers' vectors in the cache on disk: a text is encoded once, in whatever run it comes."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from debater_search.cache import cache_folder
from debater_search.encoder import Encoder
from debater_search.training.batches import Batch, text_key

SECONDS_TO_WAIT = 60.0
"""For another process that writes."""


class KeptVectors:
    """Vectors of one encoder at one length. Each batch is committed, so that a kill costs a batch."""

    def __init__(self, encoder: Encoder, document_length: int) -> None:
        name = f"{encoder.fingerprint[:16]}-{encoder.dtype}-{document_length}.sqlite"
        self._path = cache_folder("teachers") / name
        self._dim = encoder.dim
        with closing(self._open()) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (kind TEXT, text INTEGER, vector BLOB, PRIMARY KEY (kind, text))"
            )

    def of(self, batch: Batch, encode: Callable[[Batch], Tensor]) -> Tensor:
        """Vectors of a batch's queries and documents, float32 [texts, dim]; `encode` makes those that are new."""
        keys = [("query", text_key(text)) for text in batch.queries]
        keys += [("document", text_key(text)) for text in batch.documents]
        with closing(self._open()) as database:
            known = {key: vector for key in keys if (vector := self._read(database, key)) is not None}
            texts = {
                key: text
                for key, text in zip(keys, [*batch.queries, *batch.documents], strict=True)
                if key not in known
            }
            if texts:
                queries = [text for (kind, _), text in texts.items() if kind == "query"]
                documents = [text for (kind, _), text in texts.items() if kind == "document"]
                new = encode(replace(batch, queries=queries, positives=documents, negatives=[])).cpu().numpy()
                known |= dict(zip(texts, new, strict=True))
                rows = [(*key, known[key].astype("<f4").tobytes()) for key in texts]
                with database:
                    database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        return torch.from_numpy(np.stack([known[key] for key in keys]))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=SECONDS_TO_WAIT)

    def _read(self, database: sqlite3.Connection, key: tuple[str, int]) -> np.ndarray | None:
        row = database.execute("SELECT vector FROM vectors WHERE kind = ? AND text = ?", key).fetchone()
        found = None if row is None else np.frombuffer(row[0], "<f4")
        return found if found is not None and len(found) == self._dim else None
