import os
import subprocess
import sys
from pathlib import Path

import pytest

import debater_search
from tests.cli.support import REPOSITORY, Debater

COMMANDS = ("train", "index", "search", "eval", "mine", "info", "demo")


def test_help_lists_every_command(debater: Debater) -> None:
    outcome = debater("--help")
    assert outcome.code == 0
    assert all(command in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_examples_and_json(debater: Debater, command: str) -> None:
    outcome = debater(command, "--help")
    assert outcome.code == 0
    assert f"Usage: debater {command} " in outcome.out
    assert f"Examples: debater {command}" in " ".join(outcome.out.split())
    assert "--json" in outcome.out


def test_version_is_the_packages(debater: Debater) -> None:
    assert debater("--version").out == f"debater {debater_search.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["fly"], ["search", "--wings"], ["search", "-k", "many", "x"], ["search", "-k", "0", "x"], ["index"]]
)
def test_wrong_usage_says_so_on_stderr_and_is_the_users_mistake(debater: Debater, arguments: list[str]) -> None:
    outcome = debater(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--help" in outcome.err
    assert "Traceback" not in outcome.err


def in_a_fresh_process(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def test_the_program_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "faiss", "mteb", "pyarrow", "numpy", "pydantic", "peft", "rich", "yaml"}
    in_a_fresh_process(f"import sys, debater_search.cli.commands; assert not {heavy} & set(sys.modules)")


def test_help_of_a_command_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "faiss", "mteb", "pyarrow", "numpy", "pydantic"}
    in_a_fresh_process(
        "import sys; from debater_search.cli import main\n"
        f"assert main(['search', '--help']) == 0; assert not {heavy} & set(sys.modules)"
    )


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("arguments", ["--json", ""])
def test_closed_streams_end_no_command(index: Path, closed: str, arguments: str, workdir: Path) -> None:
    (workdir / "run.py").write_text(
        "import sys\nfrom debater_search.cli import main\n"
        "code = main(sys.argv[1:])\nopen('code', 'w').write(str(code))\n"
    )
    command = f'"{sys.executable}" run.py search propellers --mode lexical -i {index} {arguments} {closed}'
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(["sh", "-c", command], cwd=workdir, env=environment, capture_output=True, text=True)
    assert Path("code").read_text() == "0"
    assert ("Propellers are loud" in ended.stdout) == ("1>&-" not in closed)
    assert "Traceback" not in ended.stderr
