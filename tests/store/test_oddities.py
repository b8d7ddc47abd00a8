"""Values of fields that are odd enough to be told when an index is made."""

from pathlib import Path

import pytest

from debater_search.store.oddities import odd_values
from debater_search.types import Document
from tests.search.stores import stored

DAYS = [f"2024-03-{day:02}" for day in range(1, 19)]


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ([*DAYS, "soon"], ["f: 18 of 19 values are dates; d18 has 'soon'."]),
        ([2024, *DAYS, *DAYS, "x" * 300], ["f: 36 of 38 values are dates; d0 has '2024', the first of 2."]),
        (
            [*map(str, range(10)), "tba", "7.5"],
            ["f: 11 of 12 values are numbers; d10 has 'tba'. Read the others as numbers with `columns` number=f."],
        ),
        ([*range(10), None, "tba", "8"], ["f: 11 of 12 values are numbers; d11 has 'tba'."]),
        ([*DAYS, "soon", "later", "never"], []),  # more than a tenth: truly mixed
        ([*DAYS, None, ""], []),
        ([*range(20)], []),
        (["01.03.2024", "31.12.2023"], ["f: values like '01.03.2024' are kept as text: write dates as 2024-12-31."]),
        (["3/14/2024"], ["f: values like '3/14/2024' are kept as text: write dates as 2024-12-31."]),
        (
            ["89,90 €", "1.200,00 €"],
            ["f: values like '1.200,00 €' are kept as text: write numbers as 1234.50, without a unit."],
        ),
        (
            ["12,50", "8,00 €"],
            ["f: values like '8,00 €' are kept as text: write numbers as 1234.50, without a unit."],
        ),
        (
            ["$5", "$1,000.50"],
            ["f: values like '$1,000.50' are kept as text: write numbers as 1234.50, without a unit."],
        ),
        (["01.03.2024", "spring"], []),
        (["1.2.3", "2.0.1"], []),
        (["1,2", "3,4"], []),
        (["02139", "90210"], []),
        (
            ["red|blue", "red", "green", "blue", "pink"],
            ["f: values like 'red|blue' are kept as text: read them as lists with `columns` list=f."],
        ),
        (
            ["light; dry", "dry"],
            ["f: values like 'light; dry' are kept as text: read them as lists with `columns` list=f."],
        ),
        (["red|blue", *map(chr, range(97, 102))], []),  # less than a fifth
        (["Salt &amp; pepper", "Oil; it is pressed from olives that were picked in the early morning"], []),
        ([["red|blue", "green"], ["a;b"]], []),
    ],
)
def test_odd_values_of_a_field_are_told(tmp_path: Path, values: list[object], sentences: list[str]) -> None:
    documents = [Document(f"d{n}", metadata={"f": value}) for n, value in enumerate(values)]
    assert odd_values(stored(tmp_path / "d.sqlite", documents, table=True)) == sentences


def test_only_odd_values_of_later_documents_are_told_where_these_are_asked_for(tmp_path: Path) -> None:
    values = [*DAYS, "soon", "2024-04-01"]
    store = stored(
        tmp_path / "d.sqlite", [Document(f"d{n}", metadata={"f": v}) for n, v in enumerate(values)], table=True
    )
    assert len(odd_values(store, first=18)) == 1
    assert odd_values(store, first=19) == []


def test_an_index_without_the_table_of_fields_tells_none(tmp_path: Path) -> None:
    documents = [Document("a", metadata={"f": "01.03.2024"})]
    assert odd_values(stored(tmp_path / "d.sqlite", documents, table=False)) == []
