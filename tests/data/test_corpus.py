import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from debater_search.data import read_corpus, read_queries, read_training_examples
from debater_search.data.corpus import MAX_TEXT
from debater_search.data.files import require_writable
from debater_search.errors import DebaterError
from debater_search.roles import ColumnChoice
from debater_search.types import Document

CRANFIELD = Path(__file__).parents[2] / "data" / "cranfield"


def write(path: Path, *rows: object) -> Path:
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = lines.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_beir_row_keeps_other_fields_as_metadata(tmp_path: Path) -> None:
    row = {"_id": 7, "title": None, "text": "wings", "year": 1958, "metadata": {"year": 1, "by": "Ting"}}
    assert list(read_corpus(write(tmp_path / "c.jsonl", row))) == [
        Document("7", "wings", "", {"by": "Ting", "year": 1958})
    ]


@pytest.mark.parametrize("row", [{"id": "a", "contents": "wings"}, {"docid": "a", "text": "wings"}])
def test_other_field_names_are_understood(tmp_path: Path, row: dict[str, str]) -> None:
    assert list(read_corpus(write(tmp_path / "c.jsonl", row))) == [Document("a", "wings")]


def test_beir_folder_is_read_through_its_corpus_file() -> None:
    corpus = read_corpus(CRANFIELD)
    documents = list(corpus)
    assert len(documents) == 1400
    assert documents[0].title.startswith("experimental investigation")
    assert corpus.warnings == ["Empty texts in the corpus: 2 (ids 471, 995). They are indexed all the same."]


def test_corpus_can_be_read_again(tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path / "c.jsonl", {"id": "a", "text": ""}))
    assert list(corpus) == list(corpus)
    assert len(corpus.warnings) == 1
    assert ": 1 (id a)." in corpus.warnings[0]


def test_a_warning_names_the_first_odd_documents(tmp_path: Path) -> None:
    rows = [{"id": id, "text": "" if id in "abd" else "\0"} for id in "abcdef"]
    corpus = read_corpus(write(tmp_path / "c.jsonl", *rows))
    assert len(list(corpus)) == 6
    assert [warning.partition(". ")[0] for warning in corpus.warnings] == [
        "Empty texts in the corpus: 6 (ids a, b, c, …)",
        "Texts with NUL characters in the corpus: 3 (ids c, e, f)",
    ]


def test_text_folder_gives_relative_paths_and_headings(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "wing.md").write_text("# On wings\n\nThey lift.\n", encoding="utf-8")
    (tmp_path / "a note.txt").write_text("plain", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\xff")
    (tmp_path / ".hidden.txt").write_text("no", encoding="utf-8")
    corpus = read_corpus(tmp_path)
    assert [(document.id, document.text, document.title) for document in corpus] == [
        ("a note.txt", "plain", "a note"),
        ("deep/wing.md", "They lift.", "On wings"),
    ]
    assert corpus.warnings == ["Files of the folder that are not read: 1 (picture.png)."]


def test_dash_is_json_lines_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": "a", "text": "x"}\nnope\n')))
    documents = iter(read_corpus("-"))
    assert next(documents) == Document("a", "x")
    with pytest.raises(DebaterError, match="standard input, line 2: this is not JSON"):
        next(documents)


def test_nul_and_huge_texts_are_mended_and_counted(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "x\0y", "title": "\0"}, {"id": "b", "text": "z" * (MAX_TEXT + 1)}]
    corpus = read_corpus(write(tmp_path / "c.jsonl", *rows))
    first, second = corpus
    assert (first.text, first.title, len(second.text)) == ("xy", "", MAX_TEXT)
    assert len(corpus.warnings) == 2


def test_half_a_surrogate_pair_becomes_text_that_can_be_stored(tmp_path: Path) -> None:
    (document,) = read_corpus(write(tmp_path / "c.jsonl", r'{"id": "a", "text": "x \ud800 \ud83d\ude00"}'))
    assert document.text.encode() == "x ? 😀".encode()


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    (document,) = read_corpus(write(tmp_path / "c.jsonl", '{"id": "a", "text": "x", "y": [NaN, 1e999, 2]}'))
    assert document.metadata == {"y": [None, None, 2]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{}{"], "line 1: this is not JSON"),
        (["[1]"], "line 1: this is JSON, but not an object"),
        ([{"id": "a", "text": "x"}, {"text": "y"}], "line 2: there is no id"),
        ([{"id": " ", "text": "y"}], "line 1: there is no id"),
        ([{"id": True, "text": "y"}], "line 1: there is no id"),
        ([{"id": "a\tb", "text": "y"}], "line 1: the id 'a\\tb' holds a control character"),
        (["", {"id": "a", "title": "x"}], "line 2: there is no text"),
        ([{"id": "a", "text": ["x"]}], "line 1: the field text is not a string but a list"),
        (
            [{"id": 1, "text": "x"}, {"id": 2, "text": "y"}, {"id": "1", "text": "z"}],
            "line 3: the id '1' stands in line 1",
        ),
        ([], "is empty"),
        (['{"id": "a", "text": "", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"], "line 1: "),
    ],
)
def test_bad_row_names_file_and_line(tmp_path: Path, rows: list[object], message: str) -> None:
    path = write(tmp_path / "c.jsonl", *rows)
    with pytest.raises(DebaterError) as error:
        list(read_corpus(path))
    assert message in error.value.message
    assert str(path) in error.value.message
    assert error.value.hint


def test_the_hint_for_a_missing_text_shows_the_columns_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "id,name,words", "1,Alta,A tent")
    names = "text, contents, content, abstract, description or summary"
    wanted = f"Every row needs a text ({names}); this one has id, name, words."
    for choice, advice in (
        (None, "Rename the right one to text."),
        (ColumnChoice(), "Say which column it is with `columns`, such as text=words."),
    ):
        with pytest.raises(DebaterError, match="line 2: there is no text") as error:
            list(read_corpus(path, choice))
        assert error.value.hint == f"{wanted} {advice}"


def test_csv_row_with_too_few_fields_names_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "id,text", 'a,"two', 'lines"', "b")
    with pytest.raises(DebaterError, match=r"c\.csv, line 4: 1 field, where the header names 2") as short:
        list(read_corpus(path))
    assert short.value.hint.startswith("Write the separator (,) for empty fields too")


def test_csv_row_with_too_many_fields_is_told_of_quotes(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"c\.csv, line 2: 3 fields, where the header names 2") as long:
        list(read_corpus(write(tmp_path / "c.csv", "id;text", "a;one;two")))
    assert long.value.hint == "Put quotes around fields that hold the separator (;)."


@pytest.mark.parametrize(
    ("name", "separator"), [("c.csv", ";"), ("c.csv", "\t"), ("c.csv", ","), ("c.tsv", ";"), ("c.tsv", ",")]
)
def test_the_header_of_a_table_tells_its_separator(tmp_path: Path, name: str, separator: str) -> None:
    rows = (["id", "text", "price"], ["a", '"tent, ""light""; green"', "12"], ["b", "stove", "7.5"])
    path = write(tmp_path / name, "\ufeff" + separator.join(rows[0]), *(separator.join(row) for row in rows[1:]))
    assert list(read_corpus(path)) == [
        Document("a", 'tent, "light"; green', "", {"price": 12}),
        Document("b", "stove", "", {"price": 7.5}),
    ]
    assert [query.id for query in read_queries(path)] == ["a", "b"]


def test_commas_in_a_header_come_before_other_separators(tmp_path: Path) -> None:
    (document,) = read_corpus(write(tmp_path / "c.csv", "id,text,width;height", "a,tent,1;2"))
    assert document.metadata == {"width;height": "1;2"}
    (document,) = read_corpus(write(tmp_path / "c.tsv", "id\ttext\twidth,height", "a\ttent\t1,234"))
    assert document.metadata == {"width,height": "1,234"}


def test_training_rows_may_be_separated_by_semicolons(tmp_path: Path) -> None:
    (example,) = read_training_examples(write(tmp_path / "t.csv", "query;positive", "warm tent;a tent, for winter"))
    assert (example.query, example.positive) == ("warm tent", "a tent, for winter")


def test_csv_with_an_open_quote_is_refused_not_swallowed(tmp_path: Path) -> None:
    path = write(tmp_path / "c.tsv", "id\ttext", 'a\t"open', "b\tnext")
    with pytest.raises(DebaterError, match="line 2: this does not parse"):
        list(read_corpus(path))


def test_csv_field_may_be_long(tmp_path: Path) -> None:
    (document,) = read_corpus(write(tmp_path / "c.csv", "id,text,year", f"a,{'x' * 200_000},1958"))
    assert (len(document.text), document.metadata) == (200_000, {"year": 1958})


def test_text_that_is_not_utf8_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": "a", "text": "x"}\n{"id": "b", "text": "\xe9"}\n')
    with pytest.raises(DebaterError, match=r"c\.jsonl, line 2: the text is not UTF-8"):
        list(read_corpus(path))
    (tmp_path / "note.txt").write_bytes(b"fine\n\xe9")
    path.unlink()
    with pytest.raises(DebaterError, match=r"note\.txt, line 2: the text is not UTF-8"):
        list(read_corpus(tmp_path))


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.jsonl.zst", "c.parquet.gz"])
def test_truncated_compression_is_told(tmp_path: Path, name: str) -> None:
    import pyarrow as pa

    path = tmp_path / name
    data = b"".join(json.dumps({"id": str(i), "text": "wing" * i}).encode() + b"\n" for i in range(2000))
    whole = pa.compress(data, codec="zstd", asbytes=True) if name.endswith(".zst") else gzip.compress(data)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DebaterError, match="is cut off or damaged"):
        list(read_corpus(path))


def test_empty_standard_input_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DebaterError, match="The corpus standard input is empty"):
        list(read_corpus("-"))


def test_a_place_that_cannot_be_written_is_found_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable(tmp_path / "new" / "folder")
    (tmp_path / "file").touch()
    require_writable(tmp_path / "file")
    with pytest.raises(DebaterError, match="file is a file"):
        require_writable(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DebaterError, match="may not be written to"):
        require_writable(tmp_path / "new" / "folder")


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").touch()
    with pytest.raises(DebaterError) as error:
        read_corpus(tmp_path / "corpus.json")
    assert "There is no file" in error.value.message
    assert "corpus.jsonl" in error.value.hint


def test_unknown_extension_names_the_known(tmp_path: Path) -> None:
    (tmp_path / "corpus.docx").touch()
    with pytest.raises(DebaterError) as error:
        read_corpus(tmp_path / "corpus.docx")
    assert ".jsonl" in error.value.hint


@pytest.mark.parametrize("read", [read_corpus, read_queries])
def test_all_columns_that_a_table_lacks_are_named_at_once(
    tmp_path: Path, read: Callable[[Path], Iterable[object]]
) -> None:
    with pytest.raises(DebaterError, match=r"c\.csv, line 2: there is no id and no text\.") as error:
        list(read(write(tmp_path / "c.csv", "number,words", "1,A tent")))
    assert error.value.hint.startswith("Every row needs an id (_id, id")
    assert "; this one has number, words." in error.value.hint


def test_a_blank_id_is_not_told_as_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="line 2: there is no id") as error:
        list(read_corpus(write(tmp_path / "c.csv", "id,text", ",A tent")))
    assert error.value.hint == "Every row needs an id (_id, id or docid) and a text (text or contents)."


def test_a_training_row_without_query_and_positive_is_told_of_both(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"line 2: there is no query and no positive\.") as error:
        list(read_training_examples(write(tmp_path / "t.csv", "q,a", "warm tent,a tent")))
    assert error.value.hint.endswith("; this one has q, a.")


def test_first_bad_row_comes_after_the_good_ones(tmp_path: Path) -> None:
    documents = iter(read_corpus(write(tmp_path / "c.jsonl", {"id": "a", "text": "x"}, "nope")))
    assert next(documents).id == "a"
    with pytest.raises(DebaterError):
        next(documents)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", "", "The corpus .* is empty"),
        ("c.jsonl", '{"body": "t"}\n', "c.jsonl, line 1: there is no id"),
        ("c.csv", "id,text\n", "The corpus .* is empty"),
        ("c.csv", "name,text\n1,t\n", "c.csv, line 2: there is no id"),
        ("c/notes.bin", "", "The corpus .* is empty"),
        ("c/part.csv", "id,text\n1\n", "part.csv, line 2"),
    ],
)
def test_the_start_of_a_corpus_is_checked_as_it_is_read(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    corpus = tmp_path / name.split("/")[0]
    with pytest.raises(DebaterError, match=message) as early:
        read_corpus(corpus).check_start()
    with pytest.raises(DebaterError) as late:
        list(read_corpus(corpus))
    assert (early.value.message, early.value.hint) == (late.value.message, late.value.hint)


def test_a_small_corpus_is_checked_to_its_end_of_a_large_one_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "1", "text": "t"}\n{"id": "1", "text": "t"}\n')
    with pytest.raises(DebaterError, match="line 2: the id '1' stands in line 1 already"):
        read_corpus(path).check_start()
    monkeypatch.setattr("debater_search.data.corpus._SMALL", path.stat().st_size)
    read_corpus(path).check_start()


def test_no_stream_is_read_before_it_is_indexed(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("t")
    read_corpus(tmp_path / "texts").check_start()
    read_corpus("-").check_start()
    os.mkfifo(tmp_path / "pipe.jsonl")
    read_corpus(tmp_path / "pipe.jsonl").check_start()  # to read it would wait for a writer
