import json
import sys
from pathlib import Path
from typing import Any

import pytest

from debater_search.serving.keys import KeyFile
from tests.cli.support import Debater, Outcome


def test_keys_are_made_listed_and_revoked(debater: Debater, tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    made = debater("keys", "add", "page", "--scope", "search, judge", "--index", "papers*", "--expires", "2d",
                   "--keys", file, "--json")  # fmt: skip
    token = json.loads(made.out)["key"]
    caller = KeyFile(Path(file)).find(token)
    assert caller is not None
    assert (caller.scopes, caller.indexes) == ({"search", "judge"}, ("papers*",))
    (listed,) = json.loads(debater("keys", "list", "--keys", file, "--json").out)["keys"]
    assert (listed["name"], "sha256" in listed) == ("page", False)
    assert "page" in debater("keys", "list", "--keys", file).out
    assert debater("keys", "revoke", "page", "--keys", file).code == 0
    assert KeyFile(Path(file)).find(token) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add"], "No name was given."),
        (["add", "x", "--scope", "all"], "There is no scope 'all'."),
        (["add", "x", "--expires", "soon"], "'soon' is no period."),
        (["revoke", "x"], "There is no file of keys"),
    ],
)
def test_keys_that_cannot_be_made_are_a_sentence(
    debater: Debater, tmp_path: Path, arguments: list[str], message: str
) -> None:
    outcome = debater("keys", *arguments, "--keys", str(tmp_path / "keys.json"))
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


def test_a_key_for_no_index_that_is_here_is_made_with_a_warning(debater: Debater, index: Path) -> None:
    made = debater("keys", "add", "a", "--index", "fl*", "--index", "nope*", "--json")
    assert made.code == 0
    assert made.json["name"] == "a"
    assert made.err == "Warning: No index in indexes matches nope*. Indexes: flight.\n"


def test_serving_other_machines_without_keys_is_refused_by_the_flags_names(debater: Debater, tmp_path: Path) -> None:
    outcome = debater("serve", str(tmp_path), "--host", "0.0.0.0")
    assert outcome.code == 2
    assert "--no-keys" in outcome.err
    assert debater("serve", str(tmp_path / "nothing")).code == 2


def test_options_become_settings(debater: Debater, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("debater_search.serving.server.run", lambda *arguments: seen.append(arguments))
    outcome = debater("serve", str(tmp_path), "--port", "0", "--rate", "0", "--no-page", "--no-mcp", "--log-queries",
                      "--allow-origin", "https://app.example", "--max-k", "50")  # fmt: skip
    assert outcome.code == 0, outcome.err
    ((folders, settings),) = seen
    assert folders == [tmp_path]
    assert (settings.port, settings.rate, settings.max_k, settings.page, settings.mcp) == (0, 0, 50, False, False)
    assert (settings.log_queries, settings.allow_origins) == (True, ("https://app.example",))


def test_what_is_no_reranker_is_refused_before_the_server_listens(
    debater: Debater, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr("debater_search.serving.server.run", run)
    for model, message in (("nothing", "There is no model 'nothing'"), (str(tmp_path), "config.json is missing")):
        outcome = debater("serve", str(tmp_path), "--rerank", model)
        assert (outcome.code, message in outcome.err) == (2, True), outcome.err
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert "debater-search[rerank]" in debater("serve", str(tmp_path), "--rerank", "nothing").err


def test_without_the_extra_one_sentence_names_it(
    debater: Debater, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert debater("serve", str(tmp_path)) == Outcome(
        2, "", "Error: The library fastapi is not installed.\nInstall it: pip install 'debater-search[serve]'.\n"
    )
