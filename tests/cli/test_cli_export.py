"""`debater export` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.encoder import Encoder
from tests.cli.support import Debater


def test_it_writes_a_folder_that_loads_and_says_so(
    debater: Debater, tiny_model: Callable[..., Path], workdir: Path
) -> None:
    model = str(tiny_model("bert"))
    outcome = debater("export", model, "--output", "out", "--json")
    assert outcome.code == 0, outcome.err
    written = json.loads(outcome.out)
    assert (written["output"], written["format"], written["repository"]) == ("out", "hf", None)
    assert Encoder.load("out").fingerprint == Encoder.load(model).fingerprint
    outcome = debater("export", model, "--output", "out")
    assert (outcome.code, "--force" in outcome.err) == (2, True)
    assert "MB" in debater("export", model, "--output", "out", "--force").out


def test_push_comes_after_the_export_and_needs_a_name(
    debater: Debater, tiny_model: Callable[..., Path], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Any] = []

    def push(folder: Path, repository: str, **options: Any) -> str:
        pushed.append((folder.name, (folder / "debater.json").is_file(), repository, options))
        return f"https://huggingface.co/{repository}"

    monkeypatch.setattr("debater_search.encoder.export.push.push", push)
    outcome = debater("export", str(tiny_model("bert")), "--output", "out", "--push", "me/mine")
    assert outcome.code == 0, outcome.err
    assert pushed == [("out", True, "me/mine", {"public": False})]
    assert "https://huggingface.co/me/mine" in outcome.out
    for arguments in (["--push", "mine"], ["--public"]):
        outcome = debater("export", str(tiny_model("bert")), "--output", "other", *arguments)
        assert outcome.code == 2
        assert not Path("other").exists()
