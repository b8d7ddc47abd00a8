"""Deleted vectors and wide filters, per index type: `python benchmarks/vectors.py`. About ten minutes.

Times are medians over single queries for 10 hits, in turns; vectors have 384 dimensions and come from `search.py`.
"""

import tempfile
from pathlib import Path

import numpy as np
from search import DIM, Mixture, milliseconds, share_found

from debater_search.vectors import Selection, VectorSettings, backend

SIZES = {"flat": 300_000, "ivf": 120_000, "hnsw": 120_000, "sq8": 120_000}
DROPPED = (0, 1, 1000)
ALLOWED = 60_000
QUERIES = 200


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
    half = Selection(np.sort(order[:ALLOWED]))
    found, exact = (indexes[0].search(queries, 10, half, exact=exact)[1] for exact in (False, True))
    plain = share_found(indexes[0].search(queries, 10)[1], indexes[0].search(queries, 10, exact=True)[1])
    (filtered,) = milliseconds([lambda query: indexes[0].search(query, 10, half)], queries)
    (scanned,) = milliseconds([lambda query: indexes[0].search(query, 10, half, exact=True)], queries[:50])
    print(
        f"| {type} | {rows:,} | {' | '.join(f'{median:.3f}' for median in medians)} | {ratios} | {plain:.3f} "
        f"| {share_found(found, exact):.3f} | {np.median(filtered):.2f} | {np.median(scanned):.2f} |",
        flush=True,
    )


def main() -> None:
    times = " | ".join(f"ms, {count:,} deleted" for count in DROPPED)
    ratios = " | ".join(f"{count:,} / 0" for count in DROPPED[1:])
    print(f"| type | vectors | {times} | {ratios} | recall@10 | of {ALLOWED:,} allowed | ms | ms, exact |")
    print("|--|" + "--:|" * 10)
    for type, rows in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(type, rows, Path(folder))


if __name__ == "__main__":
    main()
