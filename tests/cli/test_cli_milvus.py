"""An index on Milvus from the command line, and `debater drop`."""

from pathlib import Path

import pytest

from tests.cli.support import Debater


def test_an_index_on_milvus_is_built_searched_changed_and_dropped(
    debater: Debater, workdir: Path, corpus: Path, fake_model: list
) -> None:
    pytest.importorskip("milvus_lite")
    made = debater("index", "flight.jsonl", "--backend", "milvus", "--uri", "papers.db", "--json")
    assert made.code == 0, made.err
    assert made.json["type"] == "flat"
    assert made.json["server"] == str(workdir / "papers.db")
    hits = debater("search", "wing", "--json").json["hits"]
    assert len(hits) == made.json["documents"]
    assert debater("delete", "indexes/flight", hits[0]["id"]).code == 0
    assert debater("search", "wing", "--json").json["hits"][0]["id"] == hits[1]["id"]
    gone = debater("drop", "indexes/flight", "--json")
    assert gone.json == {"index": "indexes/flight", "dropped": True}
    assert not (workdir / "indexes" / "flight").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backend", "milvus"], "needs an address"),
        (["--uri", "papers.db"], "Leave --uri out"),
        (["--backend", "pinecone"], "no vector backend 'pinecone'"),
        (["--backend", "milvus", "--uri", "http://user:word@host:1"], "must not hold a password"),
    ],
)
def test_a_backend_that_cannot_be_used_is_told_in_one_sentence(
    debater: Debater, corpus: Path, fake_model: list, options: list[str], said: str
) -> None:
    outcome = debater("index", "flight.jsonl", *options)
    assert outcome.code == 2
    assert said in outcome.err


def test_only_an_index_is_dropped(debater: Debater, workdir: Path) -> None:
    (workdir / "notes").mkdir()
    (workdir / "notes" / "a.txt").write_text("kept")
    for name, said in (("notes", "not an index"), ("nowhere", "does not exist")):
        outcome = debater("drop", name)
        assert outcome.code == 2
        assert said in outcome.err
    assert (workdir / "notes" / "a.txt").exists()
