"""Rows of other tools: labelled pairs, negatives under other names, instructions of rows; nothing is dropped unsaid."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from debater_search.data import TrainingSet, open_training_set, read_training_examples
from debater_search.errors import DebaterError
from debater_search.types import TrainingExample

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def jsonl(path: Path, *rows: Row) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def examples(rows: TrainingSet) -> list[TrainingExample]:
    return [rows.example(row) for row in range(len(rows))]


def read(tmp_path: Path, *rows: Row) -> list[TrainingExample]:
    """The rows as the trainer reads them, which is as the streaming reader does."""
    path = jsonl(tmp_path / "set.jsonl", *rows)
    found = examples(open_training_set(path))
    assert list(read_training_examples(path)) == found
    return found


def pairs(*labels: Any, name: str = "label") -> list[Row]:
    return [{"query": "q", "answer": f"t{n}", name: label} for n, label in enumerate(labels)]


@pytest.mark.parametrize("name", ["label", "labels", "score", "relevance"])
@pytest.mark.parametrize(
    ("yes", "no"), [(1, 0), (1.0, 0.0), ("1", "0"), (True, False), (1, -1), ("true", "False"), ("1.0", "0.0")]
)
def test_a_pair_with_label_0_is_a_negative_of_its_query(tmp_path: Path, name: str, yes: object, no: object) -> None:
    assert read(tmp_path, *pairs(no, yes, no, name=name)) == [TrainingExample("q", "t1", ("t0", "t2"), "set")]


@pytest.mark.parametrize(
    ("yes", "no"),
    [("yes", "no"), ("Relevant", "not relevant"), ("entailment", "not_entailment"), ("positive", "negative")],
)
def test_labels_may_be_words(tmp_path: Path, yes: str, no: str) -> None:
    assert read(tmp_path, *pairs(yes, no)) == [TrainingExample("q", "t0", ("t1",), "set")]


def test_negatives_join_every_positive_of_their_query_and_no_other(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "positive": "a", "label": 1},
        {"query": "r", "positive": "z", "label": 0},
        {"query": "q", "positive": "n", "label": 0},
        {"query": "q", "positive": "b", "label": 1, "negative": ["own"]},
        {"query": "r", "positive": "c", "label": 1},
        {"query": "q", "positive": "b", "label": 0},
    ]
    expected = [
        TrainingExample("q", "a", ("n",), "set"),
        TrainingExample("q", "b", ("own", "n"), "set"),
        TrainingExample("r", "c", ("z",), "set"),
    ]
    assert read(tmp_path, *rows) == expected
    opened = open_training_set(tmp_path / "set.jsonl")
    assert [opened.place(row).rpartition(", ")[2] for row in range(3)] == ["line 1", "line 4", "line 5"]
    assert examples(open_training_set(jsonl(tmp_path / "set.jsonl.gz", *rows))) == expected


def test_labels_of_tables(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("query,positive,label\nq,a,1\nq,b,0\nr,c,1\n", encoding="utf-8")
    expected = [TrainingExample("q", "a", ("b",), "set"), TrainingExample("r", "c", (), "set")]
    opened = open_training_set(tmp_path / "set.csv")
    assert examples(opened) == list(read_training_examples(tmp_path / "set.csv")) == expected
    assert opened.place(1) == f"{tmp_path}/set.csv, line 4"
    columns = {"query": ["q", "q", "r"], "positive": ["a", "b", "c"], "label": [True, False, True]}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    assert examples(open_training_set(tmp_path / "set.parquet")) == expected


def test_a_list_of_labels_parts_the_texts(tmp_path: Path) -> None:
    row = {"query": "q", "positive": ["a", "b", "c"], "labels": [0, 1, 0]}
    assert read(tmp_path, row) == [TrainingExample("q", "b", ("a", "c"), "set")]


def test_scores_of_a_tuple_are_a_teachers(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m", "score": [9.5, 1.5, 0.5]}
    assert read(tmp_path, row) == [TrainingExample("q", "p", ("n", "m"), "set", 9.5, (1.5, 0.5))]


def test_a_margin_of_a_triple_is_no_label(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p", "negative": "n", "label": 3.7}
    assert read(tmp_path, row) == [TrainingExample("q", "p", ("n",), "set")]


def test_the_name_of_a_class_and_a_missing_label_say_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, *pairs("sports", None, float("nan"))) == [
        TrainingExample("q", f"t{n}", (), "set") for n in range(3)
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pairs(0), "the field label is 0, so the row is a negative"),
        (pairs(1, 0.7), "the field label is 0.7, which does not say"),
        (pairs(1, 2), "the field label is 2, which does not say"),
        (pairs(4.5, name="score"), "the field score is 4.5, which does not say"),
        (pairs("0"), "the field label is '0'"),
        ([{"query": "q", "positive": ["a", "b"], "labels": [0, 0]}], r"the field labels is \[0, 0\]"),
        ([{"query": "q", "positive": ["a", "b"], "labels": [1]}], "the field labels holds 1 labels for 2 texts"),
        ([{"query": "q", "positive": "p", "negative": "n", "label": 0}], "the field label is 0"),
    ],
)
def test_a_label_that_leaves_no_positive_names_its_field(tmp_path: Path, rows: list[Row], message: str) -> None:
    path = jsonl(tmp_path / "set.jsonl", *rows)
    with pytest.raises(DebaterError, match=message):
        open_training_set(path)
    with pytest.raises(DebaterError, match=message):
        list(read_training_examples(path))


def test_a_negative_far_down_a_set_without_labels_is_no_positive(tmp_path: Path) -> None:
    rows = [{"query": f"q{n}", "positive": "p"} for n in range(150)]
    path = jsonl(tmp_path / "set.jsonl", *rows, {"query": "q0", "positive": "n", "label": 0})
    with pytest.raises(DebaterError, match="line 151: the field label is 0"):
        open_training_set(path)
    assert len(open_training_set(path, max_bad=1)) == 150


def test_bad_lines_of_a_labelled_set_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    lines = [
        *(json.dumps(row) for row in pairs(1, 0)),
        "{",
        '{"query": "q"}',
        "[" * 100_000,
        '{"query": "q", "answer": 3}',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    rows = open_training_set(path, max_bad=4)
    assert examples(rows) == [TrainingExample("q", "t0", ("t1",), "set")]
    assert rows.bad.first[0].startswith(f"{path}, line 3: this is not JSON")


@pytest.mark.parametrize(
    ("fields", "negatives"),
    [
        ({"negatives": ["n1", "n2"]}, ("n1", "n2")),
        ({"hard_negatives": ["n1"]}, ("n1",)),
        ({"hard_negative": "n1"}, ("n1",)),
        ({"negs": ["n1"]}, ("n1",)),
        ({"negative_1": "n1", "negative_2": "n2"}, ("n1", "n2")),
        ({"negative_10": "n10", "negative_9": "n9", "negative_0": "n0"}, ("n0", "n9", "n10")),
        ({"neg_1": "n1", "neg_2": "n2"}, ("n1", "n2")),
        ({"negative1": "n1", "neg2": "n2", "hard_negative_3": "n3", "hard_neg_4": "n4"}, ("n1", "n2", "n3", "n4")),
        ({"negative_1": "n1", "negative_2": None}, ("n1",)),
        ({"negative": "n0", "negative_1": "n1", "neg": ["n0", "n2"]}, ("n0", "n2", "n1")),
        ({"negatives": ["n1"], "hard_negatives": ["n2"]}, ("n1", "n2")),
        ({"negative_passages": [{"title": "T", "text": "n1"}]}, ("T n1",)),
    ],
)
def test_negatives_are_read_under_every_usual_name(
    tmp_path: Path, fields: dict[str, Any], negatives: tuple[str, ...]
) -> None:
    assert read(tmp_path, {"anchor": "q", "positive": "p", **fields}) == [TrainingExample("q", "p", negatives, "set")]
    columns = {name: [value] for name, value in {"anchor": "q", "positive": "p", **fields}.items()}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    assert examples(open_training_set(tmp_path / "set.parquet"))[0].negatives == negatives


def test_contexts_of_dpr_are_read(tmp_path: Path) -> None:
    row = {
        "question": "q",
        "answers": ["short"],
        "positive_ctxs": [{"title": "T", "text": "p", "score": 1000, "passage_id": "7"}],
        "hard_negative_ctxs": [{"title": "H", "text": "h"}],
        "negative_ctxs": [{"title": "", "text": "n"}],
    }
    assert read(tmp_path, row) == [TrainingExample("q", "T p", ("H h", "n"), "set")]
    assert open_training_set(tmp_path / "set.jsonl").ignored == ("answers",)


@pytest.mark.parametrize(
    ("fields", "instruction"),
    [
        ({"prompt": "Represent this: "}, "Represent this:"),
        ({"instruction": "Find:"}, "Find:"),
        ({"prompt": ""}, ""),
        ({"prompt": None}, None),
        ({}, None),
    ],
)
def test_a_row_may_have_its_own_instruction(tmp_path: Path, fields: Row, instruction: str | None) -> None:
    [example] = read(tmp_path, {"query": "q", "pos": ["p"], **fields})
    assert example.instruction == instruction


def test_an_instruction_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="the field prompt is not a string"):
        read(tmp_path, {"query": "q", "pos": ["p"], "prompt": 3})


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet", ".csv"])
def test_fields_that_are_not_read_are_named(tmp_path: Path, suffix: str) -> None:
    rows: list[Row] = [{"query": "q", "positive": "p", "negative_1": "n", "type": "x", "neg_id": "3"}]
    path = tmp_path / f"set{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        path.write_text("query,positive,negative_1,type,neg_id\nq,p,n,x,3\n", encoding="utf-8")
    else:
        jsonl(path, *rows)
    found = open_training_set(path)
    assert found.ignored == ("type", "neg_id")
    assert found.with_negatives == 1
    assert open_training_set(path).ignored == ("type", "neg_id")
