import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from debater_search import evaluation
from debater_search.cli.commands import app
from debater_search.evaluation import METRICS
from tests.cli.support import Debater


def test_a_table_for_people_has_a_row_for_model_and_baseline(debater: Debater, task: Path) -> None:
    outcome = debater("eval", str(task), "--baseline", "bm25")
    assert outcome.code == 0
    header, model, baseline = (line.split() for line in outcome.out.splitlines()[:3])
    assert header[:3] == ["task", "model", "ndcg@10"]
    assert (model[:2], baseline[:2]) == (["flight", "debater-small"], ["flight", "bm25"])
    assert 0 < float(model[2]) <= 1


def test_json_has_the_published_shape_and_plain_numbers(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]]
) -> None:
    (result,) = debater("eval", str(task), "--model", "m", "--pooling", "cls", "--device", "cpu", "--json").json[
        "results"
    ]
    assert {"task", "model", "metrics", "intervals", "queries", "provenance"} <= set(result)
    assert (result["task"], result["model"], result["queries"]) == ("flight", "m", 2)
    assert all(isinstance(value, float) for value in result["metrics"].values())
    assert {"index", "search"} <= set(result["timings"])
    assert {"command", "created", "versions", "fingerprint", "corpus"} <= set(result["provenance"])
    assert {"python", "torch", "pytrec-eval-terrier"} <= set(result["provenance"]["versions"])
    assert fake_model == [{"model": "m", "base_model": None, "pooling": "cls", "device": "cpu"}]


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
    assert [r["model"] for r in saved] == ["debater-small", "bm25"]
    assert [{name: r[name] for name in one} for r, one in zip(saved, shown, strict=True)] == shown
    assert [r["run"] for r in saved] == ["flight/run.trec", "flight/bm25.trec"]
    assert all(len(r["per_query"]) == r["queries"] for r in saved)
    rescored = debater("eval", "--run", "results/flight/run.trec", "--qrels", str(task / "qrels/test.tsv"), "--json")
    assert rescored.json["results"][0]["task"] == "flight"
    assert rescored.json["results"][0]["metrics"] == pytest.approx(shown[0]["metrics"])
    before = Path("results/flight/run.trec").read_bytes()
    for other in (("--mode", "hybrid"), ("--model", "other"), ("--instruction", "Find:"), ("--index-type", "sq8")):
        refused = debater(*arguments[:2], "--output", "results", "--json", *other)
        assert (refused.code, refused.out) == (2, ""), other
        assert "holds a run already" in refused.err
    assert Path("results/flight/run.trec").read_bytes() == before
    assert debater(*arguments, "--model", "other", "--force").json["results"][0]["model"] == "other"


@pytest.fixture
def group(task: Path) -> Path:
    """Three folders of tasks in one."""
    for name in ("gliding", "soaring"):
        shutil.copytree(task, task.parent / name)
    return task.parent


def test_a_folder_of_tasks_is_a_suite_with_a_mean(debater: Debater, group: Path) -> None:
    (group / "soaring" / "qrels" / "test.tsv").write_text("q1\tnoise\t1\n", encoding="utf-8")
    outcome = debater("eval", str(group), "--baseline", "bm25", "--json").json
    by_task = {r["task"]: r["metrics"]["ndcg@10"] for r in outcome["results"] if r["model"] == "debater-small"}
    assert set(by_task) == {"flight", "gliding", "soaring"}
    model, baseline = outcome["suites"]
    assert (model["suite"], model["model"], baseline["model"]) == ("tasks", "debater-small", "bm25")
    assert model["metrics"]["ndcg@10"] == pytest.approx(sum(by_task.values()) / 3)
    assert len(set(by_task.values())) > 1


def test_the_table_grows_by_each_task_and_ends_with_the_mean(debater: Debater, group: Path) -> None:
    outcome = debater("eval", str(group))
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == ["task", "flight", "gliding", "soaring", "tasks,"]
    assert lines[-1].startswith("tasks, mean of 3  debater-small")
    assert "2 of 3 tasks to go, about " in outcome.err
    assert "Embeddings are cached in " in outcome.err


def test_a_killed_suite_goes_on_and_scores_nothing_twice(
    debater: Debater, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("eval", str(group), "--output", "results", "--json")
    real = evaluation.evaluate
    scored: list[str] = []

    def killed(task: Any, *rest: Any, **options: Any) -> Any:
        if task.name == "gliding" and scored == ["flight"]:
            raise KeyboardInterrupt
        scored.append(task.name)
        return real(task, *rest, **options)

    monkeypatch.setattr("debater_search.evaluation.baselines.evaluate", killed)
    assert debater(*arguments).code == 130
    assert scored == ["flight"]
    scored.append("(killed)")
    outcome = debater(*arguments)
    assert scored == ["flight", "(killed)", "gliding", "soaring"]
    assert "Already in results, not scored again: flight.\n" in outcome.err
    assert [r["task"] for r in outcome.json["results"]] == ["flight", "gliding", "soaring"]
    assert outcome.json["suites"][0]["metrics"]["ndcg@10"] > 0
    assert debater(*arguments).json["results"] == outcome.json["results"]  # a finished one is shown
    assert debater(*arguments, "--force").code == 0
    assert scored[4:] == ["flight", "gliding", "soaring"]


def test_one_task_without_data_does_not_cost_the_others(
    debater: Debater, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("debater_search.evaluation.hub_tasks.is_offline", lambda: False)
    monkeypatch.setattr("mteb.abstasks.retrieval.AbsTaskRetrieval.load_data", fail)
    outcome = debater("eval", "SciFact", str(task), "NFCorpus", "--output", "results")
    assert outcome.code == 2
    assert "flight" in outcome.out
    assert "All others are scored, but 2 of 3 tasks cannot be read: SciFact, NFCorpus." in outcome.err
    assert "mteb/scifact" in outcome.err
    assert "data/scifact" in outcome.err
    assert Path("results/flight/run.trec").exists()
    outcome = debater("eval", "SciFact", str(task), "--json")
    assert outcome.code == 2
    assert [result["task"] for result in outcome.json["results"]] == ["flight"]
    (missing,) = outcome.json["missing"]
    assert (missing["task"], missing["error"].startswith("The data of SciFact ")) == ("SciFact", True)
    outcome = debater("eval", "SciFact", "NFCorpus", "--output", "none")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: Nothing was scored: 2 of 2 tasks cannot be read: SciFact, NFCorpus.\n" in outcome.err


def test_a_suite_without_the_hub_is_one_sentence_before_any_model_is_loaded(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("debater_search.evaluation.hub_tasks.is_offline", lambda: True)
    monkeypatch.setattr("mteb.abstasks.retrieval.AbsTaskRetrieval.load_data", fail)
    task.rename(task.with_name("scifact"))
    task.parent.rename("data")
    outcome = debater("eval", "beir")
    assert (outcome.code, outcome.out, fake_model) == (2, "", [])
    assert (
        "Nothing was scored: the Hugging Face hub does not answer, and 25 of 26 tasks cannot be read: ArguAna, "
    ) in outcome.err
    assert outcome.err.endswith("into data/arguana. Leave these tasks out to score the others.\n")
    assert "SciFact is read from data/scifact." in outcome.err


def test_saved_results_have_a_report_and_reports_join(debater: Debater, task: Path) -> None:
    outcome = debater("eval", str(task), "--baseline", "bm25", "--output", "one")
    assert outcome.out.splitlines()[-1] == "Saved in one; open one/report.html in a browser."
    page = Path("one/report.html").read_text(encoding="utf-8")
    assert "loud propellers" in page
    assert "Propellers are loud." in page
    run = ("eval", "--run", "one/flight/bm25.trec", "--qrels", str(task / "qrels/test.tsv"), "--output", "two")
    assert debater(*run).code == 0
    outcome = debater("eval", "--report", "one", "two", "--output", "both")
    assert (outcome.code, outcome.out) == (0, "The report is both/report.html.\n")
    assert Path("both/report.html").exists()
    for named in ("two", "two/results.json"):
        assert debater("eval", "--report", named, "--json").json == {"report": "two/report.html"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "no folder"),
        (["none"], "There is no folder none."),
        (["tasks"], "in tasks"),
        (["one", "--model", "m"], "--model"),
    ],
)
def test_a_report_on_nothing_is_a_sentence(debater: Debater, task: Path, arguments: list[str], word: str) -> None:
    outcome = debater("eval", "--report", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err
    assert "Traceback" not in outcome.err


def test_qrels_that_name_unknown_documents_are_counted_in_a_warning(debater: Debater, task: Path) -> None:
    with (task / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q1\tgone\t1\n")
    outcome = debater("eval", str(task), "--baseline", "bm25", "--json")
    assert outcome.code == 0
    assert outcome.err.count("Warning: Judged documents missing in the corpus: 1 of 3.\n") == 1


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
    assert "Put queries.jsonl into it" in outcome.err
    (task / "qrels" / "test.tsv").write_text("", encoding="utf-8")
    assert (
        "Put judgements into it, or name another file or, for a task, another --split."
        in debater("eval", str(task)).err
    )
    assert fake_model == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "TASK"),
        (["tasks/none"], "tasks/none"),
        (
            ["tasks/flight/corpus.jsonl"],
            "is a file, and a task is a folder in BEIR layout.\nName the folder: tasks/flight.",
        ),
        (["tasks/flight", "tasks/../tasks/flight"], "flight"),
        (["tasks/flight", "--split", "dev"], "dev"),
        (["tasks/flight", "--mode", "lexical", "--all-steps"], "--all-steps"),
        (["tasks/flight", "--run", "r.trec", "--qrels", "q.tsv"], "--run"),
        (["tasks/flight", "--output", "tasks/flight/queries.jsonl/results"], "queries.jsonl is a file"),
        (["--run", "r.trec"], "--qrels"),
        (["--run", "r.trec", "--qrels", "q.tsv", "--baseline", "bm25"], "--baseline"),
        (["tasks/flight", "--compare", "none"], "There is no file none, and no folder of that name."),
        (["tasks/flight", "--compare", "tasks"], "no results in tasks"),
        (
            ["--run", "none.trec", "--qrels", "tasks/flight/qrels/test.tsv"],
            "Look for its name in the current folder, /",
        ),
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
        ("steps", ["debater-small"]), ("lengths", ["debater-small"])
    ]  # fmt: skip
    for entry in saved["analyses"]:
        assert all(Path("results", file).is_file() for file in entry["files"].values())
    assert debater(*arguments, "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analyse", "steps"], "need a folder"),
        (["--analyse", "steps", "--output", "o", "--mode", "hybrid"], "look at dense search"),
        (["--analyse", "training", "--output", "o"], "not a training output"),
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
    assert "Leave --analyse out." in outcome.err


def test_help_keeps_no_line_ends_of_the_source_and_names_the_metrics() -> None:
    command: Any = get_command(app)
    for name, one in command.commands.items():
        assert all("\n" not in paragraph for paragraph in one.help.split("\n\n")), name
    words = command.commands["eval"].help
    assert all(metric.partition("@")[0] in words for metric in METRICS)


def test_the_command_offers_every_analysis() -> None:
    from debater_search.cli.eval import Analysis
    from debater_search.evaluation.analyses import ALL, ANALYSES

    assert [analysis.value for analysis in Analysis] == [*ANALYSES, ALL]
