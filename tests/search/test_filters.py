"""Filters: what they allow, and what is refused, with where."""

from pathlib import Path

import pytest

from debater_search.errors import DebaterError
from debater_search.filters import parse_filter
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import never_true
from debater_search.types import Document
from tests.search.stores import THINGS, ids_of, stored


@pytest.fixture(scope="module", params=[True, False], ids=["table", "scan"])
def things(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    return stored(tmp_path_factory.mktemp("things") / "documents.sqlite", THINGS, table=request.param)


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("year >= 2020", "ac"),
        ("year>2019.5 and year<=2.021e3", "a"),
        ("year = 2022", "c"),
        ("year = '2022'", "c"),
        ("year < -5", ""),
        ("year > 99999999999999999999", ""),
        ("year < 'z'", "c7"),
        ("year in (2021, 'soon', true)", "a7"),
        ("venue in ('ACL','SIGIR') and not lang = 'de'", "a"),
        ("venue NOT IN ('ACL')", "bc"),
        ("venue != 'ACL'", "bc"),
        ("venue <> 'ACL'", "bc"),
        ("not venue = 'ACL'", "bc7"),
        ("not not venue == 'ACL'", "a"),
        ("venue = 'O''Hare \"x\"'", "c"),
        ('venue = "O\'Hare ""x"""', "c"),
        ("open = true", "a"),
        ("open = FALSE", "b"),
        ("open != true", "b"),
        ("open = 1 or open > 0", ""),
        ("open = 'true'", "a"),
        ("lang is missing", "c7"),
        ("lang IS NOT Missing", "ab"),
        ("`pub date` = 'x' or [pub date] = 'y'", "a"),
        ("[a`b] = 1 or `c]d` = 1", "c"),
        ("tags = 'ACL'", "c"),
        ("tags > 2020 and tags < 'B'", "c"),
        ("tags != 'ACL'", ""),
        ("author > '' or author = 'ACL'", ""),
        ("author.name = 'ACL' and author is not missing", "7"),
        ("title is missing", "c7"),
        ("title in ('', 'Wings') or title = ''", "a"),
        ("id = 'a' or id = 7 or id in ('x', 7)", "a7"),
        ("id > 'a'", "bc"),
        ("title = 'Wings' or title < 'I' and title > ''", "ab"),
        ("year = 2021 or year = 2022 and lang = 'de'", "a"),
        ("(year = 2021 or year = 2022) and lang is missing", "c"),
        ("not (year = 2021 or year = 2022)", "b7"),
    ],
)
def test_a_filter_allows_what_it_says(papers: DocumentStore, expression: str, ids: str) -> None:
    assert ids_of(papers, expression) == ids


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("tags = 'eco'", "ace"),
        ("tags has 'eco'", "ace"),
        ("tags not has 'eco'", ""),
        ("tags has 'new' or not tags has 'eco'", "abdf"),
        ("tags in ('new', 'old')", "a"),
        ("tags is missing", "bdf"),
        ("n = 5", "a"),
        ("n > 6", "cf"),
        ("n between 2 and 4", "d"),  # one element must be between
        ("n not between 2 and 4", "acf"),
        ("n != 150", "acd"),
        ("n is missing", "be"),
        ("specs.weight_g > 2000", "a"),
        ("specs.weight_g < 1000", "df"),
        ("specs.k98 = 98 and specs.k7 != 8", "e"),
        ("specs.size.x = 1", "d"),
        ("specs.weight_g is missing", "bce"),
        ("specs is missing", "bcf"),
        ("specs.size is not missing", "d"),
        ("when = '2020-05-01'", "ad"),  # a month counts by its first instant
        ("when = '2020-05-02'", "b"),
        ("when = '2020-05-02T01:30Z'", "b"),
        ("when in ('2020-05-02', '2019')", "bc"),
        ("when = 2020", "abdf"),
        ("when >= 2020", "abdf"),
        ("when > 2020", ""),
        ("when <= '2019'", "c"),
        ("when <= '2020-04' or when > '2020-05-01T12:00:00+00:00'", "bc"),
        ("when >= '1999-01-01' or when between '1999-01-01' and '9999-01-01'", "abcd"),  # neither a text nor a number
        ("when != '2020-05-01' or when > '9999'", "bcef"),
        ("when between '2020-05-01' and '2020-05-02' and not when < 'a'", "abd"),
        ("when > '01.05.2020' or when < '31.12.2019'", "e"),  # its text alone is compared by characters
        ("when < '2020-13' or when between '01.01.2019' and '31.12.2020'", ""),
        ("when = '01.05.2020' or when in ('1.5.2020', '20200501')", ""),
        ("when != '01.05.2020'", "abcdef"),
        ("when != '2020-05'", "cef"),
        ("when contains '2020-05'", "abd"),
        ("when like '2020-0_-%' or when like 'N%V%r'", "abe"),
        ("note contains '50%' or note contains 'G LONG a'", "bf"),
        ("note like '50%a_b'", "f"),
        ("note like '%a'", "b"),
        ("note not like '%a'", "f"),
        ("note not contains 'zebra'", "bf"),
        ("ok = true", "be"),
        ("ok = 'false' or ok = 'maybe'", "c"),
        ("ok != true", "c"),
    ],
)
def test_values_compare_as_what_they_are(things: DocumentStore, expression: str, ids: str) -> None:
    assert ids_of(things, expression) == ids


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("year > 'soon'", "'year' holds numbers, so that `year > 'soon'` is never true"),
        ("year = true or year in (1, 'x')", "'year' holds numbers, so that `year = true` is never true"),
        (
            "date > 20200501",
            "'date' holds dates, so that `date > 20200501` is never true. 20200501 is no date; write '2020-05-01'.",
        ),
        ("open != 'maybe'", "'open' holds booleans, so that `open != 'maybe'` excludes no document"),
        ("o.x like 'a%'", "'o.x' holds numbers"),
        ("o > 5", "'o' holds objects"),
        ("title = 5", "'title' holds texts, so that `title = 5` is never true"),
        ("id > 5 or id = 'one'", "'id' holds texts"),
        ("title > 'w'", None),
        ("title > '2024-05-01'", None),
        ("text > '2024-05-01'", "'text' holds texts, so that `text > '2024-05-01'` is never true"),
        (
            "year = '2020' or date >= 2020 or open = 'TRUE' or text = '7' or text > 5 or title like 'x' or none = 3",
            None,
        ),
    ],
)
def test_a_comparison_that_can_never_be_true_is_spoken_of(tmp_path: Path, expression: str, note: str | None) -> None:
    fields = {"year": 2020, "date": "2020-05-01", "open": True, "text": "8", "o": {"x": 1}, "none": None}
    store = stored(tmp_path / "d.sqlite", [Document("one", "", "Wing", fields)], table=True)
    notes = list(never_true(parse_filter(expression), store))
    assert len(notes) == (note is not None)
    assert (note or "") in "".join(notes)


DATES = "dates as '2024-12-31' or '2024-12'"


@pytest.mark.parametrize(
    ("expression", "cure"),
    [
        ("date > '01.03.2021'", "'01.03.2021' is no date; write '2021-03-01'."),
        ("date <= '1.3.2021'", "'1.3.2021' is no date; write '2021-03-01'."),
        ("date = '15/01/2025'", "'15/01/2025' is no date; write '2025-01-15'."),
        ("date < '01/15/2025'", "'01/15/2025' is no date; write '2025-01-15'."),
        ("date < '01/03/2025'", f"'01/03/2025' is no date; write {DATES}."),  # January or March
        ("date > '2021/3/1'", "'2021/3/1' is no date; write '2021-03-01'."),
        ("date > '2021-3'", "'2021-3' is no date; write '2021-03'."),
        ("date > '2021-13'", f"'2021-13' is no date; write {DATES}."),
        ("date > '31.02.2021'", f"'31.02.2021' is no date; write {DATES}."),
        ("date > 'March 2021' or date > '2021-03'", f"'March 2021' is no date; write {DATES}."),
        ("date != 'yesterday'", f"'yesterday' is no date; write {DATES}."),
        ("date between '2021-01-01' and '31.12.2021'", "'31.12.2021' is no date; write '2021-12-31'."),
        ("date in ('2021-03-01', '1.4.2021')", "'1.4.2021' is no date; write '2021-04-01'."),
        ("mixed > '01.03.2021'", "'01.03.2021' is no date; write '2021-03-01'."),
        ("mixed > 'm' or mixed = 'soon' or mixed = '01.03.2021'", None),
        ("numbered > '01.03.2021'", "'01.03.2021' is no date; write '2021-03-01'."),
        ("numbered > 20210301 or numbered < 2.5", None),
        ("text > '01.03.2021' or id > '01.03.2021' or title = '01.03.2021'", None),
        ("date >= '2021' or date < 2021 or date = '2021-03' or date > ' 2021-03-01T10:00Z'", None),
        ("date contains '01.03' or date like '%.2021'", None),
    ],
)
def test_a_text_that_is_no_date_is_named_where_it_is_compared_with_dates(
    tmp_path: Path, expression: str, cure: str | None
) -> None:
    fields = {"date": "2021-03-01", "mixed": ["2021-03-01", "soon"], "numbered": ["2021-03-01", 7], "text": "a"}
    store = stored(tmp_path / "d.sqlite", [Document("one", "", "Wing", fields)], table=True)
    notes = list(never_true(parse_filter(expression), store))
    assert len(notes) == (cure is not None)
    assert (cure or "") in "".join(notes)


@pytest.mark.parametrize(
    ("expression", "cure"),
    [
        ("price < '10 €'", "In `price < '10 €'`, '10 €' is no number; write 10."),
        ("price >= '$12.50'", "write 12.50."),
        ("price between '5' and '10,50'", "'10,50' is no number; write 10.50."),
        (
            "weight < '10 kg'",
            "`weight < '10 kg'` is never true. '10 kg' is no number; write 10.",
        ),
        ("weight = '-3 %'", "write -3."),
        ("price < 10 or price < '10' or price < 'ten' or price < '1.2.3 €'", None),
        ("price = '10 €' or price contains '10 €'", None),  # texts
        ("label < '10 €' or id < '10 €' or title > '10 €'", None),
    ],
)
def test_a_number_with_a_unit_is_named_where_it_is_compared_with_numbers(
    tmp_path: Path, expression: str, cure: str | None
) -> None:
    fields = {"price": "8", "weight": 7, "label": "9 €"}
    store = stored(tmp_path / "d.sqlite", [Document("1", "", "Wing", fields)], table=True)
    notes = list(never_true(parse_filter(expression), store))
    assert len(notes) == (cure is not None)
    assert (cure or "") in "".join(notes)


ELEMENTS = "To compare the elements of such texts, index them with `columns`"


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("brand = 'lumo'", "No document has `brand = 'lumo'`; nearest value: 'Lumo'."),
        ("brand = 'Lumoo' or n = 1", "No document has `brand = 'Lumoo'`; nearest value: 'Lumo'."),
        (
            "tags has 'coffee'",
            f"No document has `tags = 'coffee'`; nearest value: 'kitchen|coffee'. {ELEMENTS} list=tags.",
        ),
        (
            "genres has 'drama'",
            f"No document has `genres = 'drama'`; nearest value: 'Action, Drama'. {ELEMENTS} comma-list=genres.",
        ),
        ("brand = 'Lumo' and tags = 'garden' and n = '1' and n = 1 and id = 'Lumo' and ok = true", None),
        ("brand = 'zzz' or brand = '' or brand != 'lumo' or brand in ('lumo', 'x')", None),
    ],
)
def test_the_nearest_value_is_named_where_no_document_has_the_one_of_the_filter(
    tmp_path: Path, expression: str, note: str | None
) -> None:
    fields = [{"brand": "Lumo", "tags": "kitchen|coffee", "n": 1, "ok": "true"}, {"brand": "Arc", "tags": "garden"}]
    fields[0]["genres"] = "Action, Drama"
    documents = [Document(str(number), metadata=own) for number, own in enumerate(fields)]
    notes = list(never_true(parse_filter(expression), stored(tmp_path / "d.sqlite", documents, table=True)))
    assert notes == ([] if note is None else [note])


def test_ids_that_are_dates_are_ordered_among_other_ids(tmp_path: Path) -> None:
    store = stored(tmp_path / "d.sqlite", [Document("2024-05-01"), Document("b")], table=True)
    assert ids_of(store, "id < 'a'") == "2024-05-01"
    assert ids_of(store, "id = '2024-05-01'") == "2024-05-01"
    assert ids_of(store, "id != 'b'") == "2024-05-01"


def test_ids_that_begin_with_dates_are_ordered_by_dates(tmp_path: Path) -> None:
    store = stored(tmp_path / "d.sqlite", [Document("2024-04-30.md"), Document("2024-05-01.md")], table=True)
    assert ids_of(store, "id >= '2024-05-01'") == "2024-05-01.md"


@pytest.mark.parametrize(
    ("expression", "character", "expected"),
    [
        ("year between 1 or 2", 16, '"and" is expected, not or'),
        ("year between 1 and", 19, "a value .* but the filter ends"),
        ("year between true and 2", 14, "no order"),
        ("year between 1 and '2'", 20, "two numbers or two texts"),
        ("year between '1' and true", 22, "two numbers or two texts"),
        ("title contains 5", 16, "a text in quotes is expected, not 5"),
        ("title like wing", 12, "a text in quotes"),
        ("title not > 5", 11, '"contains".*not >'),
        ("year >= 2020 and venue venue", 24, "not venue"),
        ("year >=", 8, "a value .* but the filter ends"),
        ("year", 5, '"in".*but the filter ends'),
        ("year 2020", 6, '"in".*not 2020'),
        ("year = venue", 8, "a value .*not venue"),
        ("(year = 1", 10, r'"\)" is expected'),
        ("year = 1)", 9, '"and", "or" or the end is expected'),
        ("year = 1; DROP TABLE documents", 9, "neither a name"),
        ("venue = 'ACL", 9, "closed string"),
        ("venue in ()", 11, "a value"),
        ("venue in ('a' 'b')", 15, r'"\)" is expected'),
        ("venue is 'ACL'", 10, '"missing" is expected'),
        ("open > true", 8, "no order"),
        ("and = 1", 1, "name of a field"),
        ("'venue' = 'ACL'", 1, "name of a field"),
        ("1 = 1", 1, "name of a field"),
        ("year = 20x", 8, "neither"),
        ("year = 1e999", 8, "a smaller number"),
        (" \n year ? 1", 9, "neither"),
    ],
)
def test_a_wrong_filter_is_refused_with_where_and_why(expression: str, character: int, expected: str) -> None:
    with pytest.raises(DebaterError, match=rf"wrong at character {character}: .*{expected}"):
        parse_filter(expression)


@pytest.mark.parametrize(
    ("expression", "message"), [("", "is empty"), (" \n", "is empty"), ("venue = '\udcff'", "not UTF-8")]
)
def test_an_empty_or_undecodable_filter_is_refused(expression: str, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        parse_filter(expression)


SEVERAL = "Write tags in ('light', …) for one of several, tags has 'light' and tags has … for all of them."


@pytest.mark.parametrize(
    ("expression", "cure"),
    [
        ("released >= 2024-01-01", "Put quotes around it: '2024-01-01'"),
        ("released between 2024-01-01T10:00Z and 3", "Put quotes around it: '2024-01-01T10:00Z'"),
        ("released < 01.3.2024", "Write a date so: '2024-03-01'"),
        ("code = 20x", "Put quotes around it: '20x'"),
        ("brand = Lumo", "Put quotes around a text: brand = 'Lumo'"),
        ("price > 3 and brand = O'Hare Home or x = 1", "Put quotes around a text: brand = 'O''Hare Home'"),
        ("brand in ('x', Lumo)", "Put quotes around a text: 'Lumo'"),
        ("title like wing", "Put quotes around a text: title like 'wing'"),
        ("price < 100,5", "Write 100.5."),
        ("price < -1,234 and x = 1", "Write -1.234, or -1234."),
        ("a = 1 && b = 2", "Write and, or, not."),
        ("a = 1 || b = 2", "Write and, or, not."),
        ("!(a = 1)", "Write and, or, not."),
        ("a < 10 €", "Write the number without a unit."),
        ("'date' > '2020'", "Write a field without quotes: date"),
        ("'pub date' > '2020'", "Write a field so: `pub date`"),
        ("tags has ['light','dry']", SEVERAL),
        ("tags has any of ('light', 'dry')", SEVERAL),
        ("a = 1 and tags has ('light')", SEVERAL),
        ("tags = ['light']", SEVERAL),
        ("tags in ['light']", SEVERAL),
        (
            "sizes contains all [38, 39]",
            "Write sizes in (38, …) for one of several, sizes has 38 and sizes has … for all of them.",
        ),
        ("a = 1 and 'light' in tags", "Write tags has 'light'."),
        ("39 in sizes", "Write sizes has 39."),
        ("tags in 'light'", "Write tags in ('light')."),
        ("tags includes 'light'", "Write tags has 'light'."),
        ("tags has not 'light'", "Write tags not has 'light'."),
        ("tags is empty", "Write tags is missing."),
        ("tags = null", "Write tags is missing."),
        ("a = 1 and tags is not null", "Write tags is not missing."),
        ("tags exists", "Write tags is not missing."),
        ("tags has 'light' or 'dry'", "Write tags has 'light' or tags has 'dry'."),
        ("(year = 2020 or 2021) and x = 1", "Write year = 2020 or year = 2021."),
        ("brand = 'x' or 'year' = 3", "Write a field without quotes: year"),
        ("x in (1,5", "Understood so far: x in (1,5"),
        ("year 2020", "Understood so far: year"),
        ("brand = and", "Understood so far: brand ="),
        ("year = 1; DROP", "Understood so far: year = 1"),
        ("code = 1-" + 70 * "9" + "x", "Understood so far: code = 1"),
    ],
)
def test_a_wrong_filter_is_refused_with_what_to_write(expression: str, cure: str) -> None:
    with pytest.raises(DebaterError) as raised:
        parse_filter(expression)
    assert raised.value.hint == cure


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("yaer", "Did you mean year? Fields: id, title, "),
        ("Venue", "Did you mean venue? Fields: id, title, "),
        ("zzz", "Fields: id, title, "),
    ],
)
def test_an_unknown_field_names_the_nearest_and_those_there_are_in_order(
    papers: DocumentStore, field: str, hint: str
) -> None:
    with pytest.raises(DebaterError, match=f"field '{field}'") as raised:
        ids_of(papers, f"venue = 'ACL' and not {field} is missing")
    assert raised.value.hint.startswith(hint)
    shown = raised.value.hint.partition("Fields: id, title, ")[2].rstrip(".").split(", ")
    assert shown == sorted(shown)
