"""Deleted vectors and wide filters, per index type: `python benchmarks/vectors.py`. About ten minutes.

Times are medians over single queries for 10 hits, in turns; vectors have 384 dimensions and come from `search.py`. The
filters allow 60,000 vectors: a random choice, and those that are farthest from the middle of the queries.
"""

import tempfile
from pathlib import Path

import numpy as np
from search import DIM, Mixture, milliseconds, share_found

from debater_search.vectors import Selection, VectorIndex, VectorSettings, backend

SIZES = {"flat": 300_000, "ivf": 120_000, "hnsw": 120_000, "sq8": 120_000}
DROPPED = (0, 1, 1000)
ALLOWED = 60_000
QUERIES = 200
CHANGES = 255


def measure(type: str, rows: int, folder: Path) -> None:
    mixture, faiss = Mixture(), backend("faiss")
    queries = next(mixture.chunks(QUERIES, seed=1))
    record = faiss.build(folder, mixture.chunks(rows, seed=0), DIM, VectorSettings(type), 0)
    order = np.random.default_rng(3).permutation(rows)
    indexes = {0: faiss.open(folder, record)}
    indexes |= {
        count: faiss.open(folder, faiss.drop(folder, record, order[:count], count)) for count in DROPPED if count
    }
    looks = [lambda query, index=index: index.search(query, 10) for index in indexes.values()]
    milliseconds(looks, queries[:50])  # warms up
    medians = [float(np.median(times)) for times in milliseconds(looks, queries)]
    ratios = " | ".join(f"{median / medians[0]:.2f}" for median in medians[1:])
    middle = queries.mean(axis=0)
    nearness = np.concatenate([chunk @ middle for chunk in mixture.chunks(rows, seed=0)])
    half, far = Selection(np.sort(order[:ALLOWED])), Selection(np.sort(np.argsort(nearness)[:ALLOWED]))
    recalls = " | ".join(f"{recall(indexes[0], queries, within):.3f}" for within in (None, half, far))
    (filtered,) = milliseconds([lambda query: indexes[0].search(query, 10, half)], queries)
    (scanned,) = milliseconds([lambda query: indexes[0].search(query, 10, half, exact=True)], queries[:50])
    print(
        f"| {type} | {rows:,} | {' | '.join(f'{median:.3f}' for median in medians)} | {ratios} | {recalls} "
        f"| {np.median(filtered):.2f} | {np.median(scanned):.2f} |",
        flush=True,
    )


def recall(index: VectorIndex, queries: np.ndarray, within: Selection | None) -> float:
    found, exact = (index.search(queries, 10, within, exact=exact)[1] for exact in (False, True))
    return share_found(found, exact)


def written(folder: Path) -> str:
    """What CHANGES changes to a flat index write, each of one vector that is added and one that is dropped."""
    mixture, faiss = Mixture(), backend("faiss")
    added = next(mixture.chunks(CHANGES, seed=9))
    record = faiss.build(folder, mixture.chunks(SIZES["flat"], seed=0), DIM, VectorSettings("flat"), 0)
    sizes = []
    for number in range(1, CHANGES + 1):
        before = record
        record = faiss.extend(folder, record, [added[number - 1 : number]], number)
        record = faiss.drop(folder, record, np.array([7 * number]), number)
        sizes.append(sum(info.bytes for name, info in record.files.items() if name not in before.files))
    return f"{np.median(sizes):,.0f} bytes in the median, {max(sizes):,} at most; {len(record.files)} files"


def main() -> None:
    times = " | ".join(f"ms, {count:,} deleted" for count in DROPPED)
    ratios = " | ".join(f"{count:,} / 0" for count in DROPPED[1:])
    print(f"| type | vectors | {times} | {ratios} | recall@10 | random | far | ms, random | exact |")
    print("|--|" + "--:|" * 11)
    for type, rows in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(type, rows, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        print(f"\nA change to a flat index writes {written(Path(folder))}.")


if __name__ == "__main__":
    main()
