"""`debater facets`: how many documents have which value."""

from pathlib import Path

import pytest

from debater_search.indexing import build
from debater_search.types import Document
from tests.cli.support import Debater


@pytest.fixture
def films(workdir: Path) -> Path:
    """Thirty films of two countries, one per year."""
    documents = [
        Document(f"f{number}", "A film.", "", {"year": 1990 + number, "country": "PT" if number % 3 else "SE"})
        for number in range(30)
    ]
    build(documents, None, Path("indexes/films"))
    return Path("indexes/films")


def test_values_and_ranges_are_counted(debater: Debater, films: Path) -> None:
    outcome = debater("facets", str(films), "country", "year", "--values", "3")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines() if line.strip()]
    assert ["documents", "30"] in lines
    assert lines[lines.index(["country:", "text,", "in", "30", "documents"]) :][2:4] == [["PT", "20"], ["SE", "10"]]
    assert "year: number, in 30 documents, 1990 … 2019" in outcome.out
    assert ["1990", "…", "below", "2000", "10"] in lines


def test_a_filter_narrows_what_is_counted(debater: Debater, films: Path) -> None:
    found = debater("facets", str(films), "country", "--where", "year < 1993", "--json").json
    assert found == {
        "index": str(films), "where": "year < 1993", "documents": 3,
        "fields": [
            {"name": "country", "type": "text", "documents": 3, "values": [["PT", 2], ["SE", 1]], "distinct": 2}
        ],
    }  # fmt: skip
    assert debater("facets", str(films), "country", "--where", "year < 3000", "--values", "1", "--json").json["fields"][
        0
    ]["values"] == [["PT", 20]]


def test_values_that_are_not_shown_are_spoken_of(debater: Debater, films: Path) -> None:
    assert "… and 1 more: --values 2 shows all." in debater("facets", str(films), "country", "--values", "1").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("yeer",), "No document has a field 'yeer'.\nDid you mean year? Fields: country, year."),
        (("year", "--where", "yeer = 1"), "No document has a field 'yeer'.\nDid you mean year? Fields: "),
        (("year", "--where", "year >"), "The filter is wrong at character 7"),
    ],
)
def test_an_unknown_field_is_told_those_that_there_are(
    debater: Debater, films: Path, arguments: tuple[str, ...], said: str
) -> None:
    outcome = debater("facets", str(films), *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {said}")
