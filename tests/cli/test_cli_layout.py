"""Tables on narrow screens."""

import pytest

from debater_search.cli.layout import layout
from debater_search.terminal import text_width

HEAD = ["task", "model", "ndcg@10", "more than rounding"]
NAME = "sentence-transformers/all-MiniLM-L6-v2"


def lines(rows: list[list[str]], screen: int | None, texts: int = 2) -> list[str]:
    places = layout(HEAD[: len(rows[0])], rows, texts, screen)
    return [*places.lines(HEAD, is_head=True), *(line for row in rows for line in places.lines(row))]


def test_what_fits_is_in_columns() -> None:
    assert lines([["scifact", "m", "0.6450", "yes"]], 60) == [
        "task     model  ndcg@10  more than rounding",
        "scifact  m       0.6450                 yes",
    ]


def test_names_of_numbers_are_broken_first() -> None:
    assert lines([["scifact", "m", "0.6450", "yes"]], 36) == [
        "                             more",
        "                             than",
        "task     model  ndcg@10  rounding",
        "scifact  m       0.6450       yes",
    ]


def test_then_texts_are_broken_at_blanks() -> None:
    assert lines([["wings and heat", "m", "0.6450", "yes"]], 32) == [
        "                            more",
        "                            than",
        "task    model  ndcg@10  rounding",
        "wings   m       0.6450       yes",
        "and",
        "heat",
    ]


def test_then_texts_are_above_the_numbers() -> None:
    assert lines([["scifact", NAME, "0.6450", "yes"], ["nfcorpus", "m", "0.3250", "no"]], 60) == [
        "task  model",
        "  ndcg@10  more than rounding",
        f"scifact  {NAME}",
        "   0.6450                 yes",
        "nfcorpus  m",
        "   0.3250                  no",
    ]


@pytest.mark.parametrize("screen", [None, 10, 40, 80])
def test_no_cell_is_ever_cut(screen: int | None) -> None:
    rows = [["a-task-with-a-long-name", NAME, "-0.123…+0.123", "0.0001 (0.0004)"]]
    shown = lines(rows, screen)
    words = " ".join(shown).split()
    assert all(word in words for cell in rows[0] for word in cell.split())


def test_wide_characters_take_two_columns() -> None:
    shown = lines([["東京", "m", "0.1", "yes"], ["ab", "m", "0.2", "no"]], 80)
    assert len({text_width(line) for line in shown}) == 1


def test_without_a_screen_a_row_is_one_line_even_if_it_is_wider_than_expected() -> None:
    places = layout(HEAD, [["t", "m", "0.1", "no"]], 2, None)
    assert len(places.lines(["a task with a name", "and a model", "0.123456", "perhaps"])) == 1
