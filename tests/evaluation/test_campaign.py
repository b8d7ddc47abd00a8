"""Campaigns: tasks in, results out; what fails, what is missing, and how often data is read."""

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from debater_search.data import read_run
from debater_search.errors import DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.evaluation import Campaign, FolderTask, load
from debater_search.types import Document, Qrels, Query
from tests.evaluation.flight import model, saved, write_task
from tests.fakes import tiny_corpus


def test_a_task_gives_its_results_and_comparisons(task: Path) -> None:
    campaign = Campaign([task], model(), baselines=["bm25", model("m2")], all_steps=True)
    assert campaign.models == ["m", "bm25", "m2"]
    (flight,) = campaign
    assert (flight.name, flight.missing) == ("flight", None)
    assert [result.model for result in flight.results] == ["m", "bm25", "m2"]
    assert [result.run for result in flight.results] == [{}, {}, {}]
    assert len(flight.results[0].steps) == 3
    assert [(entry["system"], entry["baseline"]) for entry in flight.comparisons] == [("m", "bm25"), ("m", "m2")]


def test_bm25_needs_no_model(task: Path) -> None:
    (flight,) = Campaign([FolderTask(task)], mode="lexical", baselines=["bm25"])
    assert [result.model for result in flight.results] == ["bm25"]
    with pytest.raises(InvalidError, match="no model to evaluate"):
        Campaign([task])


def test_a_task_may_be_any_object_that_is_one() -> None:
    class Task:
        name, instruction, ignore_identical_ids = "tiny", None, False

        def corpus(self, split: str = "test") -> list[Document]:
            return tiny_corpus()

        def queries(self, split: str = "test") -> list[Query]:
            return [Query("q1", "unique3.")]

        def qrels(self, split: str = "test") -> Qrels:
            return {"q1": {"d3": 1}}

    (tiny,) = Campaign([Task()], model(), baselines=["bm25"])
    assert [result.metrics["mrr@10"] for result in tiny.results] == [1.0, 1.0]


def test_a_suite_gives_its_mean_with_the_task_that_completes_it(group: Path) -> None:
    (group / "soaring" / "qrels" / "test.tsv").write_text("q1\tnoise\t1\n", encoding="utf-8")
    outcomes = list(Campaign([load(group)], model(), baselines=["bm25"]))
    assert [len(outcome.means) for outcome in outcomes] == [0, 0, 2]
    mean, baseline = outcomes[-1].means
    values = [outcome.results[0].metrics["ndcg@10"] for outcome in outcomes]
    assert (mean.suite.name, mean.model, baseline.model) == ("tasks", "m", "bm25")
    assert mean.metrics["ndcg@10"] == pytest.approx(sum(values) / 3)
    assert mean.as_dict()["tasks"] == ["flight", "gliding", "soaring"]
    assert len(set(values)) > 1


def test_a_task_that_becomes_unreadable_does_not_cost_the_others(
    group: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = Campaign([group], model(), output=output)
    for task in campaign.tasks:
        task.unload()
    (group / "gliding" / "qrels" / "test.tsv").unlink()
    outcomes = list(campaign)
    assert [outcome.missing is None for outcome in outcomes] == [True, False, True]
    assert outcomes[1].name == "gliding"
    assert {entry["task"] for entry in saved(output)["results"]} == {"flight", "soaring"}


def test_tasks_of_one_name_are_refused(task: Path, tmp_path: Path) -> None:
    for tasks in ([task, task], [task, write_task(tmp_path / "other" / "flight")]):
        with pytest.raises(InvalidError, match="have the same name: flight"):
            Campaign(tasks, model())


def test_systems_of_one_name_are_refused_before_anything_is_scored(task: Path) -> None:
    encoder = model()
    with pytest.raises(InvalidError, match="have the same name: m"):
        iter(Campaign([task], encoder, baselines=[model()]))
    assert encoder.encoded == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"analyses": ["steps"]}, "`analyses` need a folder"),
        ({"analyses": ["steps"], "output": "o", "mode": "hybrid"}, "dense search"),
        ({"all_steps": True, "mode": "lexical"}, "no thinking steps"),
        ({"split": "dev"}, "no split 'dev'"),
        ({"compare": ["nowhere"]}, "no file nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_once(task: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        Campaign([task], model(), **settings)


def test_a_run_file_answers_one_task(group: Path, tmp_path: Path) -> None:
    run = tmp_path / "other.trec"
    run.write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    with pytest.raises(InvalidError, match="answers one task, and there are 3"):
        Campaign([group], model(), compare=[run])
    with pytest.raises(InvalidError, match="answers one task, and there are 3"):
        iter(Campaign([group], model(), baselines=[run]))
    (flight,) = Campaign([group / "flight"], model(), baselines=[run])
    assert [result.model for result in flight.results] == ["m", "other"]


def test_results_of_other_tasks_are_nothing_to_compare_with(group: Path, output: Path) -> None:
    list(Campaign([group / "flight"], mode="lexical", output=output))
    with pytest.raises(MissingError, match="has no results on soaring"):
        Campaign([group / "soaring"], model(), compare=[output])
    outcomes = list(Campaign([group], model(), compare=[output]))
    assert [[entry["baseline"] for entry in outcome.comparisons] for outcome in outcomes] == [["bm25"], [], []]


def test_a_baseline_named_run_does_not_replace_the_models_run(task: Path, output: Path, tmp_path: Path) -> None:
    list(Campaign([task], mode="lexical", output=tmp_path / "before"))
    before = tmp_path / "before" / "flight" / "run.trec"
    before.write_text(before.read_text(encoding="utf-8").replace(" bm25\n", " run\n"), encoding="utf-8")
    (first,) = Campaign([task], model(), baselines=[before], output=output)
    runs = {entry["model"]: output / entry["run"] for entry in saved(output)["results"]}
    assert len(set(runs.values())) == 2
    assert read_run(runs["run"]) == read_run(before)
    (again,) = Campaign([task], model(), baselines=[before], output=output)
    assert again.results == first.results


def test_analyses_encode_no_query_again(task: Path, output: Path) -> None:
    encoder = model()
    list(Campaign([task], encoder, analyses=["weights"], output=output))
    assert len(encoder.instructions) == 1


def test_nothing_relevant_in_the_corpus_leaves_lengths_of_queries(task: Path, output: Path) -> None:
    (task / "qrels" / "test.tsv").write_text("q1\tgone\t1\n", encoding="utf-8")
    list(Campaign([task], model(), analyses=["lengths"], output=output))
    assert (output / "flight" / "lengths.svg").exists()


def test_the_report_has_the_texts_of_answers_and_relevant_documents(task: Path, output: Path) -> None:
    list(Campaign([task], model(), baselines=["bm25"], output=output))
    documents = (output / "flight" / "documents.jsonl").read_text(encoding="utf-8")
    assert [word in documents for word in ("A wing stalls", "boundary layer", "Propellers are loud.")] == 3 * [True]


def test_a_saved_run_that_is_compared_with_has_its_queries_in_the_output(
    task: Path, output: Path, tmp_path: Path
) -> None:
    run = tmp_path / "other.trec"
    run.write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    list(Campaign([task], model(), compare=[run], output=output))
    first, second = map(json.loads, (output / "flight" / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    assert first["answers"]["other"] == [["noise", 2.0]]
    assert [row["values"]["other"]["ndcg@10"] for row in (first, second)] == [1.0, 0.0]
    assert first["values"].keys() == {"other"}  # results.json has the model's own


def test_judgements_and_queries_are_read_once_for_all_systems(
    task: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Counter[str]()

    def counted(name: str) -> Any:
        real = getattr(FolderTask, name)

        def read(self: FolderTask, split: str = "test") -> Any:
            reads[name] += 1
            return real(self, split)

        return read

    for name in ("qrels", "queries", "corpus"):
        monkeypatch.setattr(FolderTask, name, counted(name))
    list(Campaign([task], mode="lexical", baselines=["bm25"], output=output))
    assert reads == {"qrels": 1, "queries": 1, "corpus": 1}
    reads.clear()
    list(Campaign([task], mode="lexical", output=output))  # the corpus is hashed
    assert reads == {"qrels": 1, "queries": 1, "corpus": 1}
    reads.clear()
    list(Campaign([task], model(), baselines=["bm25", model("m2")], output=output, force=True))
    assert reads == {"qrels": 1, "queries": 1, "corpus": 1}


def test_progress_is_logged(group: Path, output: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        list(Campaign([group], model(), output=output))
    assert "2 of 3 tasks to go, about" in caplog.text
    assert "entries unused for a month are removed" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        list(Campaign([group], model(), output=output))
    assert "not scored again: flight, gliding, soaring." in caplog.text


@pytest.mark.parametrize(
    ("library", "settings"),
    [("pytrec_eval", {}), ("scipy", {"baselines": ["bm25"]}), ("matplotlib", {"analyses": ["lengths"], "output": "o"})],
)
def test_a_missing_library_is_named_before_anything_is_encoded(
    task: Path, library: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnavailableError, match=f"library {library} is not installed"):
        Campaign([task], model(), **settings)


def test_evaluation_and_folders_need_no_optional_library(task: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('mteb', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        "from debater_search.evaluation import Campaign, load_task\n"
        f"(found,) = Campaign([{str(task)!r}], mode='lexical')\n"
        "print(found.results[0].model)\n"
        "try: load_task('SciFact')\n"
        "except Exception as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=task, check=True
    )
    first, missing = done.stdout.splitlines()
    assert first == "bm25"
    assert missing == "The library mteb is not installed. Install it: pip install 'debater-search[eval]'."
