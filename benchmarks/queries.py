"""What one query costs, stage by stage: `python benchmarks/queries.py [FOLDER …]`.

Each FOLDER is a collection in BEIR layout (data/cranfield if none is given). Its queries are asked one at a time, over
an index of MiniLM's, for ten hits with snippets, after a few that warm up. Milliseconds.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from debater_search.data import read_queries
from debater_search.encoder import Encoder
from debater_search.indexing import build
from debater_search.search import SearchEngine

CRANFIELD = Path(__file__).parent.parent / "data" / "cranfield"
STAGES = ("encode", "retrieve", "fetch")
WARM_UP = 10


def measure(folder: Path, encoder: Encoder, queries: list[str], type: str) -> None:
    """Print a row for each way of searching."""
    with tempfile.TemporaryDirectory() as place:
        build(folder, encoder, Path(place) / "index", type=type)
        engine = SearchEngine.open(Path(place) / "index", encoder=encoder)
        for mode in ("dense", "lexical", "hybrid"):
            times = []
            for query in queries[:WARM_UP] + queries:
                timings = engine.answer(query, 10, mode=mode).timings
                times.append([1000 * timings[stage] for stage in STAGES])
            stages = np.array(times[WARM_UP:])  # [queries, stages]
            whole = stages.sum(axis=1)
            cells = [*(f"{p50:.2f}" for p50 in np.median(stages, axis=0)), f"**{np.median(whole):.2f}**"]
            print(
                f"| {folder.name} | {len(engine.documents):,} | {type} | {mode} | {' | '.join(cells)} "
                f"| {np.percentile(whole, 99):.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[CRANFIELD])
    parser.add_argument("--types", nargs="*", default=["flat", "hnsw"])
    asked = parser.parse_args()
    print("| collection | documents | index | mode | encode p50 | retrieve p50 | fetch p50 | all p50 | all p99 |")
    print("|--|--:|--|--|" + "--:|" * 5)
    encoder = Encoder.load("minilm", device="cpu")
    for folder in asked.folders:
        queries = [query.text for query in read_queries(folder)][:200]
        for type in asked.types:
            measure(folder, encoder, queries, type)


if __name__ == "__main__":
    main()
