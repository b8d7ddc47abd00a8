"""Beyond one machine: what each stage costs, and what engines for many machines add to it.

python benchmarks/scale.py stages    # seconds and bytes per million documents, per stage
python benchmarks/scale.py ray       # two actors beside two workers
python benchmarks/scale.py milvus    # milvus-lite beside FAISS flat
options: --documents N --model M --output FILE.json

For figures of one core set OMP_NUM_THREADS=1.
"""

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
Table = list[dict[str, Any]]


# --- stages: seconds and bytes on one core ------------------------------------------------------------------------


def stages(documents: int, model: str) -> Table:
    """What reading, tokenizing, encoding, writing and indexing cost, per million documents of Cranfield's length."""
    from debater_search import Encoder
    from debater_search.indexing import store_documents
    from debater_search.indexing.building import index
    from debater_search.search import SearchEngine
    from debater_search.store.embedding_writer import EmbeddingWriter
    from debater_search.store.manifest import EMBEDDINGS_NAME
    from debater_search.vectors import VectorSettings

    abstracts = [json.loads(line) for line in _lines(ROOT / "data" / "cranfield")]
    rows: Table = []
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.jsonl"
        with corpus.open("w", encoding="utf-8") as file:
            for number, row in zip(range(documents), itertools.cycle(abstracts), strict=False):
                file.write(json.dumps({**row, "_id": f"{number}"}) + "\n")
        folder = Path(scratch) / "index"
        stored, seconds = timed(lambda: store_documents(corpus, folder))
        rows.append(_per_million("read, words", seconds, documents, (folder / "documents.sqlite").stat().st_size))
        encoder = Encoder.load(model, device="cpu")
        texts = [f"{row.get('title', '')} {row['text']}" for row in abstracts]
        _, seconds = timed(lambda: encoder.token_ids(texts, "document"))
        rows.append(_per_million("tokenize", seconds, len(texts), 0))
        some = texts[:200]
        _, seconds = timed(lambda: encoder.encode_documents(some))
        rows.append(_per_million("encode", seconds, len(some), 0))
        random = np.random.default_rng(0)
        writer = EmbeddingWriter(folder / EMBEDDINGS_NAME, encoder.dim)
        ids = [f"{number}" for number in range(documents)]

        def write() -> list[Any]:
            made = []
            for number, start in enumerate(range(0, documents, 1000)):
                part = ids[start : start + 1000]
                vectors = random.standard_normal((len(part), encoder.dim)).astype(np.float32)
                made.append(writer.write(number, part, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
            return made

        shards, seconds = timed(write)
        size = sum(path.stat().st_size for path in (folder / EMBEDDINGS_NAME).glob("*.parquet"))
        rows.append(_per_million("write", seconds, documents, size))
        from debater_search.identity import EncoderInfo

        store = writer.finish(shards, EncoderInfo.of(encoder), stored.corpus)
        for type in ("flat", "ivf"):
            _, seconds = timed(lambda type=type: index(stored, store, VectorSettings(type)))
            size = sum(path.stat().st_size for path in (folder / "vectors").iterdir())
            rows.append(_per_million(f"index, {type}", seconds, documents, size))
            engine = SearchEngine.open(folder, encoder=encoder)
            queries = random.standard_normal((50, encoder.dim)).astype(np.float32)
            engine.search(queries[0], 10)
            took = [timed(lambda engine=engine, query=query: engine.search(query, 10))[1] for query in queries]
            rows.append(
                {"stage": f"search, {type}", "median ms at this size": round(1000 * statistics.median(took), 2)}
            )
            engine.close()
        rows.append({"stage": "memory", "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000})
    return rows


def _per_million(stage: str, seconds: float, documents: int, size: int) -> dict[str, Any]:
    scale = 1e6 / documents
    return {
        "stage": stage,
        "core seconds per million": round(seconds * scale),
        "GB per million": round(size * scale / 1e9, 2),
    }


# --- ray and milvus beside what one machine does ------------------------------------------------------------------


def ray(documents: int, model: str) -> Table:
    """Seconds to encode with two workers of the pool and with two actors, starting included and apart."""
    from debater_search import Encoder
    from debater_search.indexing import build
    from debater_search.types import Document

    rows_of = [json.loads(line) for line in _lines(ROOT / "data" / "cranfield")]
    corpus = [Document(str(n), row["text"], row.get("title", "")) for n, row in enumerate(rows_of[:documents])]
    encoder = Encoder.load(model, device="cpu")
    rows = []
    for engine in ("pool", "ray"):
        with tempfile.TemporaryDirectory() as scratch:
            done = build(
                corpus, encoder, Path(scratch) / "i", engine=engine, workers=2, shard_size=100, encode_only=True
            )
            rows.append({"engine": engine, "documents": len(corpus), "seconds": round(done.seconds["encode"], 1)})
    rows[1]["documents/s relative to the pool"] = round(rows[0]["seconds"] / rows[1]["seconds"], 2)
    return rows


def milvus(documents: int) -> Table:
    """Recall@10 against exact search and the median time of a query, without a filter and with narrow ones."""
    from debater_search.vectors import Selection, VectorSettings, backend

    random = np.random.default_rng(0)
    vectors = random.standard_normal((documents, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = random.standard_normal((50, 384)).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, type in (("faiss", "flat"), ("milvus", "flat"), ("milvus", "hnsw")):
            folder = Path(scratch) / f"{name}-{type}"
            folder.mkdir()
            uri = str(Path(scratch) / f"{type}.db") if name == "milvus" else None
            keeper = backend(name)
            record, seconds = timed(
                lambda k=keeper, f=folder, t=type, u=uri: k.build(
                    f, np.array_split(vectors, 20), 384, VectorSettings(t, uri=u), 0
                )
            )
            index = keeper.open(folder, record)
            for share in (1.0, 0.75, 0.1, 0.01, 0.001):
                chosen = None
                if share < 1:
                    chosen = np.sort(random.choice(documents, max(10, int(share * documents)), replace=False))
                within = None if chosen is None else Selection(chosen.astype(np.int64))
                allowed = np.arange(documents) if chosen is None else chosen
                exact = allowed[np.argsort(-(queries @ vectors[allowed].T), axis=1, kind="stable")[:, :10]]
                index.search(queries[:1], 10, within)
                found, took = [], []
                for query in queries:
                    (_, positions), seconds_of = timed(lambda i=index, q=query, w=within: i.search(q[None], 10, w))
                    found.append(positions[0])
                    took.append(seconds_of)
                hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True))
                rows.append(
                    {
                        "backend": f"{name} {type}",
                        "vectors": documents,
                        "build s": round(seconds, 1),
                        "allowed": f"{share:.1%}",
                        "recall@10": round(hits / exact.size, 3),
                        "p50 ms": round(1000 * statistics.median(took), 2),
                    }
                )
    return rows


# --- output -------------------------------------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _lines(folder: Path) -> Iterator[str]:
    with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
        yield from file


def show(rows: Table) -> None:
    for row in rows:
        print("| " + " | ".join(f"{value}" for value in row.values()) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["stages", "ray", "milvus"])
    parser.add_argument("--documents", type=int)
    parser.add_argument("--model", default="debater-small")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    if asked.part == "milvus":
        rows = milvus(asked.documents or 20_000)
    else:
        rows = {"stages": stages, "ray": ray}[asked.part](
            asked.documents or {"stages": 50_000, "ray": 800}[asked.part], asked.model
        )
    print("| " + " | ".join(dict.fromkeys(name for row in rows for name in row)) + " |")
    show(rows)
    if asked.output:
        asked.output.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
