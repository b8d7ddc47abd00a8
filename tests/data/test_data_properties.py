"""What is written reads back equal, in every format; and no bytes whatever make a reader fail in other ways."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.coerce import whole_id
from debater_search.data import (
    open_training_set,
    read_corpus,
    read_qrels,
    read_queries,
    read_run,
    read_training_examples,
    write_run,
)
from debater_search.data.rows import MISSING_CELLS
from debater_search.errors import DebaterError
from debater_search.types import Document, Query, Run, TrainingExample

ids = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda id: id not in MISSING_CELLS and whole_id(id) == id
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
    lambda text: text.strip() not in MISSING_CELLS
)
unique_ids = st.lists(ids, min_size=1, max_size=5, unique=True)
Row = dict[str, str]


def jsonl(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def delimited(rows: list[Row], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def parquet(rows: list[Row]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


WRITERS: dict[str, Callable[[list[Row]], bytes]] = {
    ".jsonl": jsonl,
    ".csv": lambda rows: delimited(rows, ","),
    ".tsv": lambda rows: delimited(rows, "\t"),
    ".parquet": parquet,
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_written_reads_back_equal(suffix: str, compression: str, data: st.DataObject) -> None:
    documents = [
        Document(id, data.draw(texts), data.draw(texts), {"note": "note " + data.draw(texts)})
        for id in data.draw(unique_ids)
    ]
    rows = [{"_id": d.id, "title": d.title, "text": d.text, "note": d.metadata["note"]} for d in documents]
    queries = [Query(id, data.draw(texts.filter(str.strip)).strip()) for id in data.draw(unique_ids)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"corpus{suffix}{compression}")
        path.write_bytes(COMPRESS[compression](WRITERS[suffix](rows)))
        assert list(read_corpus(path)) == documents
        assert list(read_corpus(folder)) == documents
        path = Path(folder, f"queries{suffix}{compression}")
        path.write_bytes(COMPRESS[compression](WRITERS[suffix]([{"id": q.id, "text": q.text} for q in queries])))
        assert read_queries(folder) == queries


@settings(max_examples=50, deadline=None)
@given(
    run=st.dictionaries(
        ids, st.dictionaries(ids, st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1), min_size=1
    )
)
def test_a_run_reads_back_equal(run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_run(run, Path(folder, "run.trec"))
        again = read_run(Path(folder, "run.trec"))
    assert {q: {d: pytest.approx(s, rel=1e-8) for d, s in found.items()} for q, found in run.items()} == again


filled = texts.map(str.strip).filter(bool)
scores = st.floats(allow_nan=False, allow_infinity=False)
scored_texts = st.lists(st.tuples(filled, scores), min_size=1, max_size=3)


@st.composite
def training_sets(draw: st.DrawFn) -> tuple[list[dict[str, object]], list[TrainingExample]]:
    """Rows in one of the shapes, and the examples that they should give (the first positive)."""
    rows: list[dict[str, object]] = []
    examples = []
    positive, negative = draw(
        st.sampled_from([("positive", "negative"), ("pos", "neg"), ("positive_passages", "negative_passages")])
    )
    for query, answers, others in draw(st.lists(st.tuples(filled, scored_texts, scored_texts), min_size=1, max_size=4)):
        kept = [(text, score) for text, score in others if text not in [answer for answer, _ in answers]]
        if not kept:
            continue
        row: dict[str, object] = {"query": query}
        for name, pairs in ((positive, answers), (negative, others)):
            passages = name.endswith("_passages")
            row[name] = [{"title": "", "text": text} if passages else text for text, _ in pairs]
            row[f"{name[:8]}_scores" if len(name) > 3 else f"{name}_scores"] = [score for _, score in pairs]
        rows.append(row)
        examples.append(
            TrainingExample(
                query, answers[0][0], tuple(text for text, _ in kept), "set", answers[0][1], tuple(s for _, s in kept)
            )
        )
    return rows, examples


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
@settings(max_examples=20, deadline=None)
@given(made=training_sets(), data=st.data())
def test_a_training_set_reads_back_equal_whatever_lies_between_its_rows(
    suffix: str, made: tuple[list[dict[str, object]], list[TrainingExample]], data: st.DataObject
) -> None:
    rows, examples = made
    junk = st.lists(st.sampled_from([b"\n", b"{}\n", b"{\n", b" \r\n"]), max_size=3).map(b"".join)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"set{suffix}")
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            encoded = (json.dumps(row).encode() + b"\n" + data.draw(junk) for row in rows)
            path.write_bytes(COMPRESS[path.suffix if path.suffix in COMPRESS else ""](b"".join(encoded)))
        if not rows:
            with pytest.raises(DebaterError, match="There are no training examples"):
                open_training_set(path, max_bad=100)
            return
        opened = open_training_set(path, max_bad=100)
        assert [opened.example(row) for row in range(len(opened))] == examples
        assert opened.scored == len(rows)


def read_training_set(path: Path) -> Iterable[object]:
    opened = open_training_set(path, max_bad=1)
    return [opened.example(row) for row in range(len(opened))]


READERS: dict[str, Callable[[Path], Iterable[object]]] = {
    "corpus": read_corpus,
    "corpus without bad rows": lambda path: read_corpus(path, skip_bad=True),
    "queries": read_queries,
    "qrels": read_qrels,
    "run": read_run,
    "training": read_training_examples,
    "training set": read_training_set,
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        "_id",
        "id",
        "text",
        "title",
        "metadata",
        "query",
        "positive",
        "negative",
        "pos",
        "neg_scores",
        "sku",
        "name",
        "body",
        "x",
    ]
)
json_lines = st.lists(st.dictionaries(names, json_values), max_size=4).map(
    lambda rows: b"\n".join(json.dumps(row).encode() for row in rows)
)
any_bytes = st.binary() | json_lines | st.text('\t\n\r, "ab1-.e_id', max_size=60).map(str.encode)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [*WRITERS, ".jsonl.gz", ".jsonl.zst", ".parquet.zst"])
@settings(max_examples=25, deadline=None)
@given(content=any_bytes, compressed=st.booleans())
def test_any_bytes_are_read_or_refused_in_words(reader: str, suffix: str, content: bytes, compressed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        path.write_bytes(COMPRESS[path.suffix](content) if compressed and path.suffix in COMPRESS else content)
        with suppress(DebaterError):
            list(READERS[reader](path))
