"""One small file of each shape that people have training data in: sentence-transformers', BGE's, Tevatron's, …"""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from debater_search.data import TrainingSet, open_training_set, read_training_examples
from debater_search.errors import DebaterError

Expected = list[tuple[str, str, tuple[str, ...]]]

STALL, DRAG = "what makes a wing stall", "what is induced drag"
LIFT, VORTEX, RIB, PAINT = "too large an angle", "drag of the tip vortices", "a rib holds the skin", "paint protects"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(path: Path) -> TrainingSet:
    """The set as the trainer reads it, which is as the streaming reader does."""
    rows = open_training_set(path)
    assert [rows.example(row) for row in range(len(rows))] == list(read_training_examples(path))
    return rows


def texts(rows: TrainingSet) -> Expected:
    found = [rows.example(row) for row in range(len(rows))]
    return [(example.query, example.positive, example.negatives) for example in found]


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (f"anchor,positive\n{STALL},{LIFT}\n{DRAG},{VORTEX}\n", [(STALL, LIFT, ()), (DRAG, VORTEX, ())]),
        (f"anchor,positive,negative\n{STALL},{LIFT},{RIB}\n", [(STALL, LIFT, (RIB,))]),
        (f"anchor,positive,negative_1,negative_2\n{STALL},{LIFT},{RIB},{PAINT}\n", [(STALL, LIFT, (RIB, PAINT))]),
        (f"sentence1,sentence2,label\n{STALL},{LIFT},1\n{STALL},{RIB},0\n", [(STALL, LIFT, (RIB,))]),
        (f"sentence1,sentence2,score\n{STALL},{LIFT},1.0\n{STALL},{RIB},0.0\n", [(STALL, LIFT, (RIB,))]),
        (f"sentence1,sentence2,similarity\n{STALL},{RIB},0\n{STALL},{LIFT},1\n", [(STALL, LIFT, (RIB,))]),
        (f"query,passage,label\n{STALL},{RIB},0\n{STALL},{LIFT},1\n", [(STALL, LIFT, (RIB,))]),
        (f"query,document,relevance\n{STALL},{LIFT},2\n{STALL},{RIB},0\n", [(STALL, LIFT, (RIB,))]),
        (f"query,text,relevance\n{STALL},{LIFT},1\n{STALL},{RIB},0\n", [(STALL, LIFT, (RIB,))]),
    ],
)
def test_tables_of_pairs_triplets_and_labelled_pairs(tmp_path: Path, table: str, expected: Expected) -> None:
    (tmp_path / "set.csv").write_text(table, encoding="utf-8")
    assert texts(opened(tmp_path / "set.csv")) == expected


def test_rows_of_bge_have_lists_scores_and_a_prompt(tmp_path: Path) -> None:
    row = {"query": STALL, "pos": [LIFT], "neg": [RIB, PAINT], "pos_scores": [0.9], "neg_scores": [0.2, 0.1]}
    row |= {"prompt": "Represent this sentence for searching relevant passages:", "type": "normal"}
    rows = opened(jsonl(tmp_path / "set.jsonl", row))
    assert texts(rows) == [(STALL, LIFT, (RIB, PAINT))]
    assert rows.example(0).instruction == "Represent this sentence for searching relevant passages:"
    assert (rows.example(0).positive_score, rows.ignored) == (0.9, ("type",))


def test_rows_of_tevatron_have_passages_with_titles(tmp_path: Path) -> None:
    passage = {"docid": "7", "title": "Stall", "text": LIFT}
    row = {"query_id": "1", "query": STALL, "positive_passages": [passage]}
    row |= {"negative_passages": [{"docid": "8", "title": "", "text": RIB}]}
    assert texts(opened(jsonl(tmp_path / "set.jsonl", row))) == [(STALL, f"Stall {LIFT}", (RIB,))]


def test_rows_of_instructor_have_an_instruction_before_each_text(tmp_path: Path) -> None:
    lead, other = "Represent the aeronautics question for retrieving documents: ", "Represent the document: "
    row = {"query": [lead, STALL], "pos": [other, LIFT], "neg": [other, RIB], "task_name": "aero"}
    rows = opened(jsonl(tmp_path / "set.jsonl", row))
    assert texts(rows) == [(STALL, LIFT, (RIB,))]
    assert rows.example(0).instruction == lead.strip()
    assert rows.ignored == ("task_name", "instructions of pos", "instructions of neg")


def test_rows_of_gritlm_have_lists_of_such_pairs(tmp_path: Path) -> None:
    row = {"query": ["Find what explains it", STALL], "pos": [["", LIFT]], "neg": [["", RIB], ["", PAINT]]}
    rows = opened(jsonl(tmp_path / "set.jsonl", row))
    assert texts(rows) == [(STALL, LIFT, (RIB, PAINT))]
    assert (rows.example(0).instruction, rows.ignored) == ("Find what explains it", ())


def test_two_queries_with_two_positives_are_no_instructions(tmp_path: Path) -> None:
    row = {"query": ["wing stall", STALL], "positive": [LIFT, VORTEX]}
    rows = opened(jsonl(tmp_path / "set.jsonl", row))
    assert [rows.example(0, pick=pick).query for pick in (0, 1)] == ["wing stall", STALL]


def test_graded_scores_are_refused_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text(f"sentence1,sentence2,score\n{STALL},{LIFT},3.8\n{STALL},{RIB},0.0\n")
    with pytest.raises(DebaterError, match=r"line 2: the field score is '3\.8', which does not say") as error:
        open_training_set(tmp_path / "set.csv")
    assert "choose a threshold and write 1 or 0" in error.value.hint
    assert "set max_bad (now 0)" in error.value.hint


def test_names_that_are_not_known_are_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text(f"premise,hypothesis,label\n{STALL},{LIFT},0\n", encoding="utf-8")
    with pytest.raises(DebaterError) as error:
        open_training_set(tmp_path / "set.csv")
    assert "Every row needs a query (query, anchor, question or sentence1)" in error.value.hint
    assert "this one has premise, hypothesis, label." in error.value.hint


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_negatives_of_queries_without_a_positive_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    path = tmp_path / f"questions{suffix}"
    rows = [(STALL, LIFT, 1), (DRAG, RIB, 0), ("why do ribs exist", PAINT, 0)]
    if suffix == ".csv":
        path.write_text("sentence1,sentence2,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    else:
        jsonl(path, *({"sentence1": a, "sentence2": b, "label": c} for a, b, c in rows))
    with caplog.at_level(logging.WARNING):
        assert texts(open_training_set(path)) == [(STALL, LIFT, ())]
    assert f"Rows of {path} that are left out: 2, whose label says that they are negatives" in caplog.text


def test_a_field_that_another_one_stands_before_is_named(tmp_path: Path) -> None:
    row = {"question": STALL, "answer": LIFT, "passage": RIB, "text": None}
    rows = opened(jsonl(tmp_path / "set.jsonl", row))
    assert (texts(rows), rows.ignored) == ([(STALL, LIFT, ())], ("passage",))
