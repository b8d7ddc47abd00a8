"""A reranker as the teacher of mined rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from debater_search.errors import InvalidError
from debater_search.indexing import build
from debater_search.mining import MiningSettings, Summary, mine
from debater_search.mining import miner as miner_module
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder, FakeScorer

QUERY = "how do wings stall"
CORPUS = [
    Document(f"a{n}", f"how do wings stall {'at ' * n}{'number ' * (n % 3)}{n}", f"Title {n}") for n in range(1, 9)
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> SearchEngine:
    folder = tmp_path_factory.mktemp("index") / "i"
    build(CORPUS, FakeEncoder(), folder)
    return SearchEngine.open(folder, encoder=FakeEncoder())


def mined(
    engine: SearchEngine, folder: Path, scorer: FakeScorer, queries: int = 1, **settings: Any
) -> tuple[dict[str, Any], Summary]:
    rows = [{"query": f"{QUERY}{'?' * n}", "positive": CORPUS[2].content} for n in range(queries)]
    source = folder / "train.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = mine(source, folder / "out.jsonl", MiningSettings(**settings), engine=engine, rerank=scorer)
    return json.loads((folder / "out.jsonl").read_text().splitlines()[0]), summary


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_scores_and_order_are_the_teachers_within_what_it_read(engine: SearchEngine, tmp_path: Path, mode: str) -> None:
    scorer = FakeScorer()
    row, _ = mined(engine, tmp_path, scorer, mode=mode, negatives=3, window=(2, 8), rerank_depth=5)
    found = [f"{hit.title} {hit.text}" for hit in engine.search(QUERY, 6, mode=mode)][1:]  # type: ignore[arg-type]
    read = [text for text in found if text != CORPUS[2].content]
    assert row["negative"] == sorted(read, key=lambda text: -FakeScorer.of(QUERY, text))[:3]
    for kind in ("positive", "negative"):
        assert row[f"{kind}_scores"] == pytest.approx([FakeScorer.of(QUERY, text) for text in row[kind]], abs=1e-5)
    assert len(scorer.asked) == 6
    assert "fake-scorer, which read 5 documents" in (tmp_path / "out.md").read_text()


def test_the_margin_is_to_the_teachers_score_and_cosines_share_is_no_limit(
    engine: SearchEngine, tmp_path: Path
) -> None:
    row, summary = mined(engine, tmp_path, FakeScorer(), negatives=8, margin=0.5)
    assert row["negative_scores"][0] <= row["positive_scores"][0] - 0.5
    assert summary.dropped["margin"] > 0
    assert summary.dropped["share"] == 0


def test_unfinished_work_of_another_teacher_is_not_continued(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(FakeScorer):
        def score(self, query: str, texts: Any) -> Any:
            if query.endswith("??"):
                raise KeyboardInterrupt
            return super().score(query, texts)

    monkeypatch.setattr(miner_module, "BLOCK", 1)
    with pytest.raises(KeyboardInterrupt):
        mined(engine, tmp_path, Killed(), queries=3)
    with pytest.raises(InvalidError, match="different: reranker"):
        mined(engine, tmp_path, FakeScorer("another"), queries=3)
    _, summary = mined(engine, tmp_path, rest := FakeScorer(), queries=3)
    assert (summary.rows, len({query for query, _ in rest.asked})) == (3, 1)
    with pytest.raises(InvalidError, match="no effect without `rerank`"):
        mine(tmp_path / "train.jsonl", tmp_path / "o.jsonl", MiningSettings(rerank_depth=3), engine=engine)
