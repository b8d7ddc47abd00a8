"""Missing values, numbers, booleans and dates in every format; ids that are numbers; texts under another name."""

import datetime
import gzip
import json
import os
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.data import read_corpus, read_qrels, read_queries, read_run
from debater_search.errors import DamagedError, DebaterError, InvalidError
from debater_search.roles import ColumnChoice
from debater_search.types import Document, Query

NAN = float("nan")


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("missing", [None, NAN])
def test_a_missing_title_or_text_is_empty(tmp_path: Path, missing: object) -> None:
    rows = [{"_id": "1", "title": missing, "text": "wing"}, {"_id": "2", "title": "x", "text": missing, "n": missing}]
    corpus = read_corpus(jsonl(tmp_path / "c.jsonl", *rows))
    assert list(corpus) == [Document("1", "wing"), Document("2", "", "x", {"n": None})]
    assert corpus.warnings == ["Empty texts in the corpus: 1 (id 2). They are indexed all the same."]


def test_columns_of_nan_in_parquet_and_csv_are_missing(tmp_path: Path) -> None:
    file = parquet(tmp_path / "c.parquet", _id=["1", "2"], text=["a", None], title=pa.array([NAN, NAN]), n=[NAN, 2.0])
    expected = [Document("1", "a", "", {"n": None}), Document("2", "", "", {"n": 2})]
    assert list(read_corpus(file)) == expected
    assert list(read_corpus(table(tmp_path / "c.csv", "_id,text,title,n\n1,a,NaN,\n2,nan,,2.0\n"))) == expected


@pytest.mark.parametrize("missing", [None, NAN, True, "", " ", [], float("inf")])
def test_an_id_that_is_missing_is_refused(tmp_path: Path, missing: object) -> None:
    file = jsonl(tmp_path / "c.jsonl", {"_id": "1", "text": "a"}, {"_id": missing, "text": "b"})
    with pytest.raises(InvalidError, match=r"c\.jsonl, line 2: there is no id"):
        list(read_corpus(file))
    with pytest.raises(InvalidError, match=r"c\.jsonl, line 2: there is no id"):
        read_queries(file)


@pytest.mark.parametrize(
    ("row", "document"),
    [
        ({"id": "5", "text": None, "contents": "words"}, Document("5", "words")),
        ({"id": "5", "text": "", "contents": "words"}, Document("5", "words")),
        ({"id": "5", "text": NAN, "contents": "words"}, Document("5", "words")),
        ({"_id": None, "id": "6", "text": "x"}, Document("6", "x")),
        ({"_id": NAN, "id": " ", "docid": 7, "text": "x"}, Document("7", "x")),
        ({"_id": "1", "id": "6", "text": "x", "contents": "y"}, Document("1", "x", "", {"id": "6", "contents": "y"})),
    ],
)
def test_a_field_without_a_value_gives_way_to_the_next_name(
    tmp_path: Path, row: dict[str, object], document: Document
) -> None:
    assert list(read_corpus(jsonl(tmp_path / "c.jsonl", row))) == [document]


def test_a_query_without_a_text_is_read_from_the_next_name(tmp_path: Path) -> None:
    rows = [{"_id": None, "qid": 1.0, "text": None, "query": "wing"}, {"_id": 2, "text": "heat"}]
    assert read_queries(jsonl(tmp_path / "q.jsonl", *rows)) == [Query("1", "wing"), Query("2", "heat")]


def test_ids_that_are_whole_numbers_meet_in_every_file(tmp_path: Path) -> None:
    expected = [Document("1", "a"), Document("22", "b")]
    assert list(
        read_corpus(jsonl(tmp_path / "c.jsonl", *({"_id": n, "text": t} for n, t in ((1.0, "a"), (22, "b")))))
    ) == (expected)
    assert list(read_corpus(parquet(tmp_path / "c.parquet", _id=[1.0, 22.0], text=["a", "b"]))) == expected
    decimals = pa.array([Decimal("1.00"), Decimal("22.00")])
    assert list(read_corpus(parquet(tmp_path / "d.parquet", _id=decimals, text=["a", "b"]))) == expected
    assert list(read_corpus(table(tmp_path / "c.csv", "_id,text\n1.0,a\n22.0,b\n"))) == expected
    assert read_queries(table(tmp_path / "q.tsv", "qid\tquery\n3.0\twing\n")) == [Query("3", "wing")]
    assert read_qrels(table(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore\n3.0\t22.0\t1.0\n")) == {"3": {"22": 1}}
    assert read_run(table(tmp_path / "run", "3.0 Q0 22.0 1 0.5 t\n")) == {"3": {"22": 0.5}}


@pytest.mark.parametrize("id", ["1.5", "1.0.0", "01.0", "v1.0", "1e3", "1.", "-0a.0"])
def test_other_ids_stay_as_they_are(tmp_path: Path, id: str) -> None:
    assert [document.id for document in read_corpus(jsonl(tmp_path / "c.jsonl", {"id": id, "text": "a"}))] == [id]


def test_csv_columns_are_numbers_booleans_or_text(tmp_path: Path) -> None:
    text = (
        "id,text,year,price,sold,zip,version,note,day\n"
        "1,a,2020,1.50,true,02139,1.10,x,2020-05-01\n"
        "2,b,,-2,False,90210,1.2.3,7,\n"
        "3,c,1e3, 3 ,,10001,1.20,,2021-01-01\n"
    )
    for suffix in (".csv", ".csv.gz", ".tsv"):
        path = tmp_path / f"c{suffix}"
        written = text.replace(",", "\t") if suffix == ".tsv" else text
        path.write_bytes(gzip.compress(written.encode()) if suffix == ".csv.gz" else written.encode())
        first, second, third = (document.metadata for document in read_corpus(path))
        assert first == {
            "year": 2020, "price": 1.5, "sold": True, "zip": "02139", "version": "1.10", "note": "x",
            "day": "2020-05-01",
        }  # fmt: skip
        assert second == {
            "year": None, "price": -2, "sold": False, "zip": "90210", "version": "1.2.3", "note": "7", "day": None
        }  # fmt: skip
        assert (third["year"], third["price"], third["sold"], third["note"]) == (1000.0, 3, None, None)
        assert type(first["year"]) is int


def column(path: Path, cells: list[str], separator: str = ";") -> list[Any]:
    """The values of a column with these cells."""
    rows = [["id", "text", "x"], *([str(n), "a", f'"{cell}"'] for n, cell in enumerate(cells))]
    table(path, "".join(separator.join(row) + "\n" for row in rows))
    return [document.metadata["x"] for document in read_corpus(path)]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["12,50", "", "7", "-0,5"], [12.5, None, 7, -0.5]),
        (["1.234,50", "12,5", "999", "1.000.000,00"], [1234.5, 12.5, 999, 1000000.0]),
        (["0,250", "1,500"], [0.25, 1.5]),
        (["1.5", "2"], [1.5, 2]),
    ],
)
def test_a_decimal_comma_is_read_where_semicolons_or_tabs_separate(
    tmp_path: Path, cells: list[str], values: list[Any]
) -> None:
    assert column(tmp_path / "c.csv", cells) == values
    assert column(tmp_path / "c.tsv", cells, "\t") == values
    if any("," in cell for cell in cells):
        assert column(tmp_path / "d.csv", cells, ",") == [cell or None for cell in cells]


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "12,345"],  # thousands, or three decimals
        ["1.234", "12,50"],  # one and a bit, or thousands
        ["1,234,567"],
        ["1.234.567"],
        ["12,5", "12.5"],
        ["12,5", "none today"],
        ["012,5"],
        ["1,5 kg"],
        ["38,39,40", "38,5"],
        ["2024-05-01"],
        ["01.05.2024"],
        ["1.23,5"],
        [",5", "1,"],
    ],
)
def test_cells_that_are_not_surely_numbers_stay_text(tmp_path: Path, cells: list[str]) -> None:
    assert column(tmp_path / "c.csv", cells) == cells


def test_what_people_write_for_a_missing_value_is_none_among_numbers_only(tmp_path: Path) -> None:
    assert column(tmp_path / "c.csv", ["12,5", "n/a", "NA", "-"]) == [12.5, None, None, None]
    assert column(tmp_path / "d.csv", ["true", "N/A"], ",") == [True, None]
    assert column(tmp_path / "e.csv", ["NA", "FR", "-"]) == ["NA", "FR", "-"]


def test_a_column_of_numbers_by_the_callers_word_keeps_other_cells_as_text(tmp_path: Path) -> None:
    choice = ColumnChoice({"number": ["price"]})
    for separator, cells, values in (
        (",", ["48.9", "12,90 €", "n/a", "", "02139", "true", "7"], [48.9, "12,90 €", None, None, "02139", "true", 7]),
        (";", ["48,9", "12,90 €", "1.234,50", "7"], [48.9, "12,90 €", 1234.5, 7]),
    ):
        rows = "".join(f'{n}{separator}x{separator}"{cell}"\n' for n, cell in enumerate(cells))
        file = table(tmp_path / "c.csv", f"id{separator}text{separator}price\n{rows}")
        assert [document.metadata["price"] for document in read_corpus(file, choice)] == values
    rows = [{"id": "1", "text": "a", "price": "48.9"}, {"id": "2", "text": "b", "price": [1]}, {"id": "3", "text": "c"}]
    documents = list(read_corpus(jsonl(tmp_path / "c.jsonl", *rows), choice))
    assert [document.metadata.get("price") for document in documents] == [48.9, [1], None]
    assert choice.columns == {"number": ["price"]}


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1, max_size=5),
    grouped=st.booleans(),
    separator=st.sampled_from(";\t"),
)
def test_what_is_written_with_decimal_commas_is_read_as_the_same_numbers(
    numbers: list[Decimal], grouped: bool, separator: str
) -> None:
    written = [f"{number:{',' if grouped else ''}.2f}".translate(str.maketrans(",.", ".,")) for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        assert column(Path(folder, "c.csv"), written, separator) == [float(number) for number in numbers]


@pytest.mark.parametrize("blank", [" ", "\t", "\x1d", "\u2003"])
def test_blanks_around_a_number_do_not_matter(tmp_path: Path, blank: str) -> None:
    (document,) = read_corpus(
        table(tmp_path / "c.csv", f"id,text,year,share,open\n1,a,{blank}20{blank},1.5{blank},true{blank}\n")
    )
    assert document.metadata == {"year": 20, "share": 1.5, "open": True}


def test_a_number_too_long_for_json_readers_stays_text(tmp_path: Path) -> None:
    (document,) = read_corpus(table(tmp_path / "c.csv", f"id,text,card,big\n1,a,{'4' * 20},1e999\n"))
    assert document.metadata == {"card": "4" * 20, "big": "1e999"}


def test_json_values_keep_their_types(tmp_path: Path) -> None:
    row = {"id": "1", "text": "a", "year": "2020", "ok": True, "n": 2.5, "tags": ["x", 1]}
    (document,) = read_corpus(jsonl(tmp_path / "c.jsonl", row))
    assert document.metadata == {"year": "2020", "ok": True, "n": 2.5, "tags": ["x", 1]}


def test_dates_and_decimals_of_parquet_come_out_as_what_they_are(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "c.parquet",
        id=["1"],
        text=["a"],
        day=[datetime.date(2020, 5, 1)],
        at=[datetime.datetime(2020, 5, 1, 12, 30)],
        utc=pa.array([datetime.datetime(2020, 5, 1, 12, tzinfo=datetime.UTC)]),
        price=pa.array([Decimal("1.50")]),
        count=pa.array([Decimal("3")]),
        raw=[b"x"],
        ok=[True],
    )
    (document,) = read_corpus(file)
    assert document.metadata == {
        "day": "2020-05-01", "at": "2020-05-01T12:30:00", "utc": "2020-05-01T12:00:00+00:00", "price": 1.5, "count": 3,
        "raw": "x", "ok": True,
    }  # fmt: skip


def test_timestamps_that_python_cannot_hold_become_text(tmp_path: Path) -> None:
    file = parquet(
        tmp_path / "c.parquet",
        id=["1", "2"],
        text=["a", "b"],
        far=pa.array([253402300800000000, None], pa.timestamp("us")),
        fine=pa.array([1, 1_000_000_000], pa.timestamp("ns")),
    )
    far = [document.metadata["far"] for document in read_corpus(file)]
    assert far == ["10000-01-01T00:00:00", None]
    assert [document.metadata["fine"] for document in read_corpus(file)][1].startswith("1970-01-01T00:00:01")


def test_an_unknown_time_zone_is_named_with_its_column(tmp_path: Path) -> None:
    column = pa.array([0], pa.timestamp("us", tz="Mars/Base"))
    file = parquet(tmp_path / "c.parquet", id=["1"], text=["a"], t=column)
    with pytest.raises(InvalidError, match=r"c\.parquet, row 1: the time zone 'Mars/Base' is unknown \(column 't'\)"):
        list(read_corpus(file))


def test_a_file_that_is_no_parquet_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and so on PAR1")
    with pytest.raises(DamagedError, match="does not read as Parquet"):
        list(read_corpus(tmp_path / "c.parquet"))


def test_the_index_column_of_pandas_is_no_metadata(tmp_path: Path) -> None:
    assert list(read_corpus(table(tmp_path / "c.csv", ",id,text\n0,a,x\n1,b,y\n"))) == [
        Document("a", "x"),
        Document("b", "y"),
    ]
    assert list(read_corpus(table(tmp_path / "d.csv", "Unnamed: 0,id,text\n0,a,x\n"))) == [Document("a", "x")]
    file = parquet(tmp_path / "c.parquet", id=["a"], text=["x"], __index_level_0__=[0])
    assert list(read_corpus(file)) == [Document("a", "x")]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"c\.csv, line 1: the header names the column 'text' twice"):
        list(read_corpus(table(tmp_path / "c.csv", "id,text,text\n1,a,b\n")))
    pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * 3, ["id", "text", "text"]), tmp_path / "c.parquet")
    with pytest.raises(InvalidError, match="two columns are called 'text'"):
        list(read_corpus(tmp_path / "c.parquet"))


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ('{"id": 1, "text": "a", "n": ' + "1" * 6000 + "}", "a number has too many digits", "string"),
        ('{"a":' * 100_000, "nested too deeply", "flat"),
        ('[\n{"id": 1, "text": "a"}\n]', "this is not JSON", "JSON array"),
        ("{'id': 1}", "this is not JSON", "one complete JSON object"),
    ],
)
def test_json_that_cannot_be_read_says_why(tmp_path: Path, line: str, message: str, hint: str) -> None:
    for read in (lambda path: list(read_corpus(path)), read_queries):
        with pytest.raises(InvalidError, match=f"line 1: .*{message}") as error:
            read(table(tmp_path / "c.jsonl", line + "\n"))
        assert hint in error.value.hint


@pytest.mark.parametrize("id", ["a\nb", "a\x85b", "a\u2028b", "a\x1b[2J", "a\x9bb", "a\x7fb"])
def test_an_id_with_a_control_character_is_refused(tmp_path: Path, id: str) -> None:
    with pytest.raises(InvalidError, match="holds a control character"):
        list(read_corpus(jsonl(tmp_path / "c.jsonl", {"id": id, "text": "a"})))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_stream_of_csv_is_read_once_as_text(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "c.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text("id,text,year\n1,a,2020\n", encoding="utf-8"))
    writer.start()
    try:
        assert list(read_corpus(path)) == [Document("1", "a", "", {"year": "2020"})]
    finally:
        writer.join(10)


def test_errors_of_rows_have_their_kind(tmp_path: Path) -> None:
    with pytest.raises(DebaterError) as error:
        read_corpus(tmp_path / "none.jsonl")
    assert error.value.kind == "missing"
