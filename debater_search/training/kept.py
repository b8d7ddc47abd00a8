"""Teachers' vectors in the cache on disk: a text is encoded once, in whatever run it comes."""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from debater_search.cache import cache_folder, remove_stale
from debater_search.encoder import Encoder
from debater_search.errors import UnavailableError
from debater_search.training.batches import Batch, text_key

SECONDS_TO_WAIT = 60.0
"""For another process that writes."""
ENTRY = re.compile(r"[0-9a-f]{16}-\w+-\d+")
"""An encoder's fingerprint, its number type, the length of documents."""

Key = tuple[str, int]


class KeptVectors:
    """Vectors of one encoder at one length. Each batch is committed, so that a kill costs a batch."""

    def __init__(self, encoder: Encoder, document_length: int) -> None:
        """Raises UnavailableError if the cache cannot be used, as `of` does."""
        cache = cache_folder("teachers")
        self._path = cache / f"{encoder.fingerprint[:16]}-{encoder.dtype}-{document_length}.sqlite"
        self._dim = encoder.dim
        self._prompted = bool(encoder.spec.template.query_prompt)
        with self._database() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (kind TEXT, text INTEGER, vector BLOB, PRIMARY KEY (kind, text))"
            )
        os.utime(self._path)  # it is in use
        remove_stale(cache, lambda name: ENTRY.fullmatch(name) is not None)

    def of(self, batch: Batch, encode: Callable[[Batch], Tensor]) -> Tensor:
        """Vectors of a batch's queries and documents, float32 [texts, dim]; `encode` makes those that are new."""
        prompts = batch.query_prompts or (None,) * len(batch.queries)
        kinds = ["query" if prompt == "" or not self._prompted else "prompted query" for prompt in prompts]
        keys: list[Key] = [(kind, text_key(text)) for kind, text in zip(kinds, batch.queries, strict=True)]
        keys += [("document", text_key(text)) for text in batch.documents]
        with self._database() as database:
            known = {key: vector for key in keys if (vector := self._read(database, key)) is not None}
        texts = dict(zip(keys, [*batch.queries, *batch.documents], strict=True))
        new = [key for key in texts if key not in known]  # queries first
        if new:
            queries = [texts[key] for key in new if key[0] != "document"]
            documents = [texts[key] for key in new if key[0] == "document"]
            own = tuple("" if key[0] == "query" and self._prompted else None for key in new if key[0] != "document")
            asked = replace(batch, queries=queries, query_prompts=own, positives=documents, negatives=[])
            made = encode(asked).cpu().numpy()
            known |= dict(zip(new, made, strict=True))
            with self._database() as database:
                rows = [(*key, known[key].astype("<f4").tobytes()) for key in new]
                database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        return torch.from_numpy(np.array([known[key] for key in keys], dtype=np.float32).reshape(-1, self._dim))

    def _read(self, database: sqlite3.Connection, key: Key) -> np.ndarray | None:
        row = database.execute("SELECT vector FROM vectors WHERE kind = ? AND text = ?", key).fetchone()
        return np.frombuffer(row[0], "<f4") if row is not None and len(row[0]) == 4 * self._dim else None

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The database in a transaction, committed at the end."""
        try:
            with closing(sqlite3.connect(self._path, timeout=SECONDS_TO_WAIT)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise UnavailableError(
                f"The cache of teachers' vectors, {self._path}, cannot be used: {error}.",
                "Remove that file, make room on its disk, or set loss.teacher_cache=false.",
            ) from error
