"""Runs of any system, scored and saved through the Python API."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import InvalidError
from debater_search.evaluation import Campaign, evaluate_run, find_runs, judged_by_file, run_name, scored
from tests.evaluation.flight import model, saved, write_task

GAINS = {"q1": {"d": 1}}


def write_run(path: Path, document: str = "noise") -> Path:
    path.write_text(f"q1 Q0 {document} 1 2 t\n", encoding="utf-8")
    return path


def test_a_run_is_scored_and_compared(task: Path, tmp_path: Path) -> None:
    good, bad = write_run(tmp_path / "good.trec"), write_run(tmp_path / "bad.trec", "stall")
    result, (comparison,) = evaluate_run(good, task / "qrels" / "test.tsv", compare=[bad])
    assert (result.task, result.model, result.metrics["mrr@10"]) == ("flight", "good", 0.5)
    assert (comparison["baseline"], comparison["metrics"]["mrr@10"]["difference"]) == ("bad", 0.5)
    assert [query["text"] for query in comparison["gained"]] == ["loud propellers"]


def test_a_run_in_memory_is_scored_as_in_a_file(task: Path, tmp_path: Path, output: Path) -> None:
    qrels = task / "qrels" / "test.tsv"
    of_file, _ = evaluate_run(write_run(tmp_path / "good.trec"), qrels)
    run, judged = {"q1": {"noise": np.float32(2)}}, {"q1": {"noise": 1}, "q2": {"stall": np.int64(1)}}
    result, comparisons = evaluate_run(run, judged, compare=[tmp_path / "good.trec"], output=output)
    assert (result.model, result.task, result.metrics) == ("run", "qrels", of_file.metrics)
    assert comparisons[0]["metrics"]["ndcg@10"]["ties"] == 2
    assert evaluate_run(run, qrels)[0].task == "flight"
    with pytest.raises(InvalidError, match="holds a run already"):
        evaluate_run({"q1": {"stall": 1.0}}, judged, output=output)


@pytest.mark.parametrize(
    ("run", "qrels", "words"),
    [
        (7, GAINS, "`run` is 7, and neither a file nor a dict."),
        ({}, GAINS, "`run` is empty."),
        ({"q1": 7}, GAINS, "`run` holds 'q1': 7."),
        ({"q1": {7: 1.0}}, GAINS, "`run` holds 7: 1.0 for 'q1'."),
        ({"q1": {"d": float("nan")}}, GAINS, "`run` holds 'd': nan for 'q1'."),
        ({"q1": {"d": 1}}, {"q1": {"d": 0.5}}, "`qrels` holds 'd': 0.5 for 'q1'."),
        ({"q2": {"d": 1}}, GAINS, "The run answers none of the queries that are judged for qrels."),
    ],
    ids=range(7),
)
def test_what_is_no_run_and_what_are_no_judgements_is_refused(run: Any, qrels: Any, words: str) -> None:
    with pytest.raises(InvalidError) as error:
        evaluate_run(run, qrels)
    assert error.value.message == words


def test_a_run_replaces_itself_and_no_other(task: Path, tmp_path: Path, output: Path) -> None:
    qrels = task / "qrels" / "test.tsv"
    for _ in range(2):
        evaluate_run(write_run(tmp_path / "a.trec"), qrels, output=output)
    with pytest.raises(InvalidError, match="holds a run already"):
        evaluate_run(write_run(tmp_path / "b.trec"), qrels, output=output)
    assert [entry["model"] for entry in saved(output)["results"]] == ["a"]
    evaluate_run(tmp_path / "b.trec", qrels, output=output, force=True)
    assert [entry["model"] for entry in saved(output)["results"]] == ["b", "a"]


def test_a_saved_run_keeps_the_tag_of_its_system(task: Path, tmp_path: Path, output: Path) -> None:
    result, _ = evaluate_run(write_run(tmp_path / "a.trec"), task / "qrels" / "test.tsv", output=output)
    assert result.provenance["tag"] == "t"
    assert (output / "flight" / "run.trec").read_text(encoding="utf-8").split() == ["q1", "Q0", "noise", "1", "2", "t"]


def test_a_file_called_run_goes_by_its_tag_and_names_stay_unique(task: Path, tmp_path: Path, output: Path) -> None:
    list(Campaign([task], model("old"), output=output))
    run = output / "flight" / "run.trec"
    assert [found.name for found in find_runs(run)] == ["old"]
    result, [entry] = evaluate_run(run, task / "qrels" / "test.tsv", compare=[output])
    assert (result.model, entry["baseline"]) == ("old", f"old ({run})")
    [outcome] = Campaign([task], model("old"), baselines=[run])
    assert [result.model for result in outcome.results] == ["old", f"old ({run})"]
    assert run_name(tmp_path / "run.trec") == "run"  # no file, no tag
    with pytest.raises(InvalidError, match="have the same name: old"):
        list(Campaign([task], model(), baselines=[run, run]))


def test_judgements_belong_to_the_task_folder_around_them(task: Path, tmp_path: Path) -> None:
    judged = judged_by_file(task / "qrels" / "test.tsv")
    assert (judged.task, judged.texts["q1"]) == ("flight", "loud propellers")
    alone = tmp_path / "mine.tsv"
    alone.write_bytes((task / "qrels" / "test.tsv").read_bytes())
    judged = judged_by_file(alone)
    assert (judged.task, judged.texts) == ("mine", {})


@pytest.mark.parametrize("file", ["qrels/test.tsv", "qrels.tsv"])
@pytest.mark.parametrize("name", ["arguana", "FEVER", "QuoraRetrieval", "fiqa"])
def test_a_run_has_the_score_that_its_comparison_has_where_queries_are_documents(
    tmp_path: Path, name: str, file: str
) -> None:
    task = write_task(tmp_path / name)
    if file == "qrels.tsv":
        (task / "qrels" / "test.tsv").rename(task / file)
        (task / "qrels").rmdir()
    run = tmp_path / "self.trec"
    run.write_text("q1 Q0 q1 1 3 t\nq1 Q0 noise 2 2 t\nq2 Q0 q2 1 3 t\nq2 Q0 stall 2 2 t\n", encoding="utf-8")
    result, _ = evaluate_run(run, task / file)
    [compared] = Campaign([task], mode="lexical", compare=[run])
    [comparison] = compared.comparisons
    assert result.metrics["ndcg@10"] == comparison["metrics"]["ndcg@10"]["baseline"] == 1.0
    assert result.task == name


def test_queries_that_find_themselves_are_spoken_of_where_the_task_is_not_known(
    task: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "self.trec"
    run.write_text("q1 Q0 q1 1 3 t\nq1 Q0 noise 2 2 t\nq2 Q0 q2 1 3 t\n", encoding="utf-8")
    evaluate_run(run, task / "qrels" / "test.tsv")
    assert "2 of 2 queries find a document with their own id first" in caplog.text
    caplog.clear()
    run.write_text("q1 Q0 noise 1 3 t\nq1 Q0 q1 2 2 t\nq2 Q0 noise 1 3 t\nq2 Q0 q2 2 2 t\n", encoding="utf-8")
    evaluate_run(run, task / "qrels" / "test.tsv")  # ids that are alike by chance, as numbers are
    evaluate_run(write_run(tmp_path / "other.trec"), task / "qrels" / "test.tsv")
    assert "own id" not in caplog.text


def test_a_baseline_that_the_compared_results_repeat_is_tested_once(task: Path, output: Path) -> None:
    list(Campaign([task], model("old"), baselines=["bm25"], output=output))
    [outcome] = Campaign([task], model(), baselines=["bm25"], compare=[output, output])
    assert [entry["baseline"] for entry in outcome.comparisons] == ["bm25", "old"]
    run = output / "flight" / "bm25.trec"
    run.write_text(run.read_text(encoding="utf-8").replace("q1 ", "q3 "), encoding="utf-8")
    [outcome] = Campaign([task], model(), baselines=["bm25"], compare=[output])
    assert [entry["baseline"] for entry in outcome.comparisons] == ["bm25", "old", f"bm25 ({run})"]


def test_queries_without_judgements_are_counted_and_the_first_are_named(
    task: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "more.trec"
    qrels = task / "qrels" / "test.tsv"
    run.write_text("q1 Q0 noise 1 2 t\nq9 Q0 noise 1 2 t\n", encoding="utf-8")
    evaluate_run(run, qrels)
    assert f"Queries of {run} that are not in the judgements of flight: 1 of 2 (q9). They are left out." in caplog.text
    run.write_text("".join(f"{query} Q0 noise 1 2 t\n" for query in ("q1", *"abcdefg")), encoding="utf-8")
    evaluate_run(run, qrels)
    assert "7 of 8 (a, b, c, d, e, …)." in caplog.text
    caplog.clear()
    evaluate_run(write_run(run), qrels)
    assert "not in the judgements" not in caplog.text


def test_a_run_of_another_corpus_is_spoken_of(task: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "far.trec"
    run.write_text("".join(f"q1 Q0 x{n} 1 {n} t\nq2 Q0 x{n} 1 {n} t\n" for n in range(1200)), encoding="utf-8")
    words = f"None of the 1,200 documents of {run} is in the judgements of flight, so it scores 0."
    evaluate_run(run, task / "qrels" / "test.tsv")
    assert words in caplog.text
    caplog.clear()
    list(Campaign([task], mode="lexical", baselines=[run]))
    assert words in caplog.text
    caplog.clear()
    evaluate_run(write_run(tmp_path / "near.trec"), task / "qrels" / "test.tsv")
    assert "None of the" not in caplog.text


def test_a_run_whose_hits_have_equal_scores_is_told(
    task: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ties.trec").write_text("".join(f"q{n} Q0 d{m} {m} 0 x\n" for n in (1, 2, 3) for m in (1, 2)))
    (tmp_path / "good.trec").write_text("".join(f"q{n} Q0 d{m} {m} {-m} x\n" for n in (1, 2, 3) for m in (1, 2)))
    for name, told in (("good", False), ("ties", True)):
        caplog.clear()
        evaluate_run(tmp_path / f"{name}.trec", task / "qrels" / "test.tsv")
        assert any("all hits of 3 of 3 queries have the same score" in m for m in caplog.messages) is told


def test_queries_of_a_run_are_not_counted_among_the_tasks(
    task: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "other.trec").write_text("q9 Q0 noise 1 1 x\nq1 Q0 noise 1 1 x\n")
    evaluate_run(tmp_path / "other.trec", task / "qrels" / "test.tsv")
    assert not any("without a positive judgement" in message for message in caplog.messages)


def test_files_are_scored_under_a_name(task: Path, tmp_path: Path) -> None:
    path = write_run(tmp_path / "good.trec")
    result = scored("flight", "mine", path, task / "qrels" / "test.tsv")
    assert (result.model, result.metrics) == ("mine", evaluate_run(path, task / "qrels" / "test.tsv")[0].metrics)
