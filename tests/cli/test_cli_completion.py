"""What TAB offers: the shell asks the program itself, by a variable of the environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.cli import completion
from debater_search.encoder.loading.hub import ALIASES
from debater_search.evaluation.beir import BEIR
from tests.cli.support import REPOSITORY, Debater

Complete = Callable[[str], list[str]]


@pytest.fixture
def folders(workdir: Path) -> None:
    """Two indexes, a folder that is none, and a task."""
    for name in ("indexes/papers", "indexes/films"):
        (workdir / name).mkdir(parents=True)
        (workdir / name / "manifest.json").write_text("{}")
    (workdir / "indexes/notes").mkdir()
    (workdir / "data/cranfield/qrels").mkdir(parents=True)


@pytest.fixture
def complete(debater: Debater, monkeypatch: pytest.MonkeyPatch) -> Complete:
    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_DEBATER_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        outcome = debater()
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.out.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("debater fac", ["facets"]),
        ("debater info ", ["indexes/films", "indexes/papers"]),
        ("debater search --index indexes/p", ["indexes/papers"]),
        ("debater serve indexes/papers ", ["indexes/films", "indexes/papers"]),
        ("debater search --mode ", ["dense", "lexical", "hybrid"]),
        ("debater index corpus.jsonl --model ", list(ALIASES)),
        ("debater eval d", ["data/cranfield"]),
        ("debater eval beir/sci", ["beir/scidocs", "beir/scifact"]),
        ("debater info nowhere", []),
    ],
)
def test_names_are_offered_by_where_they_belong(
    complete: Complete, folders: None, line: str, offered: list[str]
) -> None:
    assert complete(line) == offered


def test_the_sets_of_beir_are_those_that_can_be_evaluated() -> None:
    assert [name for name in completion.task_names() if name.startswith("beir/")] == [f"beir/{name}" for name in BEIR]


def test_completing_imports_nothing_heavy(workdir: Path) -> None:
    heavy = {"torch", "transformers", "faiss", "mteb", "pyarrow", "numpy", "peft", "yaml"}
    code = (
        "import os, sys; from debater_search.cli import main\n"
        "for line in ('debater index c --model ', 'debater info ', 'debater eval ', 'debater se'):\n"
        "    os.environ.update(COMP_WORDS=line, COMP_CWORD=str(line.count(' ')))\n"
        f"    assert (main([]), {heavy} & set(sys.modules)) == (0, set()), line"
    )
    environment = os.environ | {"_DEBATER_COMPLETE": "complete_bash", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)


def test_the_script_for_a_shell_asks_the_program(debater: Debater, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    outcome = debater("--show-completion")
    assert outcome.code == 0
    assert "_DEBATER_COMPLETE=complete_bash" in outcome.out
    assert outcome.out.rstrip().endswith(" debater")
