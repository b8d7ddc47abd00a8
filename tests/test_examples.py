"""The examples in docstrings run, and every public name has one."""

import doctest
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

import debater_search
from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.indexing import build, change
from debater_search.search import SearchEngine, model
from debater_search.types import Document, Like, Query
from tests.rerankers import save_bert

PACKAGES = ("", ".encoder", ".evaluation", ".export", ".indexing", ".mining", ".search", ".training")
NOTES = [
    {"_id": "wings", "title": "Wings", "text": "A wing carries an aircraft by its lift.", "year": 1955},
    {"_id": "heat", "title": "Heat", "text": "Heat flows from a hot wall to cold air.", "year": 1962},
    {"_id": "ice", "title": "Ice", "text": "Ice makes a propeller slow.", "year": 1948},
]
QUERIES = {"q1": "what carries an aircraft?", "q2": "what flows to cold air?"}


def public() -> dict[str, Any]:
    """Functions and classes that users call, by their full names. What a function returns is in its example."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"debater_search{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or (inspect.isclass(value) and not _is_returned(value)):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


def _is_returned(value: type) -> bool:
    return is_dataclass(value) or Protocol in value.__bases__ or not value.__module__.startswith("debater_search")


def documented() -> list[doctest.DocTest]:
    """The examples of every module that a public name comes from, and of the nouns."""
    modules = {value.__module__ for value in public().values()}
    modules |= {"debater_search.types", "debater_search.search.opened", "debater_search.encoder.base"}
    finder = doctest.DocTestFinder()
    tests = [test for name in sorted(modules) for test in finder.find(importlib.import_module(name))]
    return [test for test in tests if test.examples]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("debater-small", device="cpu")


@pytest.fixture(scope="module")
def place(encoder: Encoder, tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what examples read: a corpus, an index of it, a task, runs, training data, models."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "task" / "qrels").mkdir(parents=True)
    _lines(folder / "notes.jsonl", NOTES)
    _lines(folder / "task" / "corpus.jsonl", NOTES)
    _lines(folder / "task" / "queries.jsonl", [{"_id": id, "text": text} for id, text in QUERIES.items()])
    (folder / "task" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\twings\t1\nq2\theat\t2\n")
    (folder / "run.trec").write_text("q1 Q0 wings 1 2.0 run\nq2 Q0 heat 1 2.0 run\n")
    (folder / "other.trec").write_text("q1 Q0 ice 1 2.0 other\nq2 Q0 heat 1 2.0 other\n")
    rows = [{"query": f"what is {note['_id']}?", "positive": note["text"]} for note in NOTES]
    _lines(folder / "train.jsonl", [*rows, {"query": "what carries?", "positive": NOTES[0]["text"]}])
    settings = {"model": "models/tiny", "thinking_steps": 3, "data": [{"path": "train.jsonl"}],
                "max_length": {"query": 32, "document": 48}, "batch_size": 4, "max_steps": 2, "save_steps": 2,
                "output": "checkpoints/tiny"}  # fmt: skip
    (folder / "train.yaml").write_text(json.dumps(settings))
    released = {"model_name_or_path": "base", "dataset_file_path": "data", "pooling_mode": "M_token"}
    (folder / "released.json").write_text(json.dumps(released))
    (folder / "models").mkdir()
    shutil.copytree(tiny_model("bert"), folder / "models" / "tiny")
    save_bert(folder / "models" / "reranker")
    build(NOTES, encoder, folder / "indexes" / "notes")
    return folder


@pytest.fixture
def names(place: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What examples may use without saying so, in a working directory of their own. The model is loaded once."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model, "load_again", lambda *_, **__: encoder)
    monkeypatch.setattr(change, "load_again", lambda *_, **__: encoder)
    engine = SearchEngine.open("indexes/notes", encoder=encoder)
    yield {"encoder": encoder, "engine": engine, "SearchEngine": SearchEngine, "Encoder": Encoder, "Like": Like,
           "Document": Document, "Query": Query, "DebaterError": DebaterError}  # fmt: skip
    engine.close()


@pytest.mark.parametrize("test", documented(), ids=lambda test: test.name)
def test_the_example_runs(test: doctest.DocTest, names: dict[str, Any]) -> None:
    test.globs = {**test.globs, **names}
    said: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.DocTestRunner(optionflags=options).run(test, out=said.append)
    assert not failed, "".join(said)


@pytest.mark.parametrize("name", sorted(public()))
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in inspect.getdoc(public()[name]) or "", name


@pytest.mark.parametrize("of", [Encoder, SearchEngine])
def test_every_method_for_queries_documents_and_changes_has_an_example(of: type) -> None:
    methods = {
        Encoder: ("load", "encode_queries", "encode_documents", "deliberate", "save"),
        SearchEngine: ("open", "answer", "answer_batch", "search", "search_batch", "search_many", "asearch",
                       "more_like", "add", "update", "delete", "warm_up", "refresh"),
    }[of]  # fmt: skip
    for name in methods:
        assert ">>> " in (inspect.getdoc(getattr(of, name)) or ""), name


def test_names_that_load_on_first_use_are_those_that_are_listed() -> None:
    assert set(debater_search.__all__) <= set(dir(debater_search))
    assert all(hasattr(debater_search, name) for name in dir(debater_search))


@pytest.mark.parametrize("package", sorted(set(debater_search._PACKAGES) - {"export"}))
def test_completion_lists_the_public_names_of_a_package_alone(package: str) -> None:
    module = getattr(debater_search, package)
    assert dir(module) == sorted(module.__all__)


def test_evaluate_and_compare_come_with_the_package_and_load_on_first_use() -> None:
    code = (
        "import sys, debater_search\n"
        "assert not any(name.startswith('debater_search.evaluation') for name in sys.modules)\n"
        "from debater_search import compare, evaluate, evaluation\n"
        "assert (evaluation.compare, evaluation.evaluate) == (compare, evaluate)\n"
        "import debater_search.evaluation.evaluate\n"
        "assert debater_search.evaluate is debater_search.evaluation.evaluate is evaluate"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + os.linesep for row in rows), encoding="utf-8")
