"""An index and judgements of its hits as a task."""

import json
from pathlib import Path

import pytest

from debater_search.errors import DebaterError, MissingError
from debater_search.evaluation import Campaign, evaluate
from debater_search.evaluation.judged import JudgedIndex
from debater_search.indexing import build, delete
from tests.fakes import FakeEncoder, tiny_corpus


@pytest.fixture
def judged(tmp_path: Path) -> JudgedIndex:
    """Query 1 is answered by d7, query 2 by d3 and not by d4."""
    encoder = FakeEncoder()
    index = build(tiny_corpus(), encoder, tmp_path / "papers").folder
    lines = [("unique7", "d7", True), ("unique3 wing", "d3", True), ("unique3 wing", "d4", False)]
    rows = [{"index": "papers", "query": query, "id": id, "relevant": said} for query, id, said in lines]
    (tmp_path / "judgements.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JudgedIndex(index, tmp_path / "judgements.jsonl")


def test_judgements_are_qrels_of_the_index(judged: JudgedIndex) -> None:
    assert judged.name == "papers"
    assert judged.qrels() == {"1": {"d7": 1}, "2": {"d3": 1, "d4": 0}}
    assert [query.text for query in judged.queries()] == ["unique7", "unique3 wing"]
    with pytest.raises(MissingError, match="no split 'dev'"):
        judged.qrels("dev")


def test_the_index_is_scored_as_it_is(judged: JudgedIndex) -> None:
    delete(judged.folder, ["d9"])
    encoder = FakeEncoder()
    judged = JudgedIndex(judged.folder, judged.folder.parent / "judgements.jsonl")
    result = evaluate(judged, encoder)
    assert encoder.encoded == 0  # the documents' vectors are those of the index
    assert result.metrics["recall@100"] == 1.0
    assert result.provenance["documents"] == 24


def test_another_model_is_scored_on_its_documents(judged: JudgedIndex, tmp_path: Path) -> None:
    other = FakeEncoder(name="another")
    output = tmp_path / "results"
    first = list(Campaign([judged], other, baselines=["bm25"], output=output))
    assert other.encoded == 25
    assert [result.model for result in first[0].results] == ["another", "bm25"]
    again = FakeEncoder(name="another")
    list(Campaign([judged], again, baselines=["bm25"], output=output))
    assert again.encoded == 0  # saved results are those of these judgements


def test_what_is_no_index_is_refused(tmp_path: Path, judged: JudgedIndex) -> None:
    with pytest.raises(DebaterError, match="does not exist"):
        JudgedIndex(tmp_path / "nothing", tmp_path / "judgements.jsonl")
