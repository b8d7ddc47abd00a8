"""Hostile input: what readers, filters, configs, manifests, queries and the API do with mutated inputs.

Each input ends in success or in a DebaterError, within seconds.
"""

import errno
import gzip
import json
import signal
import string
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from debater_search.cli.mine import read_window
from debater_search.cli.options import Mode
from debater_search.cli.prompt import obey
from debater_search.config import load_settings
from debater_search.data import open_training_set, read_corpus, read_qrels, read_queries, read_run
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import DebaterError
from debater_search.evaluation.results import read_results
from debater_search.indexing import build
from debater_search.inputs import as_documents, as_queries, as_texts
from debater_search.search import SearchEngine
from debater_search.store.manifest import EmbeddingsManifest, EncodingJob, IndexManifest, read_manifest
from debater_search.training.config_file import load_config
from debater_search.training.settings import TrainingSettings
from debater_search.vectors.faiss.planner import parse_memory
from tests.campaign.kills import CORPUS, save_task
from tests.campaign.trials import Outcome, child
from tests.fakes import FakeEncoder

BATCH = 250
LIMIT = 10  # seconds for one input
NASTY = [
    b"", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b" ", b'"', b"'", b"\\", b"{", b"}", b"[", b"]",
    b",", b":", b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"0x1", b"true", b"\xef\xbb\xbf",
    b"\\ud800", b"\x1b[31m",
    b"!!bool x", b"!!python/object:os.system x", b"&a [*a]", b"<<: *a", b"..", b"/", b"%s", b"$x", b"--",
    b"9" * 30, b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"(" * 300, b"not " * 300, "é".encode(), "\u202e".encode(),
    "\U0001f600".encode(), "ﷺ".encode(), b"2020-13-45", b"12:60:99", b"!!timestamp 2020-99-99", b"=", b"~", b"| ",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 10**30, 10**5000, 0.1, float("nan"), float("inf"), "", " ", "\x00", "\ud800",
    "x" * 100_000, [], [None], [[]], {}, {"": None}, {"a": {"b": {"c": []}}}, b"bytes", (1, 2), {1, 2}, object(),
    "1.0", "NaN", "\u2028",
]  # fmt: skip
Target = Callable[[bytes, Random], object]


class Fuzz:
    """See the module."""

    name, target = "fuzz", 100_000

    def prepare(self, place: Path) -> None:
        """An index to search, sound inputs to begin with, and the targets."""
        build(CORPUS, FakeEncoder(), place / "index")
        save_task(place / "task")
        self._engine = SearchEngine.open(place / "index", encoder=FakeEncoder())
        self._targets = {**_files(place), **_texts(self._engine), **_objects()}

    def trial(self, random: Random, place: Path) -> Outcome:
        """Mutate the sound inputs of one target BATCH times."""
        name = random.choice(sorted(self._targets))
        seeds, take = self._targets[name]

        def work() -> str | None:
            signal.signal(signal.SIGALRM, _too_long)
            for _ in range(BATCH):
                given = mutated(random.choice(seeds), seeds, random)
                signal.alarm(LIMIT)
                try:
                    take(place, given, random)
                except DebaterError:
                    pass
                except OSError as error:  # which the command line words
                    if error.errno != errno.ENAMETOOLONG:
                        raise
                except Exception:
                    return f"{given[:300]!r}: {traceback.format_exc(limit=-6)[-1500:]}"
                finally:
                    signal.alarm(0)
            return None

        ended = child(work, patience=600)
        return Outcome(name, ended.value or ended.refused or ended.failure, BATCH)


def mutated(content: bytes, others: list[bytes], random: Random) -> bytes:
    """The content with one to five changes."""
    for _ in range(random.choice([1, 1, 1, 2, 3, 5])):
        start = random.randrange(len(content) + 1)
        end = min(len(content), start + random.choice([0, 1, 2, 8, 40]))
        kind = random.randrange(6)
        if kind == 0:
            content = content[:start] + random.choice(NASTY) + content[end:]
        elif kind == 1:
            content = content[:start] + random.randbytes(random.randint(1, 4)) + content[end:]
        elif kind == 2:
            content = content[:start] + content[end:]
        elif kind == 3:
            content = content[:end] + content[start:]
        elif kind == 4:
            other = random.choice(others)
            content = content[:start] + other[random.randrange(len(other) + 1) :]
        else:
            content = content[:start] + random.choice(string.printable).encode() + content[end:]
    return content


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT} s")


def _files(place: Path) -> dict[str, Any]:
    """Readers of files, by what they read."""
    task, index = place / "task", place / "index"
    corpus = b"".join((task / "corpus.jsonl").read_bytes().splitlines(keepends=True)[:4])
    corpus += b'{"id": 5, "contents": "x", "metadata": {"year": 2020, "tags": ["a"]}, "specs": {"weight": 1.5}}\n'
    table = b'_id,title,text,year\n1,"a ""b""",wing,2020\n2,,"two\nlines",\n'
    qrels = [
        (task / "qrels" / "test.tsv").read_bytes(),
        b"q1 0 d1 1\nq2 0 d2 0\n",
        b"score,query-id,corpus-id\n1,a,b\n",
    ]
    rows = b'{"query": "q", "positive": ["p"], "negative": ["n", "m"]}\n{"query": "q", "pos": "p", "label": 1}\n'
    config = (
        b"model: m\ndata:\n  - path: a.jsonl\n    weight: 2\nloss: {scale: 20}\noutput: o\nlora: null\nmax_steps: 5\n"
    )
    released = b'{"model_name_or_path": "m", "dataset_file_path": "d", "max_steps": 5, "lora_r": 8}'
    spec = (
        b'{"format": 2, "template": {"prefix": [], "query_prompt": ""}, "query_pooling": "mean", "thinking_steps": 1}'
    )
    results = b'{"results": [{"task": "t", "model": "m", "metrics": {"ndcg@10": 0.5}, "queries": 3}]}'
    one = [corpus]
    return {
        "corpus.jsonl": (one, _file("c.jsonl", lambda path: list(read_corpus(path)))),
        "corpus.jsonl.gz": ([gzip.compress(corpus)], _file("c.jsonl.gz", lambda path: list(read_corpus(path)))),
        "corpus.csv": ([table], _file("c.csv", lambda path: list(read_corpus(path)))),
        "corpus.tsv": ([table.replace(b",", b"\t")], _file("c.tsv", lambda path: list(read_corpus(path)))),
        "corpus.parquet": ([_parquet(place)], _file("c.parquet", lambda path: list(read_corpus(path)))),
        "corpus.md": (
            [b"---\ntitle: x\ndate: 2020-01-01\ntags: [a]\n---\n# H\ntext\n"],
            _file("c/c.md", _parents_corpus),
        ),
        "queries": ([(task / "queries.jsonl").read_bytes()], _file("q.jsonl", read_queries)),
        "qrels": (qrels, _file("q.tsv", read_qrels)),
        "run": ([b"q1 Q0 d1 1 9.5 x\nq1 Q0 d2 2 9.25 x\nq2 Q0 d1 1 1e3 x\n"], _file("r.trec", read_run)),
        "training rows": ([rows], _file("t.jsonl", _all_examples)),
        "config.yaml": ([config], _file("t.yaml", load_config)),
        "config.json": ([released, json.dumps({"model": "m", "data": [{"path": "a"}], "output": "o"}).encode()],
                        _file("t.json", load_config)),
        "manifest": ([(index / "manifest.json").read_bytes()],
                     _file("manifest.json", lambda path: read_manifest(path, IndexManifest).contradiction())),
        "embeddings manifest": ([(index / "embeddings" / "manifest.json").read_bytes()],
                                _file("manifest.json", lambda path: read_manifest(path, EmbeddingsManifest))),
        "job": ([(index / "embeddings" / "job.json").read_bytes()],
                _file("job.json", lambda path: read_manifest(path, EncodingJob))),
        "debater.json": ([spec], _file("debater.json", lambda path: EncoderSpec.from_dict(read_json(path)))),
        "results.json": ([results], _file("results.json", lambda path: read_results(path.parent))),
    }  # fmt: skip


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes, Random], object]:
    def take(place: Path, given: bytes, random: Random) -> object:
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(given)
        return read(path)

    return take


def _parents_corpus(path: Path) -> object:
    return list(read_corpus(path.parent))


def _all_examples(path: Path) -> object:
    opened = open_training_set(path)
    return [opened.example(row) for row in range(len(opened))]


def _parquet(place: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"_id": ["1", "2"], "text": ["wing", "flutter"], "year": [1, 2]}), place / "c.parquet")
    return (place / "c.parquet").read_bytes()


def _texts(engine: SearchEngine) -> dict[str, Any]:
    """What people type."""

    class Nothing:
        k, mode = 10, Mode.lexical

        def restrict(self, where: str | None) -> None:
            engine.check(where=where)

        def answer(self, query: str) -> None:
            engine.answer(query, 5, mode="lexical")

        def answer_like(self, id: str) -> None:
            engine.more_like(id, 5)

    filters = [
        b"year >= 20 and not title = 'Title 3'", b"year in (1, 2, 3) or `year` is missing",
        b"id != 'd1' and (year < 5)",
        b"title = \"Title 7\" or [year] not in (4)", b"year = 1e3 and title is not missing",
    ]  # fmt: skip
    lines = [b":k 20", b":mode lexical", b":where year > 20", b":like d3", b":where", b"wing"]
    return {
        "filter": (filters, _text(lambda text: engine.search("wing", 5, mode="lexical", where=text))),
        "query, lexical": ([b"unique3. AND wing OR title:x* NEAR(a b)"],
                           _text(lambda t: engine.answer(t, mode="lexical"))),
        "query, hybrid": ([b"the wing of aircraft"], _text(lambda text: engine.answer(text, 5, mode="hybrid"))),
        "prompt": (lines, _text(lambda text: obey(text, Nothing()) if text.startswith(":") else None)),
        "window": ([b"1:100", b"10:20"], _text(read_window)),
        "memory": ([b"4GB", b"1.5 G", b"500"], _text(parse_memory)),
        "override": ([b"learning_rate=1e-4", b"data.0.weight=2", b"loss={scale: 3}"],
                     _text(lambda text: load_settings(TrainingSettings, None, [text]))),
    }  # fmt: skip


def _text(take_text: Callable[[str], object]) -> Callable[[Path, bytes, Random], object]:
    return lambda place, given, random: take_text(given.decode("utf-8", random.choice(["replace", "surrogateescape"])))


def _objects() -> dict[str, Any]:
    """What programs give."""

    def take(_: Path, given: bytes, random: Random) -> object:
        made = [_object(random, 3) for _ in range(random.randint(0, 3))]
        item = made if random.random() < 0.7 else _object(random, 3)
        return [list(as_documents(item)), as_queries(item), as_texts(item)][random.randrange(3)]

    return {"Python objects": ([b""], take)}


def _object(random: Random, depth: int) -> Any:
    if depth == 0 or random.random() < 0.2:
        return random.choice(VALUES)
    fields = ["id", "_id", "text", "title", "contents", "query", "metadata", "year"]
    return {name: _object(random, depth - 1) for name in random.sample(fields, random.randint(0, 5))}
