"""The check that nothing trained on is tested, on duplicates planted for it; and the training files that it clears."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from debater_search.data import read_corpus, read_queries, read_training_examples

ROOT = Path(__file__).parents[2]
MINI = ROOT / "data" / "mini"

DOCUMENT = (
    "Heat transfer through a laminar boundary layer was measured on a blunt cone at three angles of attack. "
    "The wall was cooled until its temperature was steady, and heat flow was read from thin gauges on the shoulder. "
    "Where the flow had separated the measured values lay below the theory for an attached layer by a third."
)
QUESTION = "What is the effect of cooling the wall on separation of a laminar boundary layer?"
OTHER = "The library opens at nine, and those who come early may wait in the hall where the old maps are on show."


@pytest.fixture(scope="module")
def overlap() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("overlap")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    folder = tmp_path / "wings"
    write_lines(
        folder / "corpus.jsonl",
        [{"_id": "d1", "text": "Sailing before the wind."}, {"_id": "d2", "title": "Cones", "text": DOCUMENT},
         {"_id": "d3", "text": ""}],
    )  # fmt: skip
    write_lines(folder / "queries.jsonl", [{"_id": "q1", "text": QUESTION}, {"_id": "q2", "text": "unjudged question"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\n")
    return folder


def findings(overlap: ModuleType, tested: Path, **texts: str) -> list[tuple[str, str, str]]:
    """What is said of one row: its field, the kind of match, and what it matches."""
    row = {"query": "Who was here?", "positive": OTHER, "negative": OTHER + " It is free."} | texts
    train = tested.parent / "train.jsonl"
    write_lines(train, [{"query": "Is it?", "positive": "It is."}, row])
    report = tested.parent / "rows.jsonl"
    overlap.main([str(train), "--tested", str(tested), "--rows", str(report)])
    found = [json.loads(line) for line in report.read_text().splitlines()]
    assert all(finding["row"] == 2 for finding in found)
    return [(finding["field"], finding["match"]["kind"], finding["match"]["id"]) for finding in found]


def words(text: str, start: int, end: int | None = None) -> str:
    return " ".join(text.split()[start:end])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, []),
        ({"query": QUESTION.upper().replace(" ", " \n ").rstrip("?")}, [("query", "same", "q1")]),
        ({"query": QUESTION.replace("effect", "influence")}, [("query", "near", "q1")]),
        ({"query": "What is the effect of tax on the price of bread?"}, []),
        ({"query": "unjudged question"}, []),
        ({"positive": "CONES: " + DOCUMENT}, [("positive", "same", "d2")]),
        ({"negative": DOCUMENT.replace("blunt", "sharp")}, [("negative", "near", "d2")]),
        ({"positive": words(DOCUMENT, 20, 40)}, [("positive", "contained", "d2")]),
        ({"positive": " ".join([DOCUMENT, *reversed(DOCUMENT.split())])}, [("positive", "contained", "d2")]),
        ({"positive": words(DOCUMENT, 20, 28) + " " + OTHER}, []),
        ({"positive": "before the wind"}, []),
        ({"query": "Sailing before the wind?"}, [("query", "same", "d1")]),
        ({"negative": "— !"}, []),
    ],
    ids=["nothing", "spelling", "a-word-of-a-query", "another-query", "unjudged", "whole", "a-word", "part", "longer",
         "few-words", "a-phrase", "query-as-document", "no-words"],
)  # fmt: skip
def test_planted_duplicates_are_found(
    overlap: ModuleType, tested: Path, texts: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    assert findings(overlap, tested, **texts) == expected


def test_similarities_are_jaccards(overlap: ModuleType) -> None:
    shingles = overlap.Shingles(2)
    shingles.hold([["a", "b", "c", "d"], ["x"], ["b", "c", "b", "c"]])
    assert list(shingles.alike(["a", "b", "c"])) == [(0, 2, 2 / 3, 1.0), (2, 1, 1 / 3, 0.5)]
    assert list(shingles.alike(["x"])) == [(1, 1, 1.0, 1.0)]
    assert list(shingles.alike([])) == []


def test_the_table_counts_rows(
    overlap: ModuleType, tested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "flights.jsonl"
    row = {"query": QUESTION, "positive": f"Cones {DOCUMENT}", "negative": [f"Cones {DOCUMENT}!", OTHER]}
    write_lines(train, [row, {"query": "another", "positive": OTHER}])
    overlap.main([str(train), "--tested", str(tested)])
    out = capsys.readouterr().out
    assert "| flights | 2 | 11 | 1 · 0 · 0 |" in out
    assert "Rows to leave out: flights 1." in out


def test_minis_training_files_share_nothing_with_what_is_held_apart(overlap: ModuleType) -> None:
    held = [MINI / "development" / name for name in ("medquad", "pubmedqa_labeled")] + [ROOT / "data" / "heldout"]
    questions = {" ".join(overlap.words_of(q.text)) for folder in held for q in read_queries(folder)}
    texts = {document.text for folder in held for document in read_corpus(folder)}
    for file in sorted((MINI / "train").iterdir()):
        for example in read_training_examples(file):
            assert " ".join(overlap.words_of(example.query)) not in questions
            assert texts.isdisjoint([example.positive, *example.negatives])
