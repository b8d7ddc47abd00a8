"""Documents whole and cut into passages: `python benchmarks/passages.py FOLDER… [--passages N] [--overlap N]`

Each FOLDER is a collection in BEIR layout. Whole, a model reads the first tokens of a document, as many as it can;
"cut off" says of how many documents it does not read the end. Cut, it reads all, and a document is as near as its best
passage. nDCG@10, its difference with a 95% bootstrap interval over the queries, and what it costs.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from debater_search.encoder import Encoder
from debater_search.evaluation import judged_queries, load_task, score_run
from debater_search.evaluation.metrics import bootstrap
from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.types import Query

DEPTH = 100


def longer_than_read(encoder: Encoder, folder: Path) -> float:
    """The share of documents whose end the model does not see."""
    lengths = [len(encoder.token_ids([text.content], "document")[0]) for text in load_task(folder).corpus("test")]
    return float(np.mean(np.array(lengths) >= encoder.spec.document_length))


def measure(folder: Path, encoder: Encoder, passages: int, overlap: int) -> None:
    task = load_task(folder)
    qrels = task.qrels("test")
    queries: list[Query] = judged_queries(task, "test", qrels)
    vectors = encoder.encode_queries([query.text for query in queries])
    cells, values = [], []
    with tempfile.TemporaryDirectory() as place:
        for tokens in (None, passages):
            index = Path(place) / str(tokens)
            built = build(folder, encoder, index, type="flat", passages=tokens, overlap=overlap, progress=True)
            engine = SearchEngine.open(index, encoder=encoder)
            start = time.perf_counter()
            run = engine.search_batch(queries, DEPTH, vectors=vectors)
            took = f"{built.seconds['encode']:.0f} | {1000 * (time.perf_counter() - start) / len(queries):.1f}"
            scores = score_run(run, qrels)
            values.append(np.array([scores.per_query[query]["ndcg@10"] for query in sorted(scores.per_query)]))
            cells.append(f"{engine.manifest.rows:,} | {values[-1].mean():.4f} | {took}")
            engine.close()
    differences = values[1] - values[0]
    low, high = bootstrap(differences[:, None])
    print(
        f"| {folder.name} | {longer_than_read(encoder, folder):.0%} | {' | '.join(cells)} "
        f"| {differences.mean():+.4f} ({low[0]:+.4f} … {high[0]:+.4f}) |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--passages", type=int, default=128)
    parser.add_argument("--overlap", type=int, default=32)
    asked = parser.parse_args()
    encoder = Encoder.load(asked.model)
    print(
        "| collection | cut off | rows, whole | nDCG@10 | encoding, s | ms a query "
        "| rows, cut | nDCG@10 | encoding, s | ms a query | gain (95%) |\n|--|" + "--:|" * 10
    )
    for folder in asked.folders:
        measure(folder, encoder, asked.passages, asked.overlap)


if __name__ == "__main__":
    main()
