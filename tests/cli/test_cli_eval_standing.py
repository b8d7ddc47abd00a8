"""`debater eval --output` where results are already: what stands, what is made again, what is refused."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from debater_search import evaluation
from tests.cli.support import Debater, FakeModel

QRELS = "tasks/flight/qrels/test.tsv"


def saved(folder: str = "results") -> Any:
    return json.loads(Path(folder, "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every task and mode that is scored by search."""
    calls: list[tuple[str, str]] = []
    real = evaluation.evaluate

    def counted(task: Any, *rest: Any, **options: Any) -> Any:
        calls.append((task.name, options.get("mode", "dense")))
        return real(task, *rest, **options)

    monkeypatch.setattr("debater_search.evaluation.baselines.evaluate", counted)
    return calls


def test_a_finished_evaluation_is_shown_without_reading_its_runs(
    debater: Debater, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("eval", str(task), "--baseline", "bm25", "--output", "results", "--json")
    first = debater(*arguments).json
    before = Path("results/results.json").stat().st_mtime_ns

    def read(path: Any) -> Any:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("debater_search.data.read_run", read)
    assert debater(*arguments).json == first
    assert Path("results/results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_results_on_other_data_do_not_stand(debater: Debater, task: Path, file: str) -> None:
    arguments = ("eval", str(task), "--mode", "lexical", "--output", "results")
    assert debater(*arguments).code == 0
    shutil.copytree(task, "copies/flight")
    assert debater("eval", "copies/flight", *arguments[2:]).code == 0  # the same data elsewhere
    text = (task / file).read_text(encoding="utf-8")
    (task / file).write_text(text.replace("noise\t1", "noise\t2").replace("propellers", "rotors"), encoding="utf-8")
    if file == "corpus.jsonl":
        (task / file).write_text(text.replace("Propellers", "Rotors"), encoding="utf-8")
    refused = debater(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "of another model or data, or made with other settings" in refused.err
    assert debater(*arguments, "--force").code == 0


def test_a_baseline_named_later_costs_the_model_nothing(
    debater: Debater, task: Path, scored: list[tuple[str, str]]
) -> None:
    Path("other.trec").write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    arguments = ("eval", str(task), "--output", "results", "--json")
    assert debater(*arguments, "--compare", "other.trec", "--analyse", "lengths").code == 0
    outcome = debater(*arguments, "--baseline", "bm25").json
    assert scored == [("flight", "dense"), ("flight", "lexical")]
    assert [result["model"] for result in outcome["results"]] == ["debater-mini", "bm25"]
    found = saved()
    assert [entry["model"] for entry in found["results"]] == ["debater-mini", "bm25"]
    assert {entry["baseline"] for entry in found["comparisons"]} == {"other", "bm25"}
    assert [entry["name"] for entry in found["analyses"]] == ["lengths"]


def test_analyses_that_lack_are_made_alone(debater: Debater, task: Path, scored: list[tuple[str, str]]) -> None:
    arguments = ("eval", str(task), "--output", "results", "--analyse", "lengths")
    assert debater(*arguments).code == 0
    again = debater(*arguments, "--analyse", "weights")
    assert again.code == 0
    assert "Analysing flight: weights." in again.err
    assert "Analysing flight: lengths." not in again.err
    assert [name for name, _ in scored] == ["flight"]
    assert debater("eval", str(task), "--model", "m2", "--output", "results", "--force").code == 0
    other = debater("eval", str(task), "--model", "m2", "--output", "results", "--analyse", "lengths")
    assert "Analysing flight: lengths." in other.err  # the picture that is there is another model's


def test_a_result_that_is_replaced_takes_its_analyses_along(debater: Debater, task: Path) -> None:
    arguments = ("eval", str(task), "--output", "results")
    assert debater(*arguments, "--analyse", "lengths").code == 0
    assert debater(*arguments, "--force").code == 0
    assert saved()["analyses"] == []


def test_analyses_encode_no_query_again(debater: Debater, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = FakeModel.encode_queries
    monkeypatch.setattr(FakeModel, "encode_queries", lambda self, *a, **k: [calls.append(a), real(self, *a, **k)][1])
    assert debater("eval", str(task), "--output", "results", "--analyse", "weights").code == 0
    assert len(calls) == 1


def test_nothing_relevant_in_the_corpus_leaves_lengths_of_queries(debater: Debater, task: Path) -> None:
    Path(QRELS).write_text("q1\tgone\t1\n", encoding="utf-8")
    assert debater("eval", str(task), "--output", "results", "--analyse", "lengths").code == 0
    assert Path("results/flight/lengths.svg").exists()


def test_a_baseline_called_run_does_not_replace_the_models_run(debater: Debater, task: Path) -> None:
    assert debater("eval", str(task), "--mode", "lexical", "--output", "before").code == 0
    arguments = ("eval", str(task), "--baseline", "before/flight/run.trec", "--output", "results", "--json")
    shown = debater(*arguments).json
    runs = {entry["model"]: Path("results", entry["run"]) for entry in saved()["results"]}
    assert len(set(runs.values())) == 2
    assert runs["run"].read_bytes() == Path("before/flight/run.trec").read_bytes()
    assert debater(*arguments).json == shown


def test_a_run_is_scored_again_into_its_own_place_only(debater: Debater, task: Path) -> None:
    for name in ("a", "b"):
        Path(f"{name}.trec").write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    arguments = ("--qrels", QRELS, "--output", "results")
    assert [debater("eval", "--run", "a.trec", *arguments).code for _ in range(2)] == [0, 0]
    refused = debater("eval", "--run", "b.trec", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "holds a run already" in refused.err
    (entry,) = saved()["results"]
    assert {"command", "created", "versions", "run", "qrels"} <= set(entry["provenance"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--report", "results", "--baseline", "bm25"], "--baseline"),
        (["--report", "results", "--analyse", "steps"], "--analyse"),
        (["--report", "results", "--mode", "dense"], "--mode"),
        (["--run", "a.trec", "--qrels", QRELS, "--model", "m"], "--model"),
        (["--run", "a.trec", "--qrels", QRELS, "--split", "dev"], "--split"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    debater: Debater, task: Path, arguments: list[str], word: str
) -> None:
    assert debater("eval", str(task), "--mode", "lexical", "--output", "results").code == 0
    Path("a.trec").write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    outcome = debater("eval", *arguments, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"Leave {word} out." in outcome.err


@pytest.mark.parametrize("arguments", [["tasks/flight"], ["--run", "a.trec", "--qrels", QRELS]])
def test_an_output_that_is_a_file_is_refused_at_once(
    debater: Debater, task: Path, fake_model: list[dict[str, Any]], arguments: list[str]
) -> None:
    for name in ("a.trec", "mine"):
        Path(name).write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    outcome = debater("eval", *arguments, "--output", "mine")
    assert (outcome.code, outcome.out, fake_model) == (2, "", [])
    assert "mine is a file" in outcome.err


def test_a_folder_whose_name_is_not_utf8_is_scored_and_saved(debater: Debater, task: Path) -> None:
    named = task.with_name(os.fsdecode(b"caf\xe9"))
    task.rename(named)
    arguments = ("eval", str(named), "--mode", "lexical", "--output", "results")
    first, again = debater(*arguments), debater(*arguments)
    assert (first.code, again.code) == (0, 0)
    assert first.out == again.out
    assert "not scored again" in again.err
