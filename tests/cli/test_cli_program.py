import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import debater_search
from debater_search.cli import commands as program
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


@pytest.mark.parametrize("command", ["", *program.COMMANDS])
def test_help_names_values_without_the_types_of_python(
    debater: Debater, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = debater(*command.split(), "--help").out.splitlines()
    assert not [line for line in lines if re.search(r"<(bool|str|int|float|path|file|dir|list)\b|list\[", line)]
    assert max(map(len, lines)) <= 80
    (flag,) = [line for line in lines if re.match(r"│ +--help", line)]
    assert re.search(r"--help +-h +Show this", flag)


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


def in_a_fresh_process(code: str, cwd: Path = REPOSITORY) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)


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


TRAIN = "train train.yaml data.0.path=rows.jsonl"
SEARCH = "search wing -i indexes/flight"
MISTAKES = {
    "train nowhere.yaml": "There is no config file nowhere.yaml",
    "train train.yaml lr=1": "lr",
    "train train.yaml": "There is no file nowhere.jsonl",
    "train train.yaml data.0.path=empty.jsonl": "There are no training examples in empty.jsonl",
    "train train.yaml data.0.path=columns.jsonl": "columns.jsonl, line 1: there is no query",
    "train train.yaml data.0.path=columns.jsonl --dry-run": "columns.jsonl, line 1: there is no query",
    f"{TRAIN} model=nowhere": "There is no model 'nowhere'",
    f"{TRAIN} eval.task=nowhere": "There is no retrieval task 'nowhere'",
    f"{TRAIN} batch_size=64": "rows, fewer than one batch",
    f"{TRAIN} --processes 0": "processes is 0",
    f"{TRAIN} --output taken": "taken",
    f"{TRAIN} --device gpu": "There is no device called 'gpu'",
    "train train.yaml --dry-run model=nowhere": "There is no model 'nowhere'",
    "index nowhere.jsonl": "There is no file nowhere.jsonl",
    "index empty.jsonl": "The corpus empty.jsonl is empty",
    "index columns.jsonl": "columns.jsonl, line 1: there is no id",
    "index columns.csv": "columns.csv, line 2: there is no id",
    "index nothing": "The corpus nothing is empty",
    "index rows.jsonl --model nowhere": "There is no model 'nowhere'",
    "index rows.jsonl --type flatt": "There is no index type 'flatt'",
    "index rows.jsonl --type HNSW0": "There is no index type 'HNSW0'",
    "index rows.jsonl --recall 7": "recall",
    "index rows.jsonl --memory much": "'much' is not an amount of memory",
    "index rows.jsonl --passages 0": "There are no passages of 0 tokens",
    "index rows.jsonl --embeddings nowhere": "nowhere",
    "index rows.jsonl --output taken": "taken is not empty and not an index",
    "index rows.jsonl --device gpu": "There is no device called 'gpu'",
    "index rows.jsonl --attention flash": "There is no attention called 'flash'",
    "index rows.jsonl --pooling median": "There is no pooling called 'median'",
    "index rows.jsonl --dim 0": "dim=0 is not possible",
    "index rows.jsonl --int8 --device cuda": "8-bit integers are for encoding on a CPU",
    "index rows.jsonl --backend faise": "There is no vector backend 'faise'",
    "add indexes/flight empty.jsonl --model minilm": "The corpus empty.jsonl is empty",
    "search wing -i nowhere": "The index nowhere does not exist",
    f"{SEARCH} --where yeer>": "yeer>",
    f"{SEARCH} --where yeer=1 --model minilm": "yeer",
    f"{SEARCH} --model nowhere": "There is no model 'nowhere'",
    f"{SEARCH} --weights 0,1": "are not weights for two rankings",
    f"{SEARCH} --rescore max": "holds only the last thinking step",
    f"{SEARCH} --rerank nowhere": "There is no model 'nowhere'",
    f"{SEARCH} --rerank-depth 5": "--rerank-depth has no effect without --rerank",
    f"{SEARCH} --device gpu": "There is no device called 'gpu'",
    "search --like nobody -i indexes/flight --mode lexical": "There is no document 'nobody'",
    "search --queries nowhere.jsonl --run r -i indexes/flight --model minilm": "There is no file nowhere.jsonl",
    "eval ./nowhere": "There is no folder ./nowhere",
    "eval beir/nowhere": "BEIR has no set 'nowhere'",
    "eval SciFac": "Did you mean SciFact?",
    "eval SciFac/en": "Did you mean SciFact?",
    "eval task --split tset": "has no split 'tset'",
    "eval task --model nowhere": "There is no model 'nowhere'",
    "eval task --baseline nowhere": "There is no model 'nowhere'",
    "eval task --baseline bm52": "Did you mean bm25?",
    "eval task --baseline no.trec": "A baseline may also be bm25 or a TREC run.",
    "eval task --compare nowhere": "There is no file nowhere",
    "eval task --rerank nowhere": "There is no model 'nowhere'",
    "eval task --index-type flatt": "There is no index type 'flatt'",
    "eval task --device gpu": "There is no device called 'gpu'",
    "eval task --output rows.jsonl": "rows.jsonl is a file",
    "mine nowhere.jsonl -i indexes/flight": "There is no file nowhere.jsonl",
    "mine empty.jsonl -i indexes/flight --model minilm": "There are no training examples in empty.jsonl",
    "mine columns.jsonl -i indexes/flight --model minilm": "columns.jsonl, line 1: there is no query",
    "mine task --split dev -i indexes/flight --model minilm": "has no split 'dev'",
    "mine rows.jsonl -i nowhere": "The index nowhere does not exist",
    "mine rows.jsonl -i indexes/flight --window 5:1": "5:1 is not a range of ranks",
    "mine rows.jsonl -i indexes/flight --output taken": "taken does not end in .jsonl",
}
"""A command, and what it says before anything heavy is imported."""
CHECK = """
import contextlib, io, sys

from debater_search.cli import main

for command, says in {mistakes!r}.items():
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(command.split())
    heavy = {{"torch", "transformers", "faiss", "mteb"}} & set(sys.modules)
    assert says in said.getvalue() and (code, heavy) == (2, set()), (command, code, heavy, said.getvalue())
"""


def test_mistakes_are_found_before_anything_heavy_is_imported(index: Path, workdir: Path) -> None:
    for name, content in {
        "train.yaml": "model: minilm\noutput: o\ndata: [{path: nowhere.jsonl}]\n",
        "rows.jsonl": '{"id": "1", "text": "t", "query": "q", "positive": "p"}\n',
        "taken/thesis.tex": "years of work",
        "nothing/.keep": "",
        "empty.jsonl": "",
        "columns.jsonl": '{"name": "1", "body": "t"}\n',
        "columns.csv": "name,body\n1,t\n",
        "task/corpus.jsonl": '{"_id": "d", "text": "t"}\n',
        "task/queries.jsonl": '{"_id": "q", "text": "t"}\n',
        "task/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\td\t1\n",
    }.items():
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(content, encoding="utf-8")
    in_a_fresh_process(CHECK.format(mistakes=MISTAKES), cwd=workdir)
