"""`debater list` and `debater get`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from debater_search.indexing import build
from debater_search.types import Document
from tests.cli.support import Debater
from tests.fakes import FakeEncoder


@pytest.fixture
def indexes(workdir: Path) -> Path:
    """An index of vectors, an older one of words, and what is none."""
    documents = [
        Document("a", "Propellers are loud.\nVery.", "Noise", {"year": 1958, "tags": ["x", "y"], "gone": None}),
        Document("b", "\u202eWings\x1b[31m stall."),
    ]
    build(documents, FakeEncoder(), Path("indexes/papers"))
    build(documents[:1], None, Path("indexes/words"))
    made(Path("indexes/words"), timedelta(days=3, hours=2))
    Path("indexes/notes").mkdir()
    return Path("indexes")


def made(index: Path, ago: timedelta) -> None:
    manifest = json.loads((index / "manifest.json").read_text())
    manifest["created"] = (datetime.now(UTC) - ago).isoformat()
    (index / "manifest.json").write_text(json.dumps(manifest))


def test_the_indexes_of_a_folder_are_listed_the_newest_first(debater: Debater, indexes: Path) -> None:
    outcome = debater("list")
    assert outcome.code == 0
    _, first, second = (line.split() for line in outcome.out.splitlines() if line.strip())
    assert first[:3] == ["indexes/papers", "fake", "2"]
    assert first[-1] == "now"
    assert second[:4] == ["indexes/words", "words", "only", "1"]
    assert second[-2:] == ["3", "days"]


def test_json_lists_what_the_manifests_say(debater: Debater, indexes: Path) -> None:
    papers, words = debater("list", str(indexes), "--json").json["indexes"]
    assert (papers["model"], papers["documents"], papers["type"], papers["generation"]) == ("fake", 2, "flat", 0)
    assert papers["bytes"] == sum(path.stat().st_size for path in (indexes / "papers").rglob("*") if path.is_file())
    assert (words["model"], words["type"]) == (None, "lexical only")


def test_a_folder_without_indexes_has_none(debater: Debater, workdir: Path) -> None:
    assert debater("list").out == "There is no index in indexes.\nMake one: debater index CORPUS\n"
    (workdir / "empty").mkdir()
    assert debater("list", "empty", "--json").json == {"indexes": []}


def test_a_folder_that_does_not_exist_is_a_mistake(debater: Debater, workdir: Path) -> None:
    outcome = debater("list", "nowhere")
    assert (outcome.code, outcome.out) == (2, "")
    assert "There is no folder nowhere." in outcome.err


@pytest.mark.parametrize("created", ["", "yesterday", "2020-01-01T00:00:00"])
def test_a_manifest_may_say_anything_of_its_age(debater: Debater, indexes: Path, created: str) -> None:
    manifest: dict[str, Any] = json.loads((indexes / "words" / "manifest.json").read_text())
    (indexes / "words" / "manifest.json").write_text(json.dumps(manifest | {"created": created}))
    assert "unknown" in debater("list").out


def test_a_document_is_shown(debater: Debater, indexes: Path) -> None:
    outcome = debater("get", "indexes/papers", "a")
    assert outcome.out == ('id     a\ntitle  Noise\ntags   ["x", "y"]\nyear   1958\n\nPropellers are loud.\nVery.\n')
    assert debater("get", "indexes/papers", "a", "--json").json == {
        "index": "indexes/papers", "id": "a", "title": "Noise", "text": "Propellers are loud.\nVery.",
        "metadata": {"year": 1958, "tags": ["x", "y"], "gone": None},
    }  # fmt: skip


def test_what_would_command_the_terminal_is_spelled_out(debater: Debater, indexes: Path) -> None:
    assert debater("get", "indexes/papers", "b").out == "id  b\n\n\\u202eWings\\x1b[31m stall.\n"


def test_a_document_that_is_not_there_is_the_users_mistake(debater: Debater, indexes: Path) -> None:
    outcome = debater("get", "indexes/papers", "c")
    assert (outcome.code, outcome.out) == (2, "")
    assert "There is no document 'c' in indexes/papers." in outcome.err
    assert debater("get", "indexes/nothing", "a").code == 2


def test_several_documents_are_shown_one_after_another(debater: Debater, indexes: Path) -> None:
    outcome = debater("get", "indexes/papers", "b", "a", "b")
    assert outcome.out.startswith("id  b\n")
    assert "\n\nid     a\n" in outcome.out
    lines = debater("get", "indexes/papers", "b", "a", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["b", "a"]


def test_documents_that_are_there_are_shown_before_the_others_are_missed(debater: Debater, indexes: Path) -> None:
    outcome = debater("get", "indexes/papers", "c", "a", "d")
    assert outcome.code == 2
    assert outcome.out.startswith("id     a\n")
    assert "There is no document 'c' and no 'd' in indexes/papers." in outcome.err


def test_documents_that_a_filter_allows_are_shown_in_the_order_of_the_index(debater: Debater, workdir: Path) -> None:
    build([Document(str(n), f"Text {n}.", "", {"n": n}) for n in range(30)], None, Path("indexes/many"))
    outcome = debater("get", "many", "--where", "n >= 7", "-k", "2", "--json")
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()] == ["7", "8"]
    assert "The first 2 of 23 documents: -k 23 shows all." in outcome.err
    assert debater("get", "many", "--where", "n >= 0").out.count("Text") == 10
    none = debater("get", "many", "--where", "n > 99")
    assert (none.code, none.out) == (0, "")
    assert "No document matches the filter." in none.err


@pytest.mark.parametrize("given", [[], ["a", "--where", "year > 1"], ["a", "-k", "3"]])
def test_documents_are_named_either_by_ids_or_by_a_filter(debater: Debater, indexes: Path, given: list[str]) -> None:
    outcome = debater("get", "papers", *given)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--where" in outcome.err


def test_an_id_that_no_document_has_brings_similar_ones(debater: Debater, workdir: Path) -> None:
    ids = ["ops/long-queries.md", "ops/longest.md", "Belong.md", "prolong.md", "SKU-1044", "SKU-1045", "wing"]
    build([Document(id, "Text.") for id in ids], None, Path("indexes/notes"))
    for id, near in [
        ("long", 3),
        ("LONGEST", ["ops/longest.md"]),
        ("SKU-104", ["SKU-1044", "SKU-1045"]),
        ("wings", ["wing"]),
        ("win", ["wing"]),
        ("%", []),
        ("heat", []),
    ]:
        outcome = debater("get", "notes", id)
        assert outcome.code == 2
        hint = outcome.err.splitlines()[-1]
        if isinstance(near, int):
            assert hint.count("'") == 2 * near
        else:
            shown = f"Similar ids: {', '.join(map(repr, near))}."
            assert hint == (shown if near else "Hits show the ids of documents.")
