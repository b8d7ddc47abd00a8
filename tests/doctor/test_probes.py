"""Whatever a check does to its process, the examination goes on and says it."""

import time
from pathlib import Path

import pytest

from debater_search.doctor import Asked, Check, Finding, examine
from debater_search.doctor.finding import shown, without_private_paths

CRASHING = Check("crashing", "tests.doctor.crashing", "pip install another")
FAILING = Check("failing", "tests.doctor.failing", "pip install again")


def test_a_check_that_crashes_is_a_problem_and_what_it_found_before_is_kept() -> None:
    assert list(examine(Asked(), [CRASHING])) == [
        Finding("ok", "crashing", "something"),
        Finding("problem", "crashing", "The check crashed (SIGSEGV).", "pip install another"),
    ]


def test_a_check_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    hanging = Check("hanging", "tests.doctor.hanging", "Wait.", seconds=3)
    (found,) = examine(Asked(index=str(started)), [hanging])
    assert found == Finding("problem", "hanging", "The check did not end within 3 seconds.", "Wait.")
    require_ended(int(started.read_text()))


def test_checks_run_at_the_same_time_and_are_told_in_the_order_of_the_table() -> None:
    assert [finding.subject for finding in examine(Asked(), [FAILING, CRASHING, FAILING])] == [
        "failing", "crashing", "crashing", "failing",
    ]  # fmt: skip


def test_an_error_says_its_own_hint_and_without_one_the_remedy_of_the_check() -> None:
    (found,) = examine(Asked(model="hint"), [FAILING])
    assert found == Finding("problem", "failing", "It is gone.", "Look elsewhere.")
    (found,) = examine(Asked(model="exit"), [FAILING])
    assert found == Finding("problem", "failing", "The check ended with exit code 3.", "pip install again")


def test_no_path_above_home_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (found,) = examine(Asked(), [FAILING])
    assert found.message == "ImportError: ~/venv/lib/libfaiss.so: undefined symbol; …/lib.so too"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{home}/a/b is gone", "~/a/b is gone"),
        ("'{home}/a.txt', {home}.", "'~/a.txt', ~."),
        ("{cwd}/indexes/x and {cwd}", "indexes/x and ."),
        ("{home}ice/a", "…/a lice/a"),
        ("/usr/lib/libc.so: no", "…/libc.so: no"),
        ("https://pytorch.org/get-started, 3/4, a/b", "https://pytorch.org/get-started, 3/4, a/b"),
    ],
)
def test_paths_are_seen_from_home_or_the_working_directory(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, cwd = tmp_path / "a l", tmp_path / "work"
    cwd.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(cwd)
    assert without_private_paths(text.format(home=home, cwd=cwd)) == said
    assert shown(Path("indexes/x")) == "indexes/x"


def test_a_file_of_the_working_directory_does_not_take_the_place_of_a_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sqlite3.py").write_text("raise SystemError")
    monkeypatch.chdir(tmp_path)
    found = list(examine(Asked(), [Check("sqlite", "debater_search.doctor.sqlite")]))
    assert [(finding.level, finding.subject) for finding in found] == [("ok", "sqlite")]


def test_no_probe_is_left_when_nobody_listens_any_more(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    hanging = Check("hanging", "tests.doctor.hanging", seconds=1000)
    findings = examine(Asked(index=str(started)), [CRASHING, hanging])
    next(findings)
    while not (started.exists() and started.read_text()):
        time.sleep(0.05)
    findings.close()  # type: ignore[attr-defined]
    require_ended(int(started.read_text()))


def require_ended(pid: int) -> None:
    """Wait until a process is gone, or a zombie that its new parent has not buried yet."""
    status = Path(f"/proc/{pid}/status")
    for _ in range(100):
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")
