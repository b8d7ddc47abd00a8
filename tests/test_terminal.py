"""Lines on a terminal end between words."""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from debater_search.terminal import printable_lines, screen_width, text_width, wrapped

PATH = "/data/collections/of/many/years/papers-of-the-last-decade/corpus.jsonl.gz"
LATIN = st.text(alphabet="abc é-/.", max_size=200)


@given(LATIN, st.integers(min_value=1, max_value=40))
def test_no_word_is_broken_and_none_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert [word for line in lines for word in line.split()] == text.split()
    assert all(text_width(line) <= width or " " not in line.strip() for line in lines)


@example(text=" のの", width=4)
@given(st.text(alphabet="ab 東京の「」。", max_size=80), st.integers(min_value=4, max_value=40))
def test_chinese_and_japanese_are_broken_between_characters(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    words = re.compile(r"[ab]+[」。]*|「*[東京の「」。][」。]*")  # what stays together
    assert all(
        text_width(line) <= width or len(words.findall(line)) <= 1 or set("「」。") & set(line) for line in lines
    )


def test_a_closing_mark_begins_no_line() -> None:
    assert wrapped("東京東京。東京", 8) == ["東京東", "京。東京"]


def test_an_address_is_not_broken_whatever_its_script() -> None:
    assert wrapped(f"see {PATH} now", 40) == ["see", PATH, "now"]
    japanese = "データ/とても/長い/フォルダ/名前/論文.jsonl"
    assert wrapped(f"see {japanese} now", 20) == ["see", japanese, "now"]


def test_lines_keep_their_indentation() -> None:
    assert printable_lines("  a wing of an aircraft at speed\nb", 20) == "  a wing of an\n  aircraft at speed\nb"


def test_nothing_is_broken_without_a_terminal() -> None:
    assert screen_width(io.StringIO()) is None
    assert printable_lines("word " * 100) == "word " * 100


@pytest.mark.parametrize(("said", "width"), [("120", 120), ("0", 80), ("wide", 80)])
def test_columns_tells_the_width_of_the_screen(said: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", said)
    assert screen_width(Terminal()) == width
