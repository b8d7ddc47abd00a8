"""Queries per second of one engine with 1 and with 8 threads: `python benchmarks/threads.py [--documents N]`.

Documents and queries are random words, drawn as words of a language are, and random vectors of 384 dimensions. Threads
take queries from one list, in turns with a single thread, and read ten hits with snippets. Dense queries are ready
vectors. The first round warms up; the other rounds give medians.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.types import Document

DIM, WORDS, THREADS = 384, 50_000, 8


class Vectors:
    """Stands where an encoder is: random vectors of length 1, by the hash of the text."""

    name, fingerprint, recipe = "random", "0" * 64, {"model": "random"}
    dim, thinking_steps, dtype, batch_tokens = DIM, 1, "float32", 4096
    device = "cpu"

    def encode_queries(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        seeds = (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) for text in texts)
        rows = np.array([np.random.default_rng(seed).standard_normal(DIM, np.float32) for seed in seeds])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def deliberate(self, documents: Sequence[Document | str], **_: Any) -> np.ndarray:
        texts = (document if isinstance(document, str) else document.content for document in documents)
        return self.encode_queries(list(texts))[:, None]

    def deliberate_windows(self, windows: Iterable[Sequence[str]], **_: Any) -> Iterator[np.ndarray]:
        return map(self.deliberate, windows)

    def calibrate(self, documents: Sequence[str]) -> int:
        return self.batch_tokens


def texts(count: int, length: int, seed: int) -> Iterator[str]:
    """Words w0, w1, … by Zipf's law."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(10, WORDS + 10)
    for _ in range(0, count, 1000):
        for row in random.choice(WORDS, (min(1000, count), length), p=shares / shares.sum()):
            yield " ".join(f"w{word}" for word in row)


def per_second(engine: SearchEngine, queries: Sequence[Any], mode: Any, threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: time.sleep(0.01), range(threads)))  # the threads are there
        start = time.perf_counter()
        for answer in pool.map(lambda query: engine.answer(query, 10, mode=mode), queries):
            assert len(answer.hits) == 10
        return len(queries) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    encoder: Any = Vectors()
    words = list(texts(options.queries, 4, seed=2))
    vectors = list(encoder.encode_queries(words))
    print(f"| documents | index | queries | 1 thread, per s | {THREADS} threads, per s | ratio (range) |")
    print("|--:|--|--|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as place:
        for type in ("flat", "hnsw"):
            corpus = (Document(f"d{i}", text) for i, text in enumerate(texts(options.documents, 100, seed=1)))
            folder = build(corpus, encoder, Path(place) / type, type=type).folder
            engine = SearchEngine.open(folder)
            for mode, queries in (("lexical", words), ("dense", vectors)) if type == "flat" else (("dense", vectors),):
                pairs = [
                    [per_second(engine, queries, mode, threads) for threads in (1, THREADS)]
                    for _ in range(options.rounds + 1)
                ][1:]
                one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratios = [many / one for one, many in pairs]
                print(
                    f"| {options.documents:,} | {type} | {mode} | {one:,.0f} | {many:,.0f} "
                    f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
