"""Judgements of hits: read from a hostile file, as qrels' queries, as training rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from debater_search.data import open_training_set
from debater_search.data.judgements import holds_judgements, judged_queries, judged_rows, read_judgements
from debater_search.errors import DebaterError, InvalidError
from debater_search.indexing import build
from debater_search.mining.questions import read_questions
from debater_search.types import Document

CORPUS = [Document(f"d{n}", f"text {n}", f"Title {n}") for n in range(6)]


def line(id: str, relevant: Any, query: str = "a wing", index: str = "papers", **more: Any) -> dict[str, Any]:
    return {"time": "2026-11-29T20:00:00Z", "index": index, "query": query, "id": id, "relevant": relevant, **more}


def saved(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "judgements.jsonl"
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CORPUS, None, tmp_path_factory.mktemp("indexes") / "papers").folder


def test_the_last_judgement_of_a_hit_counts_and_null_takes_it_back(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        line("d1", False),
        line("d2", True, "  a \t wing "),  # blanks make no other query
        line("d3", True, "a tail"),
        line("d1", True),
        line("d2", None),
        line("d3", None, "a tail"),
        line("d4", False, "a nose", key="kim"),
    )
    found = [(query.number, query.text, query.documents) for query in judged_queries(path, "papers")]
    assert found == [(1, "a wing", {"d1": True}), (3, "a nose", {"d4": False})]  # numbers stay those of the file


def test_of_several_indexes_the_one_of_the_corpus_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, line("d1", True), line("d2", True, "of laws", index="laws"))
    assert [query.text for query in judged_queries(path, tmp_path / "laws")] == ["of laws"]
    with pytest.raises(InvalidError, match="judgements of 2 indexes, and none of 'other'") as raised:
        judged_queries(path, tmp_path / "other")
    assert raised.value.hint == "They are of laws, papers."
    path = saved(tmp_path, line("d1", True))  # one index, which may have another name by now
    assert len(judged_queries(path, tmp_path / "papers-v2")) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "this is not JSON"),
        ("[1]", "not an object"),
        ('{"index": "papers", "query": "q", "id": "d1"}', "a judgement has no 'relevant'"),
        (json.dumps(line("d1", "yes")), "'relevant' is neither true, false nor null"),
        (json.dumps(line("d1", 1)), "'relevant' is neither true, false nor null"),
        (json.dumps(line("", True)), "'id' is not a text, or is empty"),
        (json.dumps(line("d1", True) | {"id": 7}), "'id' is not a text, or is empty"),
        (json.dumps(line("d1", True, " ")), "'query' is not a text, or is empty"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str, message: str) -> None:
    path = saved(tmp_path, line("d1", True), bad, line("d2", True))
    with pytest.raises(DebaterError) as raised:
        list(read_judgements(path))
    assert raised.value.message.startswith(f"{path}, line 2: ")
    assert message in raised.value.message


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, line("d1", True))
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(InvalidError, match="line 2: the text is not UTF-8"):
        list(read_judgements(path))


@pytest.mark.parametrize("end", [b'{"time": "2026-11', b'{"query": "' + "Å".encode()[:-1]])
def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path, end: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path, line("d1", True))
    with path.open("ab") as file:
        file.write(end)
    assert len(list(read_judgements(path))) == 1
    assert "line 2 is unfinished" in caplog.text


def test_rows_have_the_texts_of_what_was_judged(tmp_path: Path, index: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(
        tmp_path, line("d1", True), line("d2", False), line("gone", True), line("d3", False, "only what is wrong")
    )
    assert list(judged_rows(path, index)) == [
        (1, {"query_id": "a wing", "query": "a wing", "positive": ["Title 1 text 1"], "negative": ["Title 2 text 2"]})
    ]
    assert "Judged documents without a text" in caplog.text
    rows = open_training_set(path, corpus=index)
    assert (len(rows), rows.with_negatives) == (1, 1)
    assert rows.place(0) == f"{path}, query 'a wing'"
    assert rows.example(0).negatives == ("Title 2 text 2",)
    (question,) = read_questions(path, corpus=index)
    assert (question.query, question.positives) == ("a wing", ("Title 1 text 1",))


def test_rows_come_from_a_corpus_too_and_follow_the_file(tmp_path: Path) -> None:
    corpus = tmp_path / "papers.jsonl"
    corpus.write_text("".join(json.dumps({"_id": d.id, "text": d.text}) + "\n" for d in CORPUS))
    path = saved(tmp_path, line("d1", True))
    assert open_training_set(path, corpus=corpus).example(0).positive == "text 1"
    saved(tmp_path, line("d1", None), line("d2", True))
    assert open_training_set(path, corpus=corpus).example(0).positive == "text 2"


def test_judgements_need_a_corpus_and_other_rows_none(tmp_path: Path, index: Path) -> None:
    path = saved(tmp_path, line("d1", True))
    with pytest.raises(InvalidError, match="holds judgements, which name documents") as raised:
        open_training_set(path)
    assert "`corpus`" in raised.value.hint
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"query": "q", "positive": "p"}\n')
    with pytest.raises(InvalidError, match="holds no judgements"):
        open_training_set(rows, corpus=index)
    assert not holds_judgements(rows)
    assert holds_judgements(path)
    assert not holds_judgements(saved(tmp_path, line("d1", True, "long " * (1 << 18))))  # no line is read whole
    for text in ("", "[" * 100_000, "\n\xff", "7\n"):
        rows.write_bytes(text.encode("latin-1"))
        assert not holds_judgements(rows)
