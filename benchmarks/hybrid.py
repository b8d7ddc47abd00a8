"""nDCG@10 by words, by vectors and by both: `python benchmarks/hybrid.py FOLDER… [--indexes DIR] [--weights 1,1 2,1 …]`

Each FOLDER is a collection in BEIR layout. Words: the index's own BM25 (SQLite FTS5, porter stems) beside bm25s, as it
comes and with the Snowball stemmer (`pip install bm25s PyStemmer`; without them their columns are empty). Hybrid is a
weighted mean of scaled scores, its weights DENSE,LEXICAL. With --indexes the indexes are kept, and used if they are
there.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.evaluation import load_task
from debater_search.evaluation.evaluate import DEPTH, judged_queries
from debater_search.evaluation.metrics import score_run
from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.types import Document, Query, Run

WEIGHTS = ["1,1", "4,1", "6,1", "9,1"]
ALLOWED_LOSS = 0.02  # of our BM25 against bm25s


def bm25s_run(documents: Sequence[Document], queries: Sequence[Query], *, stemmed: bool) -> Run:
    """What bm25s finds with its own defaults: k1 1.5, b 0.75, Lucene's idf, English stop words."""
    import bm25s

    stemmer = None
    if stemmed:
        import Stemmer

        stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> object:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    retriever = bm25s.BM25()
    retriever.index(tokens([document.content for document in documents]), show_progress=False)
    depth = min(DEPTH, len(documents))
    found, scores = retriever.retrieve(tokens([query.text for query in queries]), k=depth, show_progress=False)
    return {
        query.id: {documents[position].id: float(score) for position, score in zip(*row, strict=True) if score > 0}
        for query, *row in zip(queries, found, scores, strict=True)
    }


def opened(folder: Path, place: Path, encoder: Encoder) -> SearchEngine:
    """The index of a collection's corpus in `place`, made if it is not there."""
    with suppress(DebaterError):
        return SearchEngine.open(place, encoder=encoder)
    return SearchEngine.open(build(folder, encoder, place, progress=True).folder, encoder=encoder)


def measure(folder: Path, place: Path, encoder: Encoder, weights: Sequence[tuple[float, float]]) -> dict[str, float]:
    """nDCG@10 of every system on a collection."""
    task = load_task(folder)
    qrels = task.qrels("test")
    queries = judged_queries(task, "test", qrels)
    engine = opened(folder, place, encoder)
    runs = {"BM25, ours": engine.search_batch(queries, DEPTH, mode="lexical")}
    with suppress(ImportError):
        documents = list(engine.documents)
        runs["bm25s"] = bm25s_run(documents, queries, stemmed=False)
        runs["bm25s, stemmed"] = bm25s_run(documents, queries, stemmed=True)
    vectors = encoder.encode_queries([query.text for query in queries])
    runs["dense"] = engine.search_batch(queries, DEPTH, vectors=vectors)
    for pair in weights:
        name = "hybrid {:g},{:g}".format(*pair)
        runs[name] = engine.search_batch(queries, DEPTH, mode="hybrid", vectors=vectors, weights=pair)
    engine.close()
    return {name: score_run(run, qrels).metrics["ndcg@10"] for name, run in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--max-length", type=int, help="tokens of a document")
    parser.add_argument("--indexes", type=Path, help="where the indexes are kept")
    parser.add_argument("--weights", nargs="+", default=WEIGHTS, metavar="DENSE,LEXICAL")
    asked = parser.parse_args()
    weights = [(float(dense), float(lexical)) for dense, lexical in (pair.split(",") for pair in asked.weights)]
    systems = [
        "BM25, ours",
        "bm25s",
        "bm25s, stemmed",
        "dense",
        *("hybrid {:g},{:g}".format(*pair) for pair in weights),
    ]
    print("| collection | " + " | ".join(systems) + " |\n|--|" + "--:|" * len(systems))
    encoder, behind = Encoder.load(asked.model, max_length=asked.max_length), False
    with tempfile.TemporaryDirectory() as temporary:
        for folder in asked.folders:
            found = measure(folder, (asked.indexes or Path(temporary)) / folder.name, encoder, weights)
            cells = [f"{found[system]:.3f}" if system in found else "–" for system in systems]
            print(f"| {folder.name} | " + " | ".join(cells) + " |", flush=True)
            theirs = max((score for system, score in found.items() if system.startswith("bm25s")), default=0.0)
            behind |= found["BM25, ours"] < theirs - ALLOWED_LOSS
    sys.exit(behind)


if __name__ == "__main__":
    main()
