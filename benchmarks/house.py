"""What a change to a large index costs: bytes written and seconds to add, replace and delete ONE document.

    python benchmarks/house.py --documents 300000

Documents are made-up abstracts of 60 words; vectors are random, so that no time goes into encoding. Bytes are those
that the process gave to the disk (`write_bytes` in /proc/self/io). Each change is made three times; the middle counts.
Nothing of an earlier layout is used, so that the same script measures an earlier release (PYTHONPATH).
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from debater_search.indexing import add, build, delete
from debater_search.types import Document

DIM = 32
WORDS = [f"word{number}" for number in range(20_000)]


class RandomEncoder:
    """Vectors that depend on nothing: what is measured is everything else."""

    name, fingerprint, recipe = "random", "0" * 64, {"model": "random"}
    dim, thinking_steps, dtype, instruction = DIM, 1, "float32", ""
    device, batch_tokens = SimpleNamespace(type="cpu"), 2048

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def deliberate(self, texts: Sequence[Any], **_: Any) -> np.ndarray:
        vectors = self._random.standard_normal((len(texts), 1, DIM), np.float32)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def encode_documents(self, texts: Sequence[Any], **_: Any) -> np.ndarray:
        return self.deliberate(texts)[:, 0]

    def encode_queries(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        return self.deliberate(texts)[:, 0]

    def deliberate_windows(self, windows: Iterable[Sequence[Document]], **_: Any) -> Iterator[np.ndarray]:
        for window in windows:
            yield self.deliberate(window)

    def token_ids(self, texts: Sequence[str], kind: str, instruction: str | None = None) -> list[list[int]]:
        return [[0] for _ in texts]

    def calibrate(self, documents: Sequence[Any]) -> int:
        return self.batch_tokens


def abstracts(count: int) -> Iterator[Document]:
    """So many documents of 60 words, rare and common ones."""
    chance = random.Random(0)
    for number in range(count):
        words = [WORDS[int(len(WORDS) * chance.random() ** 3)] for _ in range(60)]
        yield Document(f"d{number}", " ".join(words), " ".join(words[:5]), {"year": 1950 + number % 70})


def written() -> int:
    """Bytes that this process has given to the disk."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def cost(change: Callable[[int], object]) -> dict[str, float]:
    """The middle of three times of a change, and the bytes that it wrote."""
    found = []
    for number in range(3):
        before, start = written(), time.perf_counter()
        change(number)
        found.append((time.perf_counter() - start, written() - before))
    seconds, size = map(statistics.median, zip(*found, strict=True))
    return {"ms": round(1000 * seconds), "MB": round(size / 1e6, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        index, encoder = Path(place, "index"), RandomEncoder()
        start = time.perf_counter()
        build(abstracts(arguments.documents), encoder, index, type="flat", shard_size=20_000)
        results: dict[str, Any] = {"documents": arguments.documents, "build s": round(time.perf_counter() - start)}
        new = list(abstracts(10))
        add(index, [Document("warm", "up")], encoder=encoder)
        results["add"] = cost(lambda n: add(index, [Document(f"n{n}", new[n].text)], encoder=encoder))
        results["replace"] = cost(lambda n: add(index, [Document(f"d{n}", new[n].text)], encoder=encoder))
        results["delete"] = cost(lambda n: delete(index, [f"d{100 + n}"]))
        print(json.dumps(results))


if __name__ == "__main__":
    main()
