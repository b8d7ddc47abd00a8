import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Debater


@pytest.fixture
def task(corpus: Path, fake_model: list[dict[str, Any]]) -> Path:
    """A folder in BEIR layout: three documents, two queries; q2's words lead astray."""
    folder = Path("tasks/flight")
    (folder / "qrels").mkdir(parents=True)
    corpus.rename(folder / "corpus.jsonl")
    queries = [
        {"_id": "q1", "text": "loud propellers"},
        {"_id": "q2", "text": "the boundary layer heats the wing of an"},
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq1\tnoise\t1\nq2\tstall\t1\n"
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_a_table_for_people_has_a_row_for_model_and_baseline(debater: Debater, task: Path) -> None:
    outcome = debater("eval", str(task), "--baseline", "bm25")
    assert outcome.code == 0
    header, model, baseline = (line.split() for line in outcome.out.splitlines())
    assert header[:3] == ["task", "model", "ndcg@10"]
    assert (model[:2], baseline[:2]) == (["flight", "minilm"], ["flight", "bm25"])
    assert 0 < float(model[2]) <= 1


def test_json_has_the_published_shape_and_plain_numbers(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]]
) -> None:
    (result,) = debater("eval", str(task), "--model", "m", "--device", "cpu", "--json").json["results"]
    assert {"task", "model", "metrics", "intervals", "queries", "provenance"} <= set(result)
    assert (result["task"], result["model"], result["queries"]) == ("flight", "m", 2)
    assert all(isinstance(value, float) for value in result["metrics"].values())
    assert {"index", "search"} <= set(result["timings"])
    assert fake_model == [{"model": "m", "base_model": None, "device": "cpu"}]


def test_every_thinking_step_is_scored_alone_on_request(debater: Debater, task: Path) -> None:
    (result,) = debater("eval", str(task), "--all-steps", "--json").json["results"]
    assert len(result["steps"]) == 3
    assert result["steps"][-1]["ndcg@10"] == pytest.approx(result["metrics"]["ndcg@10"])
    assert "flight, each thinking step alone" in debater("eval", str(task), "--all-steps").out


def test_lexical_evaluation_loads_no_model(debater: Debater, task: Path, fake_model: list[dict[str, Any]]) -> None:
    (result,) = debater("eval", str(task), "--mode", "lexical", "--baseline", "bm25", "--json").json["results"]
    assert result["model"] == "bm25"
    assert fake_model == []


def test_saved_results_hold_the_models_run_and_are_not_overwritten(debater: Debater, task: Path) -> None:
    arguments = ("eval", str(task), "--baseline", "bm25", "--all-steps", "--output", "results", "--json")
    shown = debater(*arguments).json["results"]
    saved = json.loads(Path("results/results.json").read_text(encoding="utf-8"))["results"]
    assert [r["model"] for r in saved] == ["minilm", "bm25"]
    assert [{name: r[name] for name in one} for r, one in zip(saved, shown, strict=True)] == shown
    assert [r["run"] for r in saved] == ["flight/run.trec", "flight/bm25.trec"]
    assert all(len(r["per_query"]) == r["queries"] for r in saved)
    rescored = debater("eval", "--run", "results/flight/run.trec", "--qrels", str(task / "qrels/test.tsv"), "--json")
    assert rescored.json["results"][0]["task"] == "flight"
    assert rescored.json["results"][0]["metrics"] == pytest.approx(shown[0]["metrics"])
    before = Path("results/flight/run.trec").read_bytes()
    refused = debater(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert Path("results/flight/run.trec").read_bytes() == before
    assert debater(*arguments, "--force").code == 0


def test_qrels_that_name_unknown_documents_are_counted_in_a_warning(debater: Debater, task: Path) -> None:
    with (task / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q1\tgone\t1\n")
    outcome = debater("eval", str(task), "--baseline", "bm25", "--json")
    assert outcome.code == 0
    assert outcome.err.count("Warning: Judged documents that are not in the corpus: 1 of 3.\n") == 1


def test_a_run_of_other_queries_is_refused_and_missing_answers_are_counted(debater: Debater, task: Path) -> None:
    score = ("eval", "--run", "r.trec", "--qrels", str(task / "qrels" / "test.tsv"))
    Path("r.trec").write_text("q1 Q0 noise 1 0.5 t\n", encoding="utf-8")
    outcome = debater(*score)
    assert outcome.code == 0
    assert "does not answer: 1 of 2" in outcome.err
    Path("r.trec").write_text("q9 Q0 noise 1 0.5 t\n", encoding="utf-8")
    outcome = debater(*score)
    assert (outcome.code, outcome.out) == (2, "")
    assert "none of the queries" in outcome.err


def test_a_task_without_queries_is_found_before_any_model_is_loaded(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]]
) -> None:
    (task / "queries.jsonl").unlink()
    outcome = debater("eval", str(task))
    assert (outcome.code, outcome.out) == (2, "")
    assert "queries.jsonl" in outcome.err
    assert fake_model == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "TASK"),
        (["tasks/none"], "tasks/none"),
        (["tasks/flight", "tasks/../tasks/flight"], "flight"),
        (["tasks/flight", "--split", "dev"], "dev"),
        (["tasks/flight", "--mode", "lexical", "--all-steps"], "--all-steps"),
        (["tasks/flight", "--run", "r.trec", "--qrels", "q.tsv"], "--run"),
        (["tasks/flight", "--output", "tasks/flight/queries.jsonl/results"], "queries.jsonl is a file"),
        (["--run", "r.trec"], "--qrels"),
        (["--run", "none.trec", "--qrels", "tasks/flight/qrels/test.tsv"], "none.trec"),
    ],
)
def test_an_impossible_evaluation_is_a_sentence_before_any_model_is_loaded(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]], arguments: list[str], word: str
) -> None:
    outcome = debater("eval", *arguments, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err
    assert "Traceback" not in outcome.err
    assert fake_model == []


def test_analyses_are_saved_beside_the_results(debater: Debater, task: Path) -> None:
    arguments = ("eval", str(task), "--analyse", "steps", "--analyse", "lengths", "--output", "results", "--json")
    outcome = debater(*arguments)
    assert (outcome.code, len(outcome.json["results"])) == (0, 1)
    saved = json.loads(Path("results/results.json").read_text(encoding="utf-8"))
    assert [(entry["name"], entry["models"]) for entry in saved["analyses"]] == [
        ("steps", ["minilm"]), ("lengths", ["minilm"])
    ]  # fmt: skip
    for entry in saved["analyses"]:
        assert all(Path("results", file).is_file() for file in entry["files"].values())
    assert debater(*arguments, "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analyse", "steps"], "need a folder"),
        (["--analyse", "steps", "--output", "o", "--mode", "hybrid"], "is dense search"),
        (["--analyse", "training", "--output", "o"], "no training output"),
        (["--analyse", "stepz", "--output", "o"], "stepz"),
    ],
)
def test_what_cannot_be_analysed_is_said_before_anything_is_encoded(
    debater: Debater, task: Path, arguments: list[str], message: str
) -> None:
    outcome = debater("eval", str(task), *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert not Path("o").exists()
    assert "Encoding" not in outcome.err


def test_a_run_alone_is_not_analysed(debater: Debater) -> None:
    outcome = debater("eval", "--run", "r.trec", "--qrels", "q.tsv", "--analyse", "lengths", "--output", "o")
    assert outcome.code == 2
    assert "A run alone cannot be analysed" in outcome.err


def test_the_command_offers_every_analysis() -> None:
    from debater_search.cli.eval import Analysis
    from debater_search.evaluation.analyses import ALL, ANALYSES

    assert [analysis.value for analysis in Analysis] == [*ANALYSES, ALL]
