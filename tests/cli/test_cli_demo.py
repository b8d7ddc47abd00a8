"""The demo that comes with an install: the real Cranfield, and a model that counts words."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from debater_search.cli import main
from debater_search.cli.demo import QUESTIONS
from debater_search.store.manifest import IndexManifest, read_manifest
from tests.cli.support import Debater

MANIFEST = Path("indexes/demo/manifest.json")


class Terminal(io.StringIO):
    """A person who types lines."""

    def isatty(self) -> bool:
        return True


def test_the_demo_indexes_cranfield_with_debater_small_answers_and_says_what_to_do_next(
    debater: Debater, fake_model: list[dict[str, Any]]
) -> None:
    outcome = debater("demo", stdin="wing\n")
    assert outcome.code == 0
    assert [asked["model"] for asked in fake_model] == ["debater-small"]
    manifest = read_manifest(MANIFEST, IndexManifest)
    assert manifest.encoder is not None
    assert (manifest.encoder.recipe, manifest.corpus.documents) == ({"model": "debater-small"}, 1400)
    assert all(f"  {question}?" in outcome.out for question in QUESTIONS)
    assert outcome.out.count("\n3  ") == len(QUESTIONS)
    assert 'Next: debater search "your question" --index indexes/demo' in outcome.out
    assert "Warning: " not in outcome.err
    assert sys.stdin.read() == "wing\n", "a pipe is not taken for a person's questions"


def test_a_person_is_asked_on_and_leaves_with_q(
    workdir: Path, fake_model: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(":k 1\n:mode lexical\npropeller slipstream\n:q\nnever asked\n"))
    assert main(["demo"]) == 0
    after = capsys.readouterr().out.split("Next: ")[1]
    assert after.count("\n1  ") == 1
    assert "slipstream" in after
    assert sys.stdin.read() == "never asked\n"


def test_json_is_one_document_and_no_prompt(
    workdir: Path, fake_model: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("wing\n"))
    assert main(["demo", "--json", "--output", "mine"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["index"]) == ("debater-small", "mine")
    assert [entry["query"] for entry in result["answers"]] == list(QUESTIONS)
    assert all(len(entry["hits"]) == 3 for entry in result["answers"])
    assert sys.stdin.read() == "wing\n"


def test_a_finished_index_is_used_again_until_the_model_is_another(
    debater: Debater, fake_model: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert debater("demo").code == 0
    before = MANIFEST.read_bytes()
    again = debater("demo")
    assert "holds the index of Cranfield by debater-small already" in again.out
    assert MANIFEST.read_bytes() == before
    monkeypatch.setattr("debater_search.cli.options.DEFAULT_MODEL", "debater-small-2")
    assert debater("demo").code == 0
    assert json.loads(MANIFEST.read_text())["encoder"]["name"] == "debater-small-2"
    changed = MANIFEST.read_bytes()
    assert debater("demo", "--force").code == 0
    assert MANIFEST.read_bytes() != changed


def test_an_index_of_anything_else_is_refused_before_a_model_is_loaded_and_stays(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    before = (index / "manifest.json").read_bytes()
    outcome = debater("demo", "--output", str(index))
    assert outcome.code == 2
    assert "not the demo's" in outcome.err
    assert (index / "manifest.json").read_bytes() == before
    assert fake_model == []
