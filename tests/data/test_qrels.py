"""Judgements by their headers, as tools write them; runs whose ids would forge lines."""

from pathlib import Path

import pytest

from debater_search.data import read_qrels, read_run, write_run
from debater_search.errors import InvalidError

EXPECTED = {"1": {"184": 1, "29": 2}, "2": {"12": 1}}
ROWS = [("1", "184", "1"), ("1", "29", "2"), ("2", "12", "1")]


def written(path: Path, names: list[str], order: list[int], separator: str = "\t") -> Path:
    lines = [separator.join(names), *(separator.join([*row, "0"][place] for place in order) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", ["\t", ",", " "])
@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["query-id", "corpus-id", "score"], [0, 1, 2]),
        (["query-id", "score", "corpus-id"], [0, 2, 1]),
        (["score", "query_id", "corpus_id"], [2, 0, 1]),
        (["corpus-id", "query-id", "score"], [1, 0, 2]),
        (["qid", "docid", "relevance"], [0, 1, 2]),
        (["DocID", "QueryID", "Label"], [1, 0, 2]),
        (["qid", "iter", "docno", "rel"], [0, 3, 1, 2]),
        (["qid", "0", "docno", "rel"], [0, 3, 1, 2]),
        (["topic", "iteration", "doc_id", "judgment"], [0, 3, 1, 2]),
        (["query-id", "corpus-id", "score", "annotator"], [0, 1, 2, 3]),
        (["query", "query_id", "pid", "grade"], [3, 0, 1, 2]),
    ],
)
def test_columns_are_found_by_the_header(tmp_path: Path, names: list[str], order: list[int], separator: str) -> None:
    assert read_qrels(written(tmp_path / "q.tsv", names, order, separator)) == EXPECTED


@pytest.mark.parametrize(
    "text",
    [
        "\tquery-id\tcorpus-id\tscore\n0\t1\t184\t1\n1\t1\t29\t2\n2\t2\t12\t1\n",  # to_csv(sep="\t")
        ",query-id,corpus-id,score\n0,1,184,1\n1,1,29,2\n2,2,12,1\n",  # to_csv()
        "query-id\tcorpus-id\tscore\n0\t1\t184\t1\n1\t1\t29\t2\n2\t2\t12\t1\n",  # R's write.table
        " query-id corpus-id score\n0 1 184 1\n1 1 29 2\n2 2 12 1\n",
        "Unnamed: 0\tquery-id\tcorpus-id\tscore\n0\t1\t184\t1\n1\t1\t29\t2\n2\t2\t12\t1\n",
        "query-id\tcorpus-id\tscore\n1.0\t184.0\t1.0\n1.0\t29.0\t2.0\n2.0\t12.0\t1.0\n",
        "1,184,1\n1,29,2\n2,12,1\n",
        "1,0,184,1\n1,0,29,2\n2,0,12,1\n",
        '\ufeff"query-id","corpus-id","score"\n"1","184","1"\n"1","29","2"\n"2","12","1"\n',
        "\n\nquery-id\tcorpus-id\tscore\n1\t184\t1\n1\t29\t2\n2\t12\t1\n",
    ],
)
def test_what_pandas_and_others_write_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.tsv").write_text(text, encoding="utf-8")
    assert read_qrels(tmp_path / "q.tsv") == EXPECTED


def test_ids_that_are_words_are_no_header(tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("query\tdoc\t1\nquery\tdocument\t0\n", encoding="utf-8")
    assert read_qrels(tmp_path / "q.tsv") == {"query": {"doc": 1, "document": 0}}


def test_ids_with_commas_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("a,b\tc,d\t1\n", encoding="utf-8")
    assert read_qrels(tmp_path / "q.tsv") == {"a,b": {"c,d": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query-id\ttext\tscore\n1\ta\t1\n", "line 1: the header 'query-id.*names no column of the document"),
        ("corpus-id\tscore\tx\n1\ta\t1\n", "line 1: .*names no column of the query"),
        ("query-id\tcorpus-id\nq\td\n", "line 1: .*names no column of the gain"),
        ("query-id\tscore\tcorpus-id\n1\t1\n", "line 2: 2 columns, where the header names 3"),
        ("query-id\tscore\tcorpus-id\n1\tx\td\n", "line 2: the gain 'x' is not a whole number"),
        ("query-id\tscore\tcorpus-id\n1\t0.5\td\n", "line 2: the gain '0.5' is not a whole number"),
        ("query-id\tscore\tcorpus-id\n\t1\td\n", "line 2: an id is empty"),
        ("question\tpassage\tgrade\n1\ta\t1\n", "line 1: the gain 'grade' is not"),
        ("query-id\tcorpus-id\tscore\n", "There are no judgements"),
    ],
)
def test_a_header_or_row_that_is_unclear_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidError, match=message):
        read_qrels(tmp_path / "q.tsv")


@pytest.mark.parametrize("forged", ["a 1 9.0 x\n1 Q0 b", "a\rb", "a\x85b", "a\u2028b", "a\tb", "a\x1b[2Jb", "a\0b"])
@pytest.mark.parametrize("place", ["query", "document"])
def test_an_id_that_would_forge_a_line_is_not_written(tmp_path: Path, forged: str, place: str) -> None:
    path = tmp_path / "run.trec"
    write_run({"1": {"a": 1.0}}, path)
    before = path.read_bytes()
    with pytest.raises(InvalidError, match="holds a control character"):
        write_run({"2": {"b": 1.0}, **({forged: {"a": 1.0}} if place == "query" else {"1": {forged: 1.0}})}, path)
    assert path.read_bytes() == before
    assert read_run(path) == {"1": {"a": 1.0}}
