"""--rerank on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Debater
from tests.fakes import FakeScorer


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every reranker that a command loads is a FakeScorer; returns what `Reranker.load` was asked for."""
    loads: list[tuple[str, dict[str, Any]]] = []

    def load(model: str, **settings: Any) -> FakeScorer:
        loads.append((str(model), settings))
        return FakeScorer(str(model))

    monkeypatch.setattr("debater_search.encoder.Reranker.load", load)
    return loads


@pytest.fixture
def reranker(workdir: Path) -> str:
    (workdir / "reranker").mkdir()
    return "reranker"


def test_search_reranks(debater: Debater, index: Path, reranker: str, asked: list[Any]) -> None:
    command = (
        "search",
        "the wing of an aircraft stalls",
        "--rerank",
        reranker,
        "--rerank-depth",
        "2",
        "--device",
        "cpu",
    )
    outcome = debater(*command, "--json", "--explain")
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert [hit["explanation"]["rerank"] and hit["explanation"]["rerank"]["rank"] for hit in answer["hits"]] == [
        1,
        2,
        None,
    ]
    assert set(answer["timings"]) == {"load", "encode", "retrieve", "fetch", "rerank"}
    assert asked == [("reranker", {"device": "cpu"})]
    assert "rerank " in debater(*command, "--explain").out


def test_eval_shows_the_search_with_and_without_it_and_the_ceiling(debater: Debater, task: Path, reranker: str) -> None:
    outcome = debater("eval", str(task), "--mode", "lexical", "--rerank", reranker)
    assert outcome.code == 0, outcome.err
    assert "bm25 + reranker" in outcome.out
    assert "recall@20 of what bm25 + reranker reranked is" in outcome.out
    found = json.loads(debater("eval", str(task), "--mode", "lexical", "--rerank", reranker, "--json").out)
    assert [result["model"] for result in found["results"]] == ["bm25 + reranker", "bm25"]
    assert found["comparisons"][0]["baseline"] == "bm25"


def test_mine_takes_its_scores(debater: Debater, index: Path, reranker: str) -> None:
    Path("train.jsonl").write_text(json.dumps({"query": "loud wing", "positive": "Propellers are loud."}) + "\n")
    outcome = debater("mine", "train.jsonl", "--rerank", reranker, "-n", "1", "--mode", "lexical")
    assert outcome.code == 0, outcome.err
    row = json.loads(Path("mined/train.jsonl").read_text())
    assert row["positive_scores"] == pytest.approx([FakeScorer.of("loud wing", "Propellers are loud.")], abs=1e-5)


@pytest.mark.parametrize("command", [("search", "wing"), ("eval", "tasks/flight"), ("mine", "train.jsonl")])
def test_a_depth_alone_is_refused(debater: Debater, task: Path, command: tuple[str, str]) -> None:
    Path("train.jsonl").write_text(json.dumps({"query": "loud", "positive": "Propellers are loud."}) + "\n")
    debater("index", "tasks/flight/corpus.jsonl")
    outcome = debater(*command, "--rerank-depth", "5")
    assert (outcome.code, "no effect without" in outcome.err) == (2, True)
