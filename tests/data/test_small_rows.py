"""How debater-small's training rows are drawn and packed."""

import gzip
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from debater_search.data import open_training_set

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("small_rows", DATA / "small.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(DATA)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROWS", {"topics": 3, "scored": 2})
    return module


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_are_drawn_alike_each_time_and_their_answers_are_a_corpus(small: ModuleType, tmp_path: Path) -> None:
    rows = [{"query": f"q{n}", "positive": f"text {n % 4}", "negative": "other"} for n in range(9)]
    for name in small.ROWS:
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
    for folder in ("first", "second"):
        small.draw(tmp_path, tmp_path / folder)
    drawn = lines(tmp_path / "first" / "rows" / "topics.jsonl")
    assert drawn == lines(tmp_path / "second" / "rows" / "topics.jsonl")
    assert len(drawn) == 3
    assert all(row.keys() == {"query", "positive"} for row in drawn)
    texts = lines(tmp_path / "first" / "texts" / "topics.jsonl")
    assert [row["text"] for row in texts] == list(dict.fromkeys(row["positive"] for row in drawn))


def test_packed_rows_keep_a_cross_encoders_scores_and_not_the_miners(small: ModuleType, tmp_path: Path) -> None:
    row = {"query": "q", "positive": ["yes"], "negative": ["no"], "positive_scores": [0.5], "negative_scores": [0.25]}
    for folder, names in (("mined", ("topics", "scored")), ("scored", ("scored",))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    small.pack(tmp_path / "mined", tmp_path / "scored", tmp_path / "out")
    topics, scored = (open_training_set(tmp_path / "out" / f"{name}.jsonl.zst") for name in ("topics", "scored"))
    assert (topics.scored, scored.scored) == (False, True)
    assert topics.example(0).negatives == scored.example(0).negatives == ("no",)
