import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import REPOSITORY, Debater


@pytest.fixture
def train(workdir: Path) -> Path:
    """Two questions; `noise` and `stall` answer them."""
    rows = [
        {"query": "are propellers loud", "positive": "Propellers are loud.", "negative": "given before"},
        {"query": "when does a wing stall", "positive": "A wing stalls at low speed. Nothing else matters here."},
    ]
    path = workdir / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_negatives_come_from_the_newest_index_with_a_report_beside_them(
    debater: Debater, train: Path, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    outcome = debater("mine", str(train), "-n", "1", "--max-share", "3")
    assert outcome.code == 0, outcome.err
    assert f"Searching {index}." in outcome.err
    assert "Mining: 2/2 queries" in outcome.err
    assert "rows       2\n" in outcome.out
    found = rows("mined/train.jsonl")
    assert [row["query"] for row in found] == ["are propellers loud", "when does a wing stall"]
    assert all(set(row) == {"query", "positive", "negative", "positive_scores", "negative_scores"} for row in found)
    assert "Propellers are loud." not in found[0]["negative"]
    assert "# Hard negatives" in Path("mined/train.md").read_text(encoding="utf-8")
    assert len(fake_model) == 1


def test_json_is_the_summary_and_nothing_else(debater: Debater, train: Path, index: Path) -> None:
    summary = debater("mine", str(train), "--index", str(index), "--output", "x.jsonl", "--json").json
    assert (summary["output"], summary["report"], summary["rows"]) == ("x.jsonl", "x.md", 2)
    assert set(summary["dropped"]) >= {"positive", "duplicate", "margin", "share", "surplus"}
    assert set(summary["scores"]) == {"positive", "negative", "gap"}
    assert sum(summary["per_row"].values()) == 2


def test_settings_reach_the_miner(debater: Debater, train: Path, index: Path) -> None:
    every = debater("mine", str(train), "--max-share", "9", "--output", "a.jsonl", "--json").json
    assert every["negatives"] == 4  # three documents, and each question's positive is one of them
    less = debater("mine", str(train), "--max-share", "9", "--window", "3:10", "--output", "b.jsonl", "--json").json
    assert less["negatives"] < every["negatives"]
    none = debater("mine", str(train), "--margin", "2", "--output", "c.jsonl", "--json").json
    assert none["negatives"] == 0


def test_mining_by_words_needs_no_model_and_imports_no_torch(train: Path, corpus: Path) -> None:
    code = (
        "import sys; from debater_search.cli import main\n"
        f"assert main(['mine', {str(train)!r}, '--mode', 'lexical', '--corpus', {str(corpus)!r}, '--json']) == 0\n"
        "assert not {'torch', 'transformers', 'faiss', 'mteb'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=train.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = rows(str(train.parent / "mined" / "train.jsonl"))
    assert found[1]["negative"] == ["Layers The boundary layer heats the wing of an aircraft."]


def test_an_index_with_embeddings_is_mined_by_words_without_its_model(
    debater: Debater, train: Path, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    assert debater("mine", str(train), "--mode", "lexical").code == 0
    assert fake_model == []


BAD = {
    "no such file": (["nowhere.jsonl"], "nowhere.jsonl"),
    "standard input": (["-"], "standard input"),
    "a folder without judgements": (["empty"], "has no judgements"),
    "a row without a positive": (["half.jsonl"], "half.jsonl, line 1"),
    "no number": (["train.jsonl", "--window", "1:" + "9" * 5000], "is not a range of ranks"),
    "no window": (["train.jsonl", "--window", "ten"], "'ten' is not a range of ranks"),
    "a window that ends before it begins": (["train.jsonl", "--window", "20:10"], "20:10"),
    "a window that is too small": (["train.jsonl", "--window", "1:2"], "fewer ranks"),
    "a window beyond the corpus": (["train.jsonl", "--window", "50:90"], "begins at rank 50"),
    "a margin that is no number": (["train.jsonl", "--margin", "nan"], "margin nan"),
    "a share of nothing": (["train.jsonl", "--max-share", "0"], "0.0 of the positive's score"),
    "an index and a corpus": (["train.jsonl", "--index", "indexes/flight", "--corpus", "flight.jsonl"], "--corpus"),
    "a corpus without words": (["train.jsonl", "--corpus", "flight.jsonl"], "--mode to lexical"),
    "no such index": (["train.jsonl", "--index", "indexes/x"], "indexes/x"),
    "another model": (["train.jsonl", "--model", "other"], "other"),
    "an output that is no jsonl": (["train.jsonl", "--output", "x.txt"], "x.txt does not end in .jsonl"),
    "an output that is there": (["train.jsonl", "--output", "flight.jsonl"], "flight.jsonl exists"),
    "the source as output": (["train.jsonl", "--output", "train.jsonl", "--force"], "mined for"),
    "an output below a file": (["train.jsonl", "--output", "train.jsonl/x.jsonl"], "is a file"),
}


@pytest.mark.parametrize("trouble", BAD)
def test_a_mistake_is_a_sentence_and_leaves_nothing_behind(
    debater: Debater, workdir: Path, train: Path, index: Path, trouble: str
) -> None:
    (workdir / "empty").mkdir()
    (workdir / "half.jsonl").write_text('{"query": "q"}\n')
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    arguments, sentence = BAD[trouble]
    outcome = debater("mine", *arguments, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence.lower() in outcome.err.lower()
    assert "Traceback" not in outcome.err
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()} == before


def test_an_index_of_words_only_is_not_mined_by_vectors(debater: Debater, train: Path, corpus: Path) -> None:
    from debater_search.indexing import build

    build(corpus, None, "indexes/words")
    outcome = debater("mine", str(train))
    assert (outcome.code, outcome.out) == (2, "")
    assert "in mode 'lexical'" in outcome.err


def test_a_finished_output_is_replaced_by_force(debater: Debater, train: Path, index: Path) -> None:
    assert debater("mine", str(train)).code == 0
    refused = debater("mine", str(train))
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert debater("mine", str(train), "--force").code == 0
