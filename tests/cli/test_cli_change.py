"""`debater add`, `delete`, `compact`, `index --update`, and what `info` and `verify` say of a changed index."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from debater_search.locks import LOCK_NAME, writing
from tests.cli.support import Debater

ASH = {"_id": "ash", "title": "Ash", "text": "Volcanic ash stops engines.", "year": 2010}
STALL = {"_id": "stall", "title": "Stall", "text": "Stall speed grows with weight."}


@pytest.fixture
def more(workdir: Path) -> Path:
    """A new document and a new text for an old one."""
    return write(workdir / "more.jsonl", ASH, STALL)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def found(debater: Debater, query: str, *options: str) -> list[str]:
    return [hit["id"] for hit in debater("search", query, "-i", "indexes/flight", "--json", *options).json["hits"]]


def test_add_says_what_it_did_and_search_finds_it(debater: Debater, index: Path, more: Path) -> None:
    outcome = debater("add", str(index), str(more), "--json")
    assert outcome.json == {
        "index": str(index), "added": 1, "updated": 1, "deleted": 0, "unchanged": 0, "encoded": 2, "documents": 4,
        "unknown": [], "generation": 1,
    }  # fmt: skip
    assert "Encoding: 2/2 documents" in outcome.err
    for mode in ("dense", "lexical", "hybrid"):
        assert found(debater, "volcanic ash", "--mode", mode)[0] == "ash"
    assert found(debater, "stalls at low speed", "--mode", "lexical") == ["stall"]
    assert found(debater, "ash", "--where", "year = 2010") == ["ash"]
    again = debater("add", str(index), str(more))
    assert (again.code, again.err) == (0, "")
    assert "unchanged  2" in again.out


def test_add_reads_standard_input(debater: Debater, index: Path) -> None:
    assert debater("add", str(index), "-", "--json", stdin=json.dumps(ASH)).json["documents"] == 4


def test_delete_by_ids_and_by_a_file_of_ids(debater: Debater, index: Path, workdir: Path) -> None:
    (workdir / "gone.txt").write_text("stall\n\nunknown\n", encoding="utf-8")
    outcome = debater("delete", str(index), "layer", "--ids", "gone.txt", "--json")
    assert outcome.json["deleted"] == 2
    assert outcome.json["unknown"] == ["unknown"]
    assert outcome.err == "Warning: No document has the id: unknown.\n"
    assert found(debater, "wing stalls layer", "-k", "99") == ["noise"]
    outcome = debater("delete", str(index), "noise")
    assert outcome.code == 2
    assert outcome.err.startswith("Error: That would leave the index without documents.")
    assert debater("delete", str(index)).code == 2


def test_delete_takes_out_what_a_filter_allows(debater: Debater, index: Path) -> None:
    outcome = debater("delete", str(index), "--where", "year is missing and title != 'Layers'", "--yes", "--json")
    assert (outcome.json["deleted"], outcome.json["unknown"], outcome.err) == (1, [], "")
    assert set(found(debater, "wing stalls layer", "-k", "99")) == {"layer", "noise"}
    outcome = debater("delete", str(index), "--where", "year > 2000", "--json")
    assert (outcome.json["deleted"], outcome.err) == (0, f"No document of {index} matches.\n")


def test_delete_by_a_filter_needs_a_terminal_or_a_yes(debater: Debater, index: Path) -> None:
    outcome = debater("delete", str(index), "--where", "year is missing", stdin="y\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"Error: --where would delete 2 documents of {index}, and there is no terminal to ask on.\n"
        "Add --yes to delete them.\n"
    )
    assert debater("info", str(index), "--json").json["documents"] == 3


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 1), ("", 1, 3), ("no", 1, 3)])
def test_delete_by_a_filter_asks_a_person(
    debater: Debater, index: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    monkeypatch.setattr("debater_search.cli.change.someone_is_there", lambda: True)
    outcome = debater("delete", str(index), "--where", "year is missing", stdin=f"{answer}\n")
    assert outcome.code == code
    assert outcome.err.startswith(f"Delete 2 documents of {index}? [y/N] ")
    assert ("Nothing was deleted." in outcome.err) == (code == 1)
    assert debater("info", str(index), "--json").json["documents"] == left


def test_update_makes_the_index_hold_the_corpus(debater: Debater, index: Path, corpus: Path) -> None:
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    write(corpus, ASH, rows[1], STALL)
    outcome = debater("index", "--update", str(corpus), "--json")
    assert {name: outcome.json[name] for name in ("added", "updated", "deleted", "unchanged", "encoded")} == {
        "added": 1, "updated": 1, "deleted": 1, "unchanged": 1, "encoded": 2,
    }  # fmt: skip
    assert set(found(debater, "wing", "-k", "99")) == {"ash", "layer", "stall"}


def test_info_counts_what_lives_was_added_and_deleted(debater: Debater, index: Path, more: Path) -> None:
    def counts() -> tuple[int, ...]:
        facts = debater("info", str(index), "--json").json
        return tuple(facts[name] for name in ("documents", "delta", "deleted", "generation"))

    assert counts() == (3, 0, 0, 0)
    debater("add", str(index), str(more))
    debater("delete", str(index), "noise")
    assert counts() == (3, 2, 2, 2)
    outcome = debater("compact", str(index), "--json")
    assert outcome.json == {"index": str(index), "documents": 3, "folded": 2, "dropped": 2, "generation": 3}
    assert counts() == (3, 0, 0, 3)
    assert "nothing to fold" in debater("compact", str(index)).out


def test_compact_keeps_the_reason_for_the_type(debater: Debater, index: Path, corpus: Path) -> None:
    why = "3 vectors of 64 dimensions are few enough to compare all with each query"
    for id in ("ash", "snow"):
        debater("add", str(index), "-", stdin=json.dumps(ASH | {"_id": id}))
        assert debater("compact", str(index)).code == 0
        shown = debater("info", str(index), "--json").json["vectors"]
        assert shown == f"flat (Flat), chosen when the index was built: {why}"
    debater("index", str(corpus), "--type", "flat", "--force")
    debater("add", str(index), "-", stdin=json.dumps(ASH))
    debater("compact", str(index))
    assert debater("info", str(index), "--json").json["vectors"] == "flat (Flat), as asked for"


def test_update_names_what_it_deletes(debater: Debater, index: Path, corpus: Path) -> None:
    stated = "Deleted, because --update makes the index equal to the corpus: "
    debater("add", str(index), "-", stdin="".join(json.dumps(ASH | {"_id": f"ash{n}"}) + "\n" for n in range(11)))
    names = ", ".join(f"ash{n}" for n in range(10))
    assert debater("index", "--update", str(corpus)).out.endswith(f"{stated}{names}, …\n")
    debater("add", str(index), "-", stdin=json.dumps(ASH))
    assert debater("index", "--update", str(corpus)).out.endswith(f"{stated}ash\n")
    assert stated not in debater("index", "--update", str(corpus)).out
    assert stated not in debater("delete", str(index), "noise").out


def test_update_offers_to_skip_the_same_bad_rows_again(debater: Debater, workdir: Path) -> None:
    write(workdir / "bad.jsonl", ASH, STALL).open("a", encoding="utf-8").write("nope\n")
    assert debater("index", "bad.jsonl", "--skip-bad").code == 0
    refused = debater("index", "--update", "bad.jsonl")
    assert refused.code == 2
    assert "--skip-bad" in refused.err
    assert debater("index", "--update", "bad.jsonl", "--skip-bad").code == 0


def test_verify_knows_deltas_and_repairs_them(debater: Debater, index: Path, more: Path) -> None:
    debater("add", str(index), str(more))
    debater("delete", str(index), "noise", "ash")
    before = found(debater, "stall wing", "-k", "99")
    damaged = {"delta-1/index.faiss", "embeddings-1/shard-00000.parquet", "embeddings/shard-00000.parquet"}
    for name in damaged:
        path = index / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    outcome = debater("verify", str(index), "--json")
    assert outcome.code == 2
    assert set(outcome.json["damaged"]) == damaged
    outcome = debater("verify", str(index), "--repair", "--json")
    assert set(outcome.json["repaired"]) == damaged
    assert debater("verify", str(index)).code == 0
    assert found(debater, "stall wing", "-k", "99") == before
    assert debater("compact", str(index)).code == 0
    assert found(debater, "stall wing", "-k", "99") == before


def test_the_model_comes_from_the_manifest_or_from_where_it_was_moved(
    debater: Debater, index: Path, more: Path, fake_model: list[dict[str, Any]]
) -> None:
    debater("add", str(index), str(more), "--device", "cpu")
    assert [asked["device"] for asked in fake_model] == ["cpu"]
    outcome = debater("add", str(index), str(more), "--model", "other")
    assert outcome.code == 2
    assert "was made by debater-small" in outcome.err
    assert "not by other" in outcome.err
    assert debater("index", "--update", str(more), "--model", "other", "-o", str(index)).code == 2


def test_a_second_writer_is_told_in_a_sentence(debater: Debater, index: Path, more: Path) -> None:
    with writing(index):
        for command in (
            ("add", str(index), str(more)),
            ("delete", str(index), "noise"),
            ("compact", str(index)),
            ("index", "--update", str(more), "-o", str(index)),
            ("index", str(more), "-o", str(index), "--force"),
        ):
            outcome = debater(*command)
            assert outcome.code == 2
            assert outcome.err.count("\n") == 2
            assert "is being written to by process" in outcome.err
            assert ("--wait" in outcome.err) == ("--force" not in command)


@pytest.mark.parametrize(
    "command",
    [
        ("add", "indexes/flight", "more.jsonl"),
        ("delete", "indexes/flight", "noise"),
        ("compact", "indexes/flight"),
        ("index", "--update", "more.jsonl", "-o", "indexes/flight"),
    ],
)
def test_a_writer_may_wait_for_another(debater: Debater, index: Path, more: Path, command: tuple[str, ...]) -> None:
    def release() -> None:
        time.sleep(0.3)
        held.close()

    with ExitStack() as held:
        held.enter_context(writing(index))
        releasing = Thread(target=release)
        releasing.start()
        outcome = debater(*command, "--wait")
        releasing.join()
    assert outcome.code == 0
    assert f"Waiting: {index} is being written to by process" in outcome.err


def test_a_writer_that_waits_can_be_interrupted(index: Path, process: Callable[..., subprocess.Popen[str]]) -> None:
    with writing(index):
        waiting = process("delete", str(index), "noise", "--wait")
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("Waiting: ")
        waiting.send_signal(signal.SIGINT)
        assert waiting.stderr.read() == "Interrupted.\n"
        assert waiting.wait() == 130
        assert (index / LOCK_NAME).exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("add", "indexes/nowhere", "more.jsonl"), "The index indexes/nowhere does not exist."),
        (("add", "indexes/flight", "nowhere.jsonl"), "There is no file nowhere.jsonl."),
        (("delete", "indexes/nowhere", "x"), "The index indexes/nowhere does not exist."),
        (("compact", "indexes"), "indexes is not an index."),
        (("delete", "indexes/flight", "--ids", "nowhere.txt"), "There is no file nowhere.txt."),
        (("delete", "indexes/flight"), "No ids were given."),
        (("delete", "indexes/flight", "x", "--where", "year = 1"), "Ids and --where exclude each other."),
        (("delete", "indexes/flight", "--where", "yeer = 1", "--yes"), "No document has a field 'yeer'."),
        (("index", "more.jsonl", "--wait"), "--wait has no effect without --update."),
        (("index", "--update", "more.jsonl"), "The index indexes/more does not exist."),
        (("index", "--update", "more.jsonl", "--force"), "--update keeps"),
        (("index", "--update", "more.jsonl", "--encode-only"), "--update keeps"),
    ],
)
def test_mistakes_are_sentences(
    debater: Debater, index: Path, more: Path, command: tuple[str, ...], message: str
) -> None:
    outcome = debater(*command)
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: {message}")


@pytest.mark.parametrize("command", ["add", "delete", "compact"])
def test_help_shows_examples(debater: Debater, command: str) -> None:
    assert f"debater {command} indexes/" in debater(command, "--help").out
