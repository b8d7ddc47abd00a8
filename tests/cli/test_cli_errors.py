import errno
import os
from typing import NoReturn

import pytest

from debater_search.errors import DebaterError
from tests.cli.support import Debater


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What `debater info` will fail with: put an exception in."""
    waiting: list[BaseException] = []

    def describe(_folder: object) -> NoReturn:
        raise waiting[0]

    monkeypatch.setattr("debater_search.indexing.description.describe", describe)
    return waiting


def test_a_users_mistake_is_a_sentence_a_hint_and_exit_code_2(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(DebaterError("The wing is off.", "Put it on."))
    outcome = debater("info", "indexes/x", "--json")
    assert (outcome.code, outcome.out, outcome.err) == (2, "", "Error: The wing is off.\nPut it on.\n")


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, 2), (errno.ENOENT, 2), (errno.EROFS, 2), (errno.ENOSPC, 1), (errno.EIO, 1)]
)
def test_trouble_with_a_file_is_a_sentence(
    debater: Debater, failing: list[BaseException], number: int, code: int
) -> None:
    failing.append(OSError(number, os.strerror(number), "indexes/x"))
    outcome = debater("info", "indexes/x")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(f"Error: {os.strerror(number)} (indexes/x).\n")
    assert "Traceback" not in outcome.err


def test_full_memory_is_a_sentence(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(MemoryError())
    outcome = debater("info", "indexes/x")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: The memory is full.")


def test_anything_else_is_our_bug_and_shows_its_traceback(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError("so it goes"))
    outcome = debater("info", "indexes/x", "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert "ZeroDivisionError: so it goes" in outcome.err
    assert "Error: This is a bug in debater" in outcome.err


def test_an_interrupt_is_one_line_and_130(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(KeyboardInterrupt())
    outcome = debater("info", "indexes/x", "--json")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "Interrupted.\n")


def test_arguments_in_backquotes_become_what_the_command_takes(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(DebaterError("No `index` there.", "Give `as_json`, not `thinking_steps`."))
    assert debater("info", "indexes/x").err == "Error: No INDEX there.\nGive --json, not `thinking_steps`.\n"


def test_arguments_with_another_name_in_python_become_their_flags(debater: Debater) -> None:
    from debater_search.cli.commands import program_for
    from debater_search.cli.errors import flags_of

    flags = flags_of(program_for(["eval"])[0])
    assert (flags["baselines"], flags["analyses"], flags["tasks"]) == ("--baseline", "--analyse", "TASK")
    assert flags["index_type"] == "--index-type"
    flags = flags_of(program_for(["index"])[0])
    assert (flags["folder"], flags["encoder"], flags["encode_only"]) == ("--output", "--model", "--encode-only")


def test_a_hostile_file_name_cannot_command_the_terminal(debater: Debater, failing: list[BaseException]) -> None:
    failing.append(DebaterError("No \x1b]0;owned\x07 file\nhere."))
    assert debater("info", "indexes/x").err == "Error: No \\x1b]0;owned\\x07 file here.\n"
