"""An output folder that holds results: which are taken, which are computed again, which are refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from debater_search.errors import InvalidError
from debater_search.evaluation import Campaign, baselines, evaluate_run
from tests.evaluation.flight import model, saved


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every task and mode that is scored by search."""
    calls: list[tuple[str, str]] = []
    real = baselines.evaluate

    def counted(task: Any, *rest: Any, **options: Any) -> Any:
        calls.append((task.name, options["mode"]))
        return real(task, *rest, **options)

    monkeypatch.setattr(baselines, "evaluate", counted)
    return calls


def test_an_interrupted_campaign_resumes_and_scores_nothing_twice(
    group: Path, output: Path, scored: list[tuple[str, str]]
) -> None:
    for outcome in Campaign([group], model(), output=output):
        assert outcome.name == "flight"
        break
    outcomes = list(Campaign([group], model(), output=output))
    assert [name for name, _ in scored] == ["flight", "gliding", "soaring"]
    assert [outcome.name for outcome in outcomes] == ["flight", "gliding", "soaring"]
    assert outcomes[-1].means[0].metrics["ndcg@10"] > 0
    again = list(Campaign([group], model(), output=output))
    assert [outcome.results for outcome in again] == [outcome.results for outcome in outcomes]
    assert len(scored) == 3
    list(Campaign([group], model(), output=output, force=True))
    assert len(scored) == 6


def test_a_finished_campaign_reads_no_run_and_writes_nothing(
    task: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = Campaign([task], model(), baselines=["bm25"], output=output)
    before = (output / "results.json").stat().st_mtime_ns

    def read(path: Any) -> Any:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("debater_search.evaluation.reuse.read_run", read)
    (again,) = Campaign([task], model(), baselines=["bm25"], output=output)
    assert (again.results, again.comparisons) == (first.results, first.comparisons)
    assert (output / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_results_on_other_data_are_refused(task: Path, output: Path, tmp_path: Path, file: str) -> None:
    list(Campaign([task], mode="lexical", output=output))
    shutil.copytree(task, tmp_path / "copies" / "flight")
    list(Campaign([tmp_path / "copies" / "flight"], mode="lexical", output=output))  # the same data elsewhere
    text = (task / file).read_text(encoding="utf-8")
    changed = text.replace("noise\t1", "noise\t2").replace("ropellers", "rotors")
    assert changed != text
    (task / file).write_text(changed, encoding="utf-8")
    with pytest.raises(InvalidError, match="of another model or data, or made with other settings"):
        iter(Campaign([task], mode="lexical", output=output))
    list(Campaign([task], mode="lexical", output=output, force=True))


@pytest.mark.parametrize("other", [{"mode": "hybrid"}, {"instruction": "Find:"}, {"index_type": "sq8"}, {}])
def test_results_of_another_model_or_setting_are_refused(task: Path, output: Path, other: dict[str, Any]) -> None:
    list(Campaign([task], model(), output=output))
    before = (output / "flight" / "run.trec").read_bytes()
    with pytest.raises(InvalidError, match="holds a run already"):
        iter(Campaign([task], model("m" if other else "m2"), output=output, **other))
    assert (output / "flight" / "run.trec").read_bytes() == before


def test_a_run_of_unknown_origin_is_refused(task: Path, output: Path) -> None:
    (output / "flight").mkdir(parents=True)
    (output / "flight" / "run.trec").write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    with pytest.raises(InvalidError, match="holds a run already"):
        iter(Campaign([task], model(), output=output))


def test_a_baseline_named_later_costs_the_model_nothing(
    task: Path, output: Path, tmp_path: Path, scored: list[tuple[str, str]]
) -> None:
    run = tmp_path / "other.trec"
    run.write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    list(Campaign([task], model(), compare=[run], analyses=["lengths"], output=output))
    (flight,) = Campaign([task], model(), baselines=["bm25"], output=output)
    assert scored == [("flight", "dense"), ("flight", "lexical")]
    assert [result.model for result in flight.results] == ["m", "bm25"]
    found = saved(output)
    assert [entry["model"] for entry in found["results"]] == ["m", "bm25"]
    assert {entry["baseline"] for entry in found["comparisons"]} == {"other", "bm25"}
    assert [entry["name"] for entry in found["analyses"]] == ["lengths"]


def test_a_baseline_that_changed_is_refused_and_one_elsewhere_is_taken(
    task: Path, output: Path, tmp_path: Path
) -> None:
    run = tmp_path / "other.trec"
    run.write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    list(Campaign([task], model(), baselines=[run], output=output))
    before = saved(output)
    copy = tmp_path / "copies" / "other.trec"
    copy.parent.mkdir()
    shutil.copy(run, copy)
    list(Campaign([task], model(), baselines=[copy], output=output))
    assert saved(output) == before
    run.write_text("q1 Q0 stall 1 2 t\n", encoding="utf-8")
    with pytest.raises(InvalidError, match="holds a result of other already, of another model or data"):
        iter(Campaign([task], model(), baselines=[run], output=output))
    assert saved(output) == before
    list(Campaign([task], model(), baselines=[run], output=output, force=True))
    assert saved(output) != before


def test_only_missing_analyses_are_made(
    task: Path, output: Path, scored: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    list(Campaign([task], model(), analyses=["lengths"], output=output))
    caplog.clear()
    with caplog.at_level("INFO"):
        list(Campaign([task], model(), analyses=["lengths", "weights"], output=output))
    assert [message for message in caplog.messages if "Analysing" in message] == ["Analysing flight: weights."]
    assert [name for name, _ in scored] == ["flight"]
    list(Campaign([task], model("m2"), output=output, force=True))
    caplog.clear()
    with caplog.at_level("INFO"):
        list(Campaign([task], model("m2"), analyses=["lengths"], output=output))
    assert "Analysing flight: lengths." in caplog.messages  # the picture that is there is another model's


def test_a_result_that_is_replaced_takes_its_analyses_along(task: Path, output: Path) -> None:
    list(Campaign([task], model(), analyses=["lengths"], output=output))
    list(Campaign([task], model(), output=output, force=True))
    assert saved(output)["analyses"] == []


def test_a_run_without_its_result_is_replaced(group: Path, output: Path) -> None:
    list(Campaign([group], model(), output=output))
    found = saved(output)
    found["results"] = [result for result in found["results"] if result["task"] != "soaring"]
    (output / "results.json").write_text(json.dumps(found), encoding="utf-8")
    assert len(list(Campaign([group], model(), output=output))) == 3


KILLED = """
import os, sys
import debater_search.evaluation.results as results
kills, calls, write = int(sys.argv[3]), [], results.write_results
def killed(*arguments):
    calls.append(arguments)
    if len(calls) == kills:
        os.kill(os.getpid(), 9)
    write(*arguments)
results.write_results = killed
if sys.argv[4:]:
    results_of = __import__("debater_search.evaluation", fromlist=["evaluate_run"])
    results_of.evaluate_run(sys.argv[4], sys.argv[1] + "/qrels/test.tsv", output=sys.argv[2])
else:
    from debater_search.evaluation import Campaign
    list(Campaign([sys.argv[1]], mode="lexical", output=sys.argv[2]))
"""


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("by_run", [False, True])
def test_killed_while_the_first_result_is_saved_it_resumes(
    task: Path, output: Path, tmp_path: Path, kills: int, by_run: bool
) -> None:
    run = tmp_path / "a.trec"
    run.write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    arguments = [sys.executable, "-c", KILLED, str(task), str(output), str(kills), *([str(run)] if by_run else [])]
    done = subprocess.run(arguments, env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (output / "flight" / "run.trec").exists() == (kills == 2)
    if by_run:
        evaluate_run(run, task / "qrels" / "test.tsv", output=output)
    else:
        list(Campaign([task], mode="lexical", output=output))
    assert [entry["model"] for entry in saved(output)["results"]] == ["a" if by_run else "bm25"]


def test_results_under_an_earlier_fingerprint_of_the_model_are_taken_and_no_others(
    task: Path, output: Path, scored: list[tuple[str, str]]
) -> None:
    encoder = model()
    list(Campaign([task], encoder, output=output))
    results = saved(output)
    results["results"][0]["provenance"]["fingerprint"] = "as release 0.1 had it"
    (output / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(InvalidError, match="of another model"):
        list(Campaign([task], encoder, output=output))
    encoder.former_fingerprints = ("as release 0.1 had it",)
    list(Campaign([task], encoder, output=output))
    assert len(scored) == 1


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_result_names_its_instruction_and_fusion_and_one_of_before_stays_valid(
    task: Path, output: Path, scored: list[tuple[str, str]], mode: Any
) -> None:
    encoder = model()
    encoder.instruction = "Find:"
    list(Campaign([task], encoder, mode=mode, output=output))
    results = saved(output)
    provenance = results["results"][0]["provenance"]
    assert provenance["instruction"] == "Find:"
    fusion = {name: provenance.pop(name) for name in ("fusion", "weights") if name in provenance}
    assert fusion == ({"fusion": "weighted mean", "weights": [6.0, 1.0]} if mode == "hybrid" else {})
    list(Campaign([task], encoder, mode=mode, instruction="Find:", output=output))  # the same, named
    provenance["instruction"] = None  # as release 0.1 wrote it
    (output / "results.json").write_text(json.dumps(results), encoding="utf-8")
    list(Campaign([task], encoder, mode=mode, output=output))
    assert len(scored) == 1
    for settings in ({"instruction": "Look:"}, {"instruction": ""}):
        with pytest.raises(InvalidError, match="holds a run already"):
            iter(Campaign([task], encoder, mode=mode, output=output, **settings))
    if mode == "hybrid":
        provenance["weights"] = [2.0, 1.0]
        (output / "results.json").write_text(json.dumps(results), encoding="utf-8")
        with pytest.raises(InvalidError, match="holds a run already"):
            iter(Campaign([task], encoder, mode=mode, output=output))
