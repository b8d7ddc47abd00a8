"""`debater search --csv`: hits for spreadsheets and data frames."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from debater_search.cli.hit_rows import hit_rows
from debater_search.cli.output import Output
from debater_search.types import Hit
from tests.cli.support import Debater
from tests.cli.test_cli_output import Terminal


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_hits_are_rows_with_a_column_per_field(debater: Debater, index: Path) -> None:
    outcome = debater("search", "loud wing", "--mode", "lexical", "--csv")
    assert outcome.code == 0
    rows = read(outcome.out)
    assert list(rows[0]) == ["rank", "id", "score", "title", "text", "snippet", "year"]
    hits = debater("search", "loud wing", "--mode", "lexical", "--json").json["hits"]
    assert [(row["rank"], row["id"], float(row["score"])) for row in rows] == [
        (str(hit["rank"]), hit["id"], hit["score"]) for hit in hits
    ]
    assert {row["id"]: row["year"] for row in rows} == {"noise": "1958", "stall": "", "layer": ""}
    assert outcome.out.count("\r\n") == 4


def test_no_hits_are_a_head_alone(debater: Debater, index: Path) -> None:
    assert debater("search", "zeppelin", "--mode", "lexical", "--csv").out == "rank,id,score,title,text,snippet\r\n"


def test_a_file_of_queries_says_whose_hit_a_row_is(debater: Debater, index: Path) -> None:
    queries = [{"_id": "q1", "text": "propellers"}, {"_id": "q2", "text": "boundary"}]
    Path("q.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries), encoding="utf-8")
    outcome = debater("search", "--queries", "q.jsonl", "--mode", "lexical", "--csv")
    rows = read(outcome.out)
    assert [(row["query_id"], row["query"], row["id"]) for row in rows] == [
        ("q1", "propellers", "noise"),
        ("q2", "boundary", "layer"),
    ]
    assert [row["year"] for row in rows] == ["1958", ""]


METADATA: dict[str, Any] = {
    "score": 3, "tags": ["a", "ü"], "open": True, "gone": None, "quoted": 'a "b",\nc', "formula": "=1+1", "at": "@me",
}  # fmt: skip


def test_values_are_what_they_were() -> None:
    hit = Hit(1, "-1", 0.1, metadata=METADATA)
    stream = io.StringIO(newline="")
    Output(stream, False).csv(hit_rows([hit]))
    (row,) = read(stream.getvalue())
    assert row["id"] == "-1"
    assert row["metadata.score"] == "3"
    assert row["score"] == "0.1"
    assert json.loads(row["tags"]) == ["a", "ü"]
    assert (row["open"], row["gone"], row["quoted"]) == ("true", "", 'a "b",\nc')
    assert (row["formula"], row["at"]) == ("=1+1", "@me")


def test_a_terminal_is_not_commanded() -> None:
    stream = Terminal()
    Output(stream, False).csv([["id"], ["\x1b[31mred"]])
    assert stream.getvalue() == "id\n\\x1b[31mred\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wing", "--json"), "--csv and --json exclude each other."),
        (("wing", "--explain"), "--csv and --explain exclude each other."),
        (("--queries", "q.jsonl", "--run", "out.trec"), "--csv and --run exclude each other."),
        ((), "--csv needs a QUERY, --like or --queries."),
        (("--queries", "nowhere.jsonl"), "There is no file nowhere.jsonl."),
    ],
)
def test_what_is_no_table_is_refused(debater: Debater, index: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("q.jsonl").write_text('{"_id": "q1", "text": "wing"}\n', encoding="utf-8")
    outcome = debater("search", *arguments, "--csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {said}")
