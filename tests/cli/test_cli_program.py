import os
import subprocess
import sys
from pathlib import Path

import pytest

import debater_search
from tests.cli.support import REPOSITORY, Debater

COMMANDS = ("train", "index", "search", "eval", "mine", "info", "facets", "demo")


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


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "debater_search", "--version"], cwd=REPOSITORY, capture_output=True)
    assert ran.stdout.decode() == f"debater {debater_search.__version__}\n"


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


MISTAKES = [
    ["train", "nowhere.yaml"],
    ["train", "train.yaml", "lr=1"],
    ["train", "train.yaml"],  # its data is missing
    ["train", "train.yaml", "data.0.path=rows.jsonl", "model=nowhere"],
    ["train", "train.yaml", "data.0.path=rows.jsonl", "eval.task=nowhere"],
    ["train", "train.yaml", "data.0.path=rows.jsonl", "--processes", "0"],
    ["train", "train.yaml", "data.0.path=rows.jsonl", "--output", "taken"],
    ["train", "train.yaml", "--dry-run", "model=nowhere"],
    ["index", "nowhere.jsonl"],
    ["index", "rows.jsonl", "--model", "nowhere"],
    ["index", "rows.jsonl", "--type", "flatt"],
    ["index", "rows.jsonl", "--type", "HNSW0"],
    ["index", "rows.jsonl", "--recall", "7"],
    ["index", "rows.jsonl", "--memory", "much"],
    ["index", "rows.jsonl", "--passages", "0"],
    ["index", "rows.jsonl", "--embeddings", "nowhere"],
    ["index", "rows.jsonl", "--output", "taken"],
    ["search", "wing", "-i", "nowhere"],
    ["search", "wing", "-i", "indexes/flight", "--where", "year >"],
    ["search", "wing", "-i", "indexes/flight", "--where", "yeer = 1", "--model", "minilm"],
    ["search", "wing", "-i", "indexes/flight", "--model", "nowhere"],
    ["search", "--queries", "nowhere.jsonl", "--run", "r.trec", "-i", "indexes/flight", "--model", "minilm"],
]


def test_mistakes_are_found_before_torch_is_imported(index: Path, workdir: Path) -> None:
    (workdir / "train.yaml").write_text("model: minilm\noutput: o\ndata: [{path: nowhere.jsonl}]\n")
    (workdir / "rows.jsonl").write_text('{"id": "1", "text": "t", "query": "q", "positive": "p"}\n')
    (workdir / "taken").mkdir()
    (workdir / "taken" / "thesis.tex").write_text("years of work")
    in_a_fresh_process(
        "import sys; from debater_search.cli import main\n"
        f"for arguments in {MISTAKES!r}:\n"
        "    assert (main(arguments), 'torch' in sys.modules) == (2, False), arguments"
    )
