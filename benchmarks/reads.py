"""Count what stages read and write: a corpus, databases, vector indexes, shards.

    python benchmarks/reads.py eval         # debater eval DIR --output O --baseline bm25, on 200 documents of Cranfield
    python benchmarks/reads.py train 3      # three steps with a measurement after each; a model of 3 thinking steps

The corpus is counted by path, so that other files read as documents do not count. Runs on any version since 0.1: names
that a version does not have are left out.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

CRANFIELD = Path(__file__).parents[1] / "data" / "cranfield"
DOCUMENTS = 200
COUNTED = {
    "databases written": ["store.documents:new_database", "store.corpus:new_database"],
    "vector indexes built": ["vectors:build_index", "vectors.faiss.backend:FaissBackend.build"],
    "vector searches": ["vectors.faiss:FaissIndex.search", "vectors.faiss.index:FaissIndex.search"],
    "shards written": ["store.embedding_writer:write_shard"],
    "shards parsed": ["store.embeddings:read_shard"],
    "shards hashed in a read of their own": ["store.embeddings:sha256_file"],
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="debater-reads-") as folder:
        count_in(Path(folder))


def count_in(place: Path) -> None:
    os.environ |= {"XDG_CACHE_HOME": str(place / "cache"), "HF_HUB_OFFLINE": "1"}
    task = small_task(place / "task")
    counts: Counter[str] = Counter()
    count_reads(task, counts)
    for label, names in COUNTED.items():
        for name in names:
            count_calls(name, label, counts)
    if sys.argv[1:2] == ["eval"]:
        evaluate(task, place)
    else:
        train(task, place, int(sys.argv[2]))
    for label in ("corpus reads", *COUNTED):
        print(f"{label:38} {counts[label]}")


def small_task(folder: Path) -> Path:
    """The first documents of Cranfield, with all queries and judgements."""
    (folder / "qrels").mkdir(parents=True)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_bytes((CRANFIELD / name).read_bytes())
    lines = (CRANFIELD / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "corpus.jsonl").write_text("".join(lines[:DOCUMENTS]), encoding="utf-8")
    return folder


def count_reads(task: Path, counts: Counter[str]) -> None:
    from debater_search.data.corpus import CorpusReader

    plain = CorpusReader.__iter__

    def read(self: CorpusReader) -> Iterator[Any]:
        counts["corpus reads"] += Path(self.path) == task
        return plain(self)

    CorpusReader.__iter__ = read  # type: ignore[method-assign]


def count_calls(name: str, label: str, counts: Counter[str]) -> None:
    """Count the calls of a function, `module:function` or `module:Class.method`, in whatever module holds it."""
    module, _, path = name.partition(":")
    try:
        owner: Any = import_module(f"debater_search.{module}")
        *classes, function = path.split(".")
        for part in classes:
            owner = getattr(owner, part)
        plain = getattr(owner, function)
    except (ImportError, AttributeError):
        return
    if hasattr(plain, "counted"):
        return
    setattr(owner, function, counting(plain, label, counts))


def counting(plain: Callable[..., Any], label: str, counts: Counter[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        counts[label] += 1
        return plain(*arguments, **options)

    call.counted = True  # type: ignore[attr-defined]
    return call


def evaluate(task: Path, place: Path) -> None:
    from debater_search.cli import main as debater

    if debater(["eval", str(task), "--output", str(place / "results"), "--baseline", "bm25"]):
        sys.exit("The evaluation failed.")


def train(task: Path, place: Path, steps: int) -> None:
    from debater_search.training import train as run
    from debater_search.training.settings import TrainingSettings

    rows = [json.loads(line) for line in (task / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:64]]
    examples = [{"query": row["title"], "positive": row["text"]} for row in rows]
    (place / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in examples), encoding="utf-8")
    settings = {
        "model": "minilm",
        "thinking_steps": steps,
        "data": [{"path": str(place / "rows.jsonl")}],
        "batch_size": 8,
        "max_steps": 3,
        "max_length": {"query": 16, "document": 32},
        "eval": {"task": str(task), "every": 1},
        "output": str(place / "checkpoint"),
    }
    folder = run(TrainingSettings.model_validate(settings))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    print("ndcg@10", [row["ndcg@10"] for row in rows if "ndcg@10" in row])


if __name__ == "__main__":
    main()
