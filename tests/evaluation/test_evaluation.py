import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.data import read_run
from debater_search.errors import DebaterError, InvalidError
from debater_search.evaluation import (
    FolderTask,
    Result,
    choose_instruction,
    evaluate,
    evaluate_steps,
    load_task,
    opened,
    score_run,
    scored,
    search_steps,
    step_cosines,
)
from debater_search.evaluation.beir import INSTRUCTIONS, builtin_instruction
from debater_search.evaluation.mteb import DebaterModel
from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.types import Document, Qrels, Query
from tests.fakes import FakeEncoder, tiny_corpus

CRANFIELD = Path(__file__).parents[2] / "data" / "cranfield"


class Encoder(FakeEncoder):
    trained_with_instructions = False


class Task:
    """25 documents; query q7 looks for document d7."""

    name = "tiny"
    instruction: str | None = None
    ignore_identical_ids = False

    def corpus(self, split: str = "test") -> list[Document]:
        return tiny_corpus()

    def queries(self, split: str = "test") -> list[Query]:
        return [Query(f"q{i}", f"unique{i}. Number {i}") for i in range(25)]

    def qrels(self, split: str = "test") -> Qrels:
        return {f"q{i}": {f"d{i}": 1} for i in range(5)}


def test_model_is_indexed_searched_and_scored() -> None:
    encoder: Any = Encoder()
    result = evaluate(Task(), encoder)
    assert (result.task, result.model) == ("tiny", "fake")
    assert result.metrics["recall@100"] == 1.0
    assert result.metrics == score_run(result.run, Task().qrels()).metrics
    assert set(result.run) == {f"q{i}" for i in range(5)}  # the others are not judged
    assert len(result.run["q0"]) == 25
    assert result.provenance["fingerprint"] == encoder.fingerprint
    assert {"search", "encode"} <= result.timings.keys()


def test_bm25_needs_no_model() -> None:
    result = evaluate(Task(), None, mode="lexical")
    assert result.model == "bm25"
    assert result.metrics["mrr@10"] == 1.0


def test_dense_evaluation_without_a_model_is_refused_before_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "corpus", None)
    with pytest.raises(DebaterError, match=r'^There is no model to evaluate\. .* `mode="lexical"`\.$'):
        evaluate(Task(), None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"task": 7}, "`task` is 7, not a task."),
        ({"model_or_engine": 7}, "`model_or_engine` is 7, not a model."),
        ({"mode": "foo"}, "There is no search mode 'foo'."),
        ({"mode": "lexical", "index_type": "xx"}, "There is no index type 'xx'"),
        ({"mode": "lexical", "rerank_depth": 3}, "`rerank_depth` has no effect without `rerank`."),
    ],
    ids=["task", "model", "mode", "index_type", "rerank_depth"],
)
def test_wrong_arguments_are_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(Task, "qrels", None)
    arguments: dict[str, Any] = {"task": Task(), "model_or_engine": None} | wrong
    with pytest.raises(InvalidError, match=f"^{re.escape(words)}"):
        evaluate(arguments.pop("task"), arguments.pop("model_or_engine"), **arguments)


def test_a_log_names_the_model_that_encodes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    encoder: Any = Encoder("named")
    evaluate(Task(), encoder, progress=True)
    assert "named encodes 25 documents." in caplog.text


def test_one_index_answers_several_evaluations() -> None:
    encoder: Any = Encoder()
    with opened(Task(), encoder) as (engine, timings):
        dense, lexical = evaluate(Task(), engine), evaluate(Task(), engine, mode="lexical")
    assert encoder.encoded == 25
    assert "encode" in timings
    assert (dense.model, lexical.model) == ("fake", "bm25")
    assert lexical.metrics == evaluate(Task(), None, mode="lexical").metrics


def test_index_folder_is_kept(tmp_path: Path) -> None:
    encoder: Any = Encoder()
    evaluate(Task(), encoder, index_folder=tmp_path / "kept")
    assert (tmp_path / "kept" / "manifest.json").is_file()


def test_identical_ids_are_dropped_where_the_task_says_so() -> None:
    class Self(Task):
        ignore_identical_ids = True

        def queries(self, split: str = "test") -> list[Query]:
            return [Query("d3", "unique3.")]

        def qrels(self, split: str = "test") -> Qrels:
            return {"d3": {"d3": 1, "d4": 1}}

    result = evaluate(Self(), None, mode="lexical")
    assert "d3" not in result.run["d3"]
    assert result.metrics["recall@100"] < 1


def test_unknown_documents_and_lost_queries_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Stray(Task):
        def qrels(self, split: str = "test") -> Qrels:
            return {"q0": {"d0": 1, "nowhere": 1}, "lost": {"d1": 1}}

    with caplog.at_level(logging.WARNING):
        result = evaluate(Stray(), None, mode="lexical")
    assert "Judged documents missing in the corpus: 1 of 3." in caplog.messages
    assert any("without a text: 1" in message for message in caplog.messages)
    assert result.metrics["mrr@10"] == 0.5


def test_judgements_of_other_queries_are_refused() -> None:
    class Other(Task):
        def qrels(self, split: str = "test") -> Qrels:
            return {"other": {"d0": 1}}

    with pytest.raises(DebaterError, match="name none of its queries"):
        evaluate(Other(), None, mode="lexical")


@pytest.mark.parametrize(
    ("given", "own", "trained", "chosen"),
    [
        (None, None, False, None),
        (None, None, True, INSTRUCTIONS["SciFact"]),
        (None, "own:", True, "own:"),
        (None, "own:", False, "own:"),
        ("", "own:", True, ""),
        ("given:", None, True, "given:"),
    ],
)
def test_instruction_is_the_given_then_the_tasks_then_the_papers(
    given: str | None, own: str | None, trained: bool, chosen: str | None
) -> None:
    task, encoder = Task(), Encoder()
    task.name, task.instruction, encoder.trained_with_instructions = "SciFact", own, trained
    model: Any = encoder
    assert choose_instruction(task, model, given) == chosen
    evaluate(task, model, instruction=given)
    assert encoder.instructions == [chosen]


def test_results_are_saved_before_those_of_other_models(tmp_path: Path) -> None:
    bm25 = evaluate(Task(), None, mode="lexical", output=tmp_path)
    replace(bm25, model="other").save(tmp_path)
    replace(bm25, model="other").save(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"]
    assert [result["model"] for result in results] == ["other", "bm25"]
    assert "steps" not in results[0]
    assert results[0]["queries"] == 5
    assert results[0]["metrics"] == bm25.metrics
    assert results[0]["intervals"]["ndcg@10"] == list(bm25.intervals["ndcg@10"])
    run = read_run(tmp_path / "tiny" / "run.trec")
    assert scored("tiny", "again", run, Task().qrels()).metrics == bm25.metrics


def test_results_of_several_writers_at_once_are_all_kept(tmp_path: Path) -> None:
    result = evaluate(Task(), None, mode="lexical")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: replace(result, model=f"m{number}").save(tmp_path), range(24)))
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"]
    assert {found["model"] for found in results} == {f"m{number}" for number in range(24)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "tiny"]


def test_the_papers_instruction_for_a_task_comes_before_a_checkpoints_own(caplog: pytest.LogCaptureFixture) -> None:
    task, encoder = Task(), Encoder()
    task.name, encoder.trained_with_instructions, encoder.instruction = "SciFact", True, "Find what answers:"
    model: Any = encoder
    papers = builtin_instruction("SciFact")
    assert choose_instruction(task, model, None) == DebaterModel(model)._instruction("SciFact") == papers
    assert choose_instruction(task, model, "given:") == "given:"
    assert DebaterModel(model)._instruction("tiny") is None
    with caplog.at_level("INFO", logger="debater_search"):
        evaluate(task, model)
        task.name = "tiny"
        evaluate(task, model)
    said = [line for line in caplog.messages if line.startswith("Instruction")]
    assert said == [
        f"Instruction before the queries of SciFact: {papers}",
        "Instruction before the queries of tiny: Find what answers:",
    ]


def test_results_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("mine", encoding="utf-8")
    result = Result("tiny", "m", {}, {}, {"q": {"d": 1.0}}, {})
    with pytest.raises(DebaterError, match="does not hold results"):
        result.save(tmp_path)
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "mine"


def test_bm25_on_cranfield_is_no_worse_than_without_a_stemmer() -> None:
    result = evaluate(CRANFIELD, None, mode="lexical")
    assert 0.337 <= result.metrics["ndcg@10"] <= 0.40


def test_last_thinking_step_scores_as_search_does(tmp_path: Path) -> None:
    encoder: Any = Encoder(thinking_steps=3)
    build(tiny_corpus(), encoder, tmp_path, all_steps=True, shard_size=10)
    engine = SearchEngine.open(tmp_path, encoder=encoder)
    steps = evaluate_steps(Task(), engine)
    result = evaluate(Task(), engine)
    cosines = step_cosines(engine.store)
    vectors = encoder.encode_queries([query.text for query in Task().queries()])
    runs = search_steps([query.id for query in Task().queries()], vectors, engine.store, k=4)
    assert len(steps) == 3
    assert steps[-1] == pytest.approx(result.metrics)
    views = encoder.deliberate(tiny_corpus())
    assert np.allclose(cosines, np.mean(views @ views.transpose(0, 2, 1), axis=0), atol=1e-6)
    best = np.argsort(-(vectors @ views[:, 0].T), axis=1, kind="stable")[:, :4]
    assert [list(documents) for documents in runs[0].values()] == [[f"d{i}" for i in row] for row in best]


def test_steps_of_an_index_without_them_are_refused() -> None:
    encoder: Any = Encoder()
    with opened(Task(), encoder) as (engine, _), pytest.raises(DebaterError, match="only the last thinking step"):
        evaluate_steps(Task(), engine)


def test_heldout_collection_is_a_task() -> None:
    task = load_task(CRANFIELD.parent / "heldout")
    assert isinstance(task, FolderTask)
    qrels = task.qrels()
    documents = {document.id for document in task.corpus()}
    assert {query.id for query in task.queries()} == set(qrels)
    assert {document_id for gains in qrels.values() for document_id in gains} <= documents
