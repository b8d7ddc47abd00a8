"""Search, for numbers of vectors × index types, beside plain FAISS: `python benchmarks/search.py [--million]`.

The vectors are synthetic: clusters of unequal size that overlap, each spread over a few directions of its own, plus
noise. Queries are further points of the same clusters. Plain FAISS is the same file opened by `faiss.read_index`
(and no filter); the two are timed in turns, a query at a time.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np

from debater_search.vectors import Selection, VectorSettings
from debater_search.vectors.faiss import TYPES
from debater_search.vectors.faiss.build import build_index
from debater_search.vectors.faiss.index import FaissIndex

DIM = 384
QUERIES = 300
FILTERS = (0.75, 0.5, 0.1, 0.01, 0.001)
_CHUNK = 10_000


class Mixture:
    """Vectors [n, DIM] of length 1 from the same distribution, in chunks."""

    def __init__(self, clusters: int = 2000, directions: int = 24) -> None:
        random = np.random.default_rng(7)
        self.centres = random.standard_normal((clusters, 48)) @ random.standard_normal((48, DIM))
        self.centres /= np.linalg.norm(self.centres, axis=1, keepdims=True)
        self.spread = random.standard_normal((clusters, directions, DIM)).astype(np.float32) / np.sqrt(directions * DIM)
        shares = 1 / np.arange(1, clusters + 1) ** 0.7
        self.shares = shares / shares.sum()

    def chunks(self, n: int, seed: int) -> Iterator[np.ndarray]:
        for number, start in enumerate(range(0, n, _CHUNK)):
            random = np.random.default_rng((seed, number))
            size = min(_CHUNK, n - start)
            cluster = random.choice(len(self.centres), size, p=self.shares)
            rows = self.centres[cluster].astype(np.float32)
            for at in range(0, size, 500):
                few = cluster[at : at + 500]
                place = random.standard_normal((len(few), 1, self.spread.shape[1])).astype(np.float32)
                rows[at : at + 500] += 0.9 * (place @ self.spread[few])[:, 0]
            rows += 0.4 / np.sqrt(DIM) * random.standard_normal(rows.shape, np.float32)
            yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def build(rows: str, type: str, path: str) -> None:
    """Build one index and print what it took, as JSON; runs in a process of its own, so that memory is its own."""
    vectors = np.load(rows, mmap_mode="r")
    peak = Peak()
    start = time.perf_counter()
    chunks = (vectors[at : at + 1000] for at in range(0, len(vectors), 1000))
    built = build_index(chunks, DIM, VectorSettings(type), Path(path))
    seconds = time.perf_counter() - start
    facts = {"factory": built.plan.factory, "seconds": seconds, "peak": peak.stop(), "parameters": built.parameters}
    print(json.dumps(facts | {"recall": built.recall}))


class Peak:
    """The most memory of its own (anonymous pages) that this process takes while it runs, beyond what it has now."""

    def __init__(self) -> None:
        self.before = self.most = self._now()
        self.running = True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        self.running = False
        self.thread.join()
        return self.most - self.before

    def _watch(self) -> None:
        while self.running:
            self.most = max(self.most, self._now())
            time.sleep(0.005)

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def milliseconds(looks: list[Callable[[np.ndarray], object]], queries: np.ndarray) -> list[list[float]]:
    """Times of each query in each way of looking, taken in turns; which is first alternates."""
    times: list[list[float]] = [[] for _ in looks]
    for number, query in enumerate(queries):
        order = range(len(looks)) if number % 2 else reversed(range(len(looks)))
        for way in order:
            start = time.perf_counter()
            looks[way](query[None])
            times[way].append(1000 * (time.perf_counter() - start))
    return times


def share_found(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


def measure(n: int, types: list[str], folder: Path) -> None:
    mixture = Mixture()
    queries = next(mixture.chunks(QUERIES, seed=1))
    vectors = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (n, DIM))
    for number, chunk in enumerate(mixture.chunks(n, seed=0)):
        vectors[number * _CHUNK : number * _CHUNK + len(chunk)] = chunk
    vectors.flush()
    del vectors, mixture
    random = np.random.default_rng(3)
    allowed = {share: Selection(np.sort(random.permutation(n)[: int(n * share)])) for share in FILTERS}
    exact: dict[float, np.ndarray] = {}
    rows, filtered = [], []
    for type in types:
        path = folder / f"{type}.faiss"
        command = [sys.executable, __file__, "--build", str(folder / "rows.npy"), type, str(path)]
        built = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        opening = []
        for _ in range(5):
            start = time.perf_counter()
            index = FaissIndex.load(path)
            opening.append(1000 * (time.perf_counter() - start))
        if type == "flat":
            exact = {1.0: index.search(queries, 10)[1]}
            exact |= {share: index.search(queries, 10, only)[1] for share, only in allowed.items()}
        plain = faiss.read_index(str(path))
        looks = [lambda query: index.search(query, 10), lambda query: plain.search(query, 10)]  # noqa: B023
        milliseconds(looks, queries[:50])  # warms up
        ours, theirs = milliseconds(looks, queries)
        p50, plain50 = statistics.median(ours), statistics.median(theirs)
        true = share_found(index.search(queries, 10)[1], exact[1.0])
        size = path.stat().st_size
        parameters = ", ".join(f"{name} {value:g}" for name, value in built["parameters"].items())
        rows.append(
            f"| {type} | {built['factory']} | {parameters or '–'} | {p50:.3f} | {np.percentile(ours, 99):.3f} "
            f"| {plain50:.3f} | {p50 / plain50:.2f} | {built['recall']['10']:.3f} | {true:.3f} "
            f"| {built['recall']['100']:.3f} | {statistics.median(opening):.2f} | {size / 1e6:.0f} "
            f"| {built['peak'] / size:.2f} | {built['seconds']:.0f} |"
        )
        cells = []
        for share, only in allowed.items():
            found = index.search(queries, 10, only)[1]
            (took,) = milliseconds([lambda query: index.search(query, 10, only)], queries[:100])  # noqa: B023
            cells.append(f"{statistics.median(took):.3f} | {share_found(found, exact[share]):.3f}")
        filtered.append(f"| {type} | {' | '.join(cells)} |")
        print(f"{n:,} {type}: done", file=sys.stderr)
    print(f"\n### {n:,} vectors\n")
    print(
        "| type | FAISS | tuned | p50 ms | p99 ms | plain FAISS p50 ms | ratio | recall@10 measured | recall@10 of the "
        "queries | recall@100 measured | open ms | file MB | peak memory / file | build s |"
    )
    print("|--|--|--|" + "--:|" * 11)
    print("\n".join(rows))
    print("\nWith a filter:\n")
    print("| type | " + " | ".join(f"{share:.4g} p50 ms | recall@10" for share in FILTERS) + " |")
    print("|--|" + "--:|" * 2 * len(FILTERS))
    print("\n".join(filtered), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="10^6 vectors too: tens of minutes")
    parser.add_argument("--types", nargs="*", default=list(TYPES))
    parser.add_argument("--sizes", nargs="*", type=int, default=[10**4, 10**5])
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.build:
        return build(*arguments.build)
    types = ["flat", *(type for type in arguments.types if type != "flat")]  # flat gives the truth
    for n in arguments.sizes + [10**6] * arguments.million:
        with tempfile.TemporaryDirectory() as folder:
            measure(n, types, Path(folder))
    return None


if __name__ == "__main__":
    main()
