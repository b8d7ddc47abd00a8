import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.cli.index import corpus_name
from debater_search.cli.info import size_in_words
from tests.cli.support import Debater


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_index_goes_to_the_corpus_name_and_the_next_command_is_shown(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    outcome = debater("index", str(corpus), "--base-model", "b", "--device", "cpu")
    assert outcome.code == 0
    assert fake_model == [{"model": "debater-small", "base_model": "b", "device": "cpu"}]
    assert Path("indexes/flight/manifest.json").is_file()
    assert "documents  3\n" in outcome.out
    assert 'Next: debater search "…" --index indexes/flight' in outcome.out
    assert "Encoding: 3/3 documents" in outcome.err


def test_the_pooling_of_a_plain_model_is_said_or_chosen_and_belongs_to_the_index(
    debater: Debater, corpus: Path, tiny_model: Callable[..., Path]
) -> None:
    model = str(tiny_model("bert"))
    assert "it is read by pooling mean" in debater("index", str(corpus), "--model", model, "-o", "mean").err
    chosen = debater("index", str(corpus), "--model", model, "--pooling", "cls", "-o", "cls")
    assert "read by pooling" not in chosen.err
    found = debater("search", "wing", "--index", "cls")
    assert (found.code, found.err.count("read by pooling")) == (0, 0)
    assert debater("add", "cls", str(corpus), "--model", model).code == 0


def test_json_says_what_was_built_and_nothing_else(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    made = debater("index", str(corpus), "--output", "x", "--model", "m", "--all-steps", "--json").json
    assert set(made.pop("seconds")) == {"read", "encode", "index"}
    assert made == debater("info", "x", "--json").json
    assert made["documents"] == 3
    assert made["model"] == "m"
    assert made["stored_steps"] == made["thinking_steps"] == 3


def test_type_choice_parameters_and_measured_recall_are_shown(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    made = debater("index", str(corpus), "--output", "x", "--type", "binary", "--recall", "0.9")
    assert "vectors    binary (IVF1,RaBitQ), as asked for\n" in made.out
    shown = debater("info", "x").out
    assert "parameters      nprobe 1, k_factor 2\n" in shown
    assert "recall          @10 1, @100 1\n" in shown
    facts = debater("info", "x", "--json").json
    assert facts["type"] == "binary"
    assert facts["recall"] == {"@10": 1.0, "@100": 1.0}
    assert (
        debater("search", "propellers are loud", "--index", "x", "-k", "9", "--json").json["hits"][0]["id"] == "noise"
    )


def test_a_type_that_needs_more_documents_costs_no_encoding(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    refused = debater("index", str(corpus), "--type", "IVF1024,Flat")
    assert refused.code == 2
    assert "IVF1024,Flat cannot be trained on 3 vectors" in refused.err
    again = debater("index", str(corpus))
    assert again.code == 0
    assert "vectors    flat (Flat)" in again.out


def test_the_summary_is_what_matters_and_info_tells_the_rest(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = debater("index", str(corpus), "--output", "x").out.splitlines()
    names = [line.split("  ")[0] for line in made]
    assert names[:7] == ["index", "corpus", "documents", "vectors", "model", "metadata", "size"]
    assert "metadata   year (number)" in made
    assert [line.partition(":")[0] for line in made[7:]] == ["Took", "Next"]
    manifest = json.loads(Path("x/manifest.json").read_text(encoding="utf-8"))
    manifest["created"] = "2026-01-02T20:30:00.123+00:00"
    Path("x/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        shown = debater("info", "x").out
    time.tzset()
    assert "created         2026-01-03 05:30\n" in shown
    assert "generation      0\n" in shown
    assert debater("info", "x", "--json").json["created"] == manifest["created"]


def test_auto_says_why(debater: Debater, fake_model: list[dict[str, Any]], corpus: Path) -> None:
    made = debater("index", str(corpus), "--memory", "1GB")
    assert "flat (Flat): 3 vectors of 64 dimensions are few enough to compare all with each query" in made.out


def test_shards_encoded_before_make_an_index_without_a_model(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    assert debater("index", str(corpus), "--encode-only", "--output", "shards").code == 0
    assert not Path("shards/manifest.json").exists()
    fake_model.clear()
    assert debater("index", str(corpus), "--embeddings", "shards").code == 0
    assert fake_model == []
    assert debater("search", "propellers are loud", "-k", "1", "--json").json["hits"][0]["id"] == "noise"


def test_shards_of_another_model_are_refused(debater: Debater, fake_model: list[dict[str, Any]], corpus: Path) -> None:
    debater("index", str(corpus), "--encode-only", "--output", "shards")
    outcome = debater("index", str(corpus), "--embeddings", "shards", "--model", "other")
    assert (outcome.code, outcome.out) == (2, "")
    assert not Path("indexes/flight/manifest.json").exists()


def test_a_finished_index_is_replaced_only_by_force(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path, index: Path
) -> None:
    before = files(index)
    refused = debater("index", str(corpus), "--model", "other")
    assert (refused.code, refused.out) == (2, "")
    assert "--force" in refused.err
    assert fake_model == []  # nothing was loaded to find that out
    assert files(index) == before
    assert debater("index", str(corpus), "--model", "other", "--force").code == 0
    assert debater("info", str(index), "--json").json["model"] == "other"


BAD = {
    "not JSON": (b'{"_id": "1", "text": "a"}\n{"_id": "2", "text"\n', "bad.jsonl, line 2"),
    "no id": (b'{"_id": "1", "text": "a"}\n{"text": "b"}\n', "bad.jsonl, line 2"),
    "no text": (b'{"_id": "1", "text": "a"}\n{"_id": "2"}\n', "bad.jsonl, line 2"),
    "same id": (b'{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n', "'1'"),
    "not UTF-8": (b'{"_id": "1", "text": "a"}\n{"_id": "2", "text": "\xff"}\n', "bad.jsonl, line 2"),
    "empty": (b"", "bad.jsonl"),
}


@pytest.mark.parametrize("trouble", BAD)
def test_a_bad_corpus_is_a_sentence_and_leaves_what_was_there(
    debater: Debater, fake_model: list[dict[str, Any]], workdir: Path, index: Path, trouble: str
) -> None:
    content, place = BAD[trouble]
    (workdir / "bad.jsonl").write_bytes(content)
    before = files(index)
    for arguments in (["--output", str(index), "--force"], []):
        outcome = debater("index", "bad.jsonl", "--json", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert place in outcome.err
        assert "Traceback" not in outcome.err
    assert files(index) == before
    assert sorted(path.name for path in Path("indexes").iterdir()) == ["flight"]


def test_a_truncated_gz_is_a_sentence(debater: Debater, fake_model: list[dict[str, Any]], corpus: Path) -> None:
    import gzip

    whole = gzip.compress(corpus.read_bytes())
    Path("cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    outcome = debater("index", "cut.jsonl.gz")
    assert outcome.code == 2
    assert "cut.jsonl.gz" in outcome.err


def test_a_missing_corpus_is_found_before_a_model_is_loaded(
    debater: Debater, fake_model: list[dict[str, Any]], workdir: Path
) -> None:
    outcome = debater("index", "nowhere.jsonl")
    assert (outcome.code, outcome.out) == (2, "")
    assert "nowhere.jsonl" in outcome.err
    assert fake_model == []


def test_two_wheels_of_faiss_are_refused_before_a_model_is_loaded(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "debater_search.vectors.faiss.library._installed", lambda wheel: wheel in ("faiss-cpu", "faiss-gpu")
    )
    outcome = debater("index", str(corpus))
    assert outcome.code == 2
    assert "pip uninstall faiss-cpu" in outcome.err
    assert fake_model == []


def test_an_odd_text_is_indexed_and_counted_in_a_warning(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    with corpus.open("a", encoding="utf-8") as file:
        for number, text in enumerate(["", "a\0b"]):
            file.write(json.dumps({"_id": f"odd{number}", "text": text}) + "\n")
    outcome = debater("index", str(corpus))
    assert outcome.code == 0
    assert outcome.err.count("Warning: ") == 2
    assert debater("info", "indexes/flight").out.count("Warning: ") == 2
    assert debater("info", "indexes/flight", "--json").json["documents"] == 5


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-"], "--output"),
        (["flight.jsonl", "--type", "round"], "round"),
        (["flight.jsonl", "--type", "IVF4,Flat,RFlat"], "RFlat"),
        (["flight.jsonl", "--memory", "plenty"], "plenty"),
        (["flight.jsonl", "--recall", "95"], "95"),
        (["flight.jsonl", "--embeddings", "nowhere"], "nowhere"),
        (["flight.jsonl", "--embeddings", "nowhere", "--dim", "8"], "--dim"),
        (["flight.jsonl", "--update", "--dim", "8"], "--update"),
        (["flight.jsonl", "--update", "--workers", "2"], "--update"),
        (["flight.jsonl", "--update", "--passages", "30"], "--update"),
        (["flight.jsonl", "--overlap", "8"], "--passages"),
        (["flight.jsonl", "--workers", "0"], "--workers"),
    ],
)
def test_an_impossible_request_leaves_nothing(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path, arguments: list[str], word: str
) -> None:
    outcome = debater("index", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err
    assert not Path("indexes").exists() or not list(Path("indexes").rglob("manifest.json"))


def test_passages_are_indexed_and_documents_are_the_hits(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    text = "Wings flutter when they are thin. " * 10 + "Rudders steer the ship at sea. " + "The tail is heavy. " * 20
    with corpus.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"_id": "long", "title": "Book", "text": text}) + "\n")
    made = debater("index", str(corpus), "--passages", "30", "--overlap", "4", "--workers", "1", "--json").json
    assert (made["documents"], made["passages"] > 8) == (4, True)
    assert "passages        " in debater("info", "indexes/flight").out
    (hit, *_) = debater("search", "rudders steer the ship at sea", "--json").json["hits"]
    assert hit["id"] == "long"
    assert "Rudders steer the ship at sea." in hit["snippet"]
    assert len(hit["snippet"].split()) <= 30
    added = debater("add", "indexes/flight", str(corpus), "--json").json
    assert added["unchanged"] == 4


def test_a_corpus_is_called_by_its_folder_or_its_file(workdir: Path) -> None:
    (workdir / "papers" / "v1.2").mkdir(parents=True)
    (workdir / "papers" / "corpus.jsonl").touch()
    assert corpus_name("papers") == corpus_name("papers/") == corpus_name("papers/corpus.jsonl") == "papers"
    assert corpus_name("papers/v1.2") == "v1.2"
    assert corpus_name("news.jsonl.gz") == "news"


def test_sizes_are_readable() -> None:
    assert [size_in_words(n) for n in (0, 999, 3_210_000, 5e15)] == ["0 B", "999 B", "3.2 MB", "5000.0 TB"]


def test_info_names_a_damaged_file(debater: Debater, index: Path) -> None:
    (index / "documents.sqlite").write_bytes(b"SQLite format 3")
    outcome = debater("info", str(index))
    assert (outcome.code, outcome.out) == (2, "")
    assert "documents.sqlite" in outcome.err


def test_info_of_what_is_no_index_is_a_sentence(debater: Debater, index: Path) -> None:
    (index / "manifest.json").write_text('{"schema_version": 1', encoding="utf-8")
    for folder, word in ((str(index), "damaged"), ("indexes/none", "does not exist"), (".", "not an index")):
        outcome = debater("info", folder, "--json")
        assert (outcome.code, outcome.out) == (2, "")
        assert word in outcome.err
        assert "Traceback" not in outcome.err


def test_info_lists_the_fields_of_the_documents(debater: Debater, fake_model: list[dict[str, Any]]) -> None:
    rows = [
        {
            "_id": str(n),
            "text": "wing",
            "year": 1950 + n,
            "day": f"2020-01-0{n}",
            "by": ["Ting", f"B{n}"],
            "open": n == 1,
        }
        for n in range(1, 8)
    ]
    Path("c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert debater("index", "c.jsonl", "--output", "x").code == 0
    fields = debater("info", "x", "--json").json["fields"]
    assert fields[-1] == {"name": "year", "type": "number", "documents": 7, "min": 1951, "max": 1957}
    assert [(field["name"], field["type"]) for field in fields[:3]] == [
        ("by", "text"),
        ("day", "date"),
        ("open", "boolean"),
    ]
    assert fields[0]["values"][:2] == [["Ting", 7], ["B1", 1]]
    shown = [line.split() for line in debater("info", "x").out.splitlines()[-4:]]
    assert shown[0] == ["by", "text,", "lists", "Ting,", "B1,", "B2,", "B3,", "B4,", "…", "(3", "more)", "7"]
    assert shown[2] == ["open", "boolean", "false,", "true", "7"]
    assert shown[3] == ["year", "number", "1951", "…", "1957", "7"]


def test_the_language_of_an_index_is_chosen_and_kept(
    debater: Debater, fake_model: list[dict[str, Any]], corpus: Path
) -> None:
    assert debater("index", str(corpus), "--output", "x", "--language", "any", "--json").json["language"] == "any"
    assert not debater("search", "stalling", "--index", "x", "--mode", "lexical", "--json").json["hits"]
    refused = debater("index", str(corpus), "--output", "y", "--language", "klingon")
    assert refused.code == 2
    assert refused.err.startswith(
        "Error: There is no language 'klingon'.\n--language is english (stems and stop words) or"
    )
    assert "--update keeps" in debater("index", str(corpus), "--update", "--output", "x", "--language", "any").err
