"""`debater doctor`."""

import json
import os
from pathlib import Path

import pytest

from debater_search.doctor import CHECKS, Check
from tests.cli.support import Debater

LIGHT = ("machine", "sqlite", "folder", "index")
LEVELS = {"ok", "note", "problem"}


@pytest.fixture
def light_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only checks that import neither torch nor FAISS, unless an index is examined."""
    monkeypatch.setattr("debater_search.doctor.checks.CHECKS", [c for c in CHECKS if c.subject in LIGHT])


@pytest.mark.usefixtures("light_checks")
def test_a_healthy_machine_has_no_problem(debater: Debater) -> None:
    outcome = debater("doctor")
    assert outcome.code == 0, outcome.out
    assert "ok       sqlite" in outcome.out
    assert "no problems" in outcome.out.splitlines()[-1]
    assert not [line for line in outcome.out.splitlines() if line != line.rstrip()]


@pytest.mark.usefixtures("light_checks")
def test_json_holds_every_finding_and_nothing_else_is_printed(debater: Debater) -> None:
    outcome = debater("doctor", "--json")
    assert outcome.json.keys() == {"problems", "notes", "findings"}
    assert all(finding.keys() == {"level", "subject", "message", "remedy"} for finding in outcome.json["findings"])
    for level in ("problem", "note"):
        assert outcome.json[f"{level}s"] == sum(f["level"] == level for f in outcome.json["findings"])
    assert {finding["level"] for finding in outcome.json["findings"]} <= LEVELS


def test_a_problem_is_told_with_what_mends_it_and_exit_code_2(
    debater: Debater, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = Check("torch", "tests.doctor.crashing", "pip install another")
    monkeypatch.setattr("debater_search.doctor.checks.CHECKS", [crashing])
    outcome = debater("doctor")
    assert outcome.code == 2
    assert "The check crashed (SIGSEGV)." in outcome.out
    assert "pip install another" in outcome.out
    assert outcome.out.endswith("1 problem, no notes.\n")
    assert debater("doctor", "--json").code == 2


@pytest.mark.usefixtures("light_checks")
def test_an_index_is_searched_and_what_is_wrong_with_it_told(debater: Debater, index: Path) -> None:
    (of_index,) = [f for f in debater("doctor", "-i", str(index), "--json").json["findings"] if f["subject"] == "index"
                   and f["level"] == "ok"]  # fmt: skip
    assert "indexes/flight: 3 documents" in of_index["message"]
    assert "searched in" in of_index["message"]
    (index / "documents.sqlite").unlink()
    outcome = debater("doctor", "-i", str(index), "--json")
    assert outcome.code == 2
    (of_index,) = [f for f in outcome.json["findings"] if f["subject"] == "index"]
    assert "documents.sqlite is missing" in of_index["message"]


@pytest.mark.usefixtures("light_checks")
def test_work_that_a_killed_command_left_is_named(debater: Debater, index: Path) -> None:
    for name in (".flight.building", ".flight.replaced", "half"):
        (index.parent / name).mkdir()
    (index.parent / "half" / "documents.sqlite").write_bytes(b"half a database")
    outcome = debater("doctor")
    assert outcome.code == 0
    for name in (".flight.building", ".flight.replaced", "half"):
        assert f"rm -r indexes/{name}" in outcome.out
    assert "rm -r indexes/flight" not in outcome.out


def test_the_whole_table_names_no_path_above_home_and_no_value_of_a_variable(
    debater: Debater, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = workdir / "secret-home"
    (home / "cache").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("HF_HOME", str(home / "cache" / "models"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("OMP_NUM_THREADS", "7654")
    outcome = debater("doctor", "--json")
    assert outcome.code == 0, outcome.out
    assert {f["subject"] for f in outcome.json["findings"]} >= {
        "python",
        "torch",
        "faiss",
        "sqlite",
        "cache",
        "threads",
    }
    said = json.dumps(outcome.json, ensure_ascii=False)
    for hidden in (str(workdir), "secret-home", "s3cr3t", "7654", os.sep + "usr", os.sep + "tmp"):
        assert hidden not in said
