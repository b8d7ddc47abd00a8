"""`debater eval --output`: existing outputs, and options that do not go together."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Debater

QRELS = "tasks/flight/qrels/test.tsv"


def saved(folder: str = "results") -> Any:
    return json.loads(Path(folder, "results.json").read_text(encoding="utf-8"))


def test_a_refused_output_names_the_flags(debater: Debater, task: Path) -> None:
    assert debater("eval", str(task), "--mode", "lexical", "--output", "results").code == 0
    refused = debater("eval", str(task), "--output", "results")
    assert (refused.code, refused.out) == (2, "")
    assert "Choose another --output, or replace it with --force." in refused.err


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


def test_a_run_that_is_scored_again_keeps_its_comparisons_unless_forced(debater: Debater, task: Path) -> None:
    for name, document in (("a", "noise"), ("b", "stall"), ("c", "layer")):
        Path(f"{name}.trec").write_text(f"q1 Q0 {document} 1 2 t\n", encoding="utf-8")
    arguments = ("eval", "--run", "a.trec", "--qrels", QRELS, "--output", "results")
    assert debater(*arguments, "--compare", "b.trec").code == 0
    again = debater(*arguments)
    assert (again.code, [entry["baseline"] for entry in saved()["comparisons"]]) == (0, ["b"])
    assert "Already in results, not saved again: a on flight." in again.err
    assert debater(*arguments, "--compare", "c.trec").code == 0
    assert {entry["baseline"] for entry in saved()["comparisons"]} == {"b", "c"}
    assert debater(*arguments, "--force").code == 0
    assert saved()["comparisons"] == []


@pytest.mark.parametrize("changed", ["a.trec", QRELS])
def test_a_run_that_changed_and_other_judgements_are_refused(debater: Debater, task: Path, changed: str) -> None:
    Path("a.trec").write_text("q1 Q0 noise 1 2 t\n", encoding="utf-8")
    arguments = ("eval", "--run", "a.trec", "--qrels", QRELS, "--output", "results")
    assert debater(*arguments, "--compare", "a.trec").code == 0
    before = saved()
    with Path(changed).open("a", encoding="utf-8") as file:
        file.write("q2\tnoise\t1\n" if changed == QRELS else "q2 Q0 noise 1 2 t\n")
    refused = debater(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "replace it with --force" in refused.err
    assert saved() == before
    assert debater(*arguments, "--force").code == 0


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
