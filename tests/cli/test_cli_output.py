import io
import json
import logging
import re
import sys
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.cli.output import Output, results
from debater_search.progress import Progress, progress
from debater_search.terminal import printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["Straße 東京 naïve – “x”", "plain"])
def test_printable_leaves_ordinary_text_alone(text: str) -> None:
    assert printable(text) == text


def test_what_a_library_prints_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with results(as_json=True) as out:
        print("downloading…")
        out.json({"a": "ü"})
    captured = capsys.readouterr()
    assert captured.out == '{"a": "ü"}\n'
    assert "downloading" in captured.err


def test_a_number_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Output(io.StringIO(), as_json=True).json({"score": float("nan")})


def test_json_of_broken_text_is_still_json() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    Output(stream, as_json=True).json("\udc80 東")
    assert raw.getvalue() == '"\\udc80 東"\n'.encode()


def test_notes_and_warnings_of_ours_are_lines_on_stderr_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with results(as_json=False):
            logging.getLogger("debater_search.x").info("Reading\n%s.", "c.jsonl")
            logging.getLogger("debater_search.x").warning("2 are empty.")
            logging.getLogger("debater_search.x").warning("2 are %s.", "empty")
            logging.getLogger("elsewhere").info("noise")
            warnings.warn("noise", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == 2 * "Reading c.jsonl.\nWarning: 2 are empty.\n"
    assert sys.stdout is not sys.stderr


def test_a_table_is_plain_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    Output(stream, as_json=False).table("", ["system", "ndcg@10"], [["a" * 200, "0.1"], ["[bold]b", "0.25"]])
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert [line.split() for line in lines] == [["system", "ndcg@10"], ["a" * 200, "0.1"], ["[bold]b", "0.25"]]
    assert "\x1b" not in stream.getvalue()


HOSTILE = "a\x1b]52;c;aGk=\x07b\x9b31mc\u202ed[red]e[/nope]f"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_is_shown_commands_the_terminal_or_is_taken_for_markup(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    stream = Terminal() if terminal else io.StringIO()
    out = Output(stream, as_json=False)
    out.show(f"Next: {HOSTILE}\n  {HOSTILE}")
    out.table(HOSTILE, [HOSTILE], [[HOSTILE]])
    out.growing_table([HOSTILE], [])([HOSTILE])
    out.facts([("path", HOSTILE)])
    shown = re.sub(r"\x1b\[[0-9]*m", "", stream.getvalue())  # our own styles
    assert shown.count(printable(HOSTILE)) == 8
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)


def test_json_for_a_terminal_holds_no_controls_and_is_the_same_document() -> None:
    stream = io.StringIO()
    Output(stream, as_json=True).json({"text": HOSTILE})
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(stream.getvalue())
    assert json.loads(stream.getvalue()) == {"text": HOSTILE}


def test_the_end_of_a_job_is_one_line_however_long_closing_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr("debater_search.progress.time.monotonic", lambda: float(next(clock)))
    with progress("Training", 2, "steps", enabled=True) as bar:
        bar.advance()
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["Training: 1/2 steps", "Training: 2/2 steps"]


def test_a_progress_line_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(f"Reading {HOSTILE}", 1, "MiB", enabled=True) as bar:
        bar.advance()
    assert f"Reading {printable(HOSTILE)}: 1/1 MiB" in stream.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text

    monkeypatch.setenv("TERM", "xterm")
    for no_color, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        stream = Terminal()
        Output(stream, as_json=False).show(Text("wing", style="yellow"))
        assert ("\x1b[33m" in stream.getvalue()) == coloured


def test_a_progress_line_shows_what_the_screen_has_room_for() -> None:
    bar = Progress("Training", 20, "steps", enabled=False)
    bar.resume_at(3)
    bar.facts = "contrast 0.4671 · distill 0.5782 · lr 3.33e-05"
    assert bar.line() == "Training: 3/20 steps · contrast 0.4671 · distill 0.5782 · lr 3.33e-05"
    assert bar.line(60) == "Training: 3/20 steps · contrast 0.4671 · distill 0.5782"
    assert bar.line(10) == "Training: 3/20 steps"


def test_slow_work_says_how_long_one_unit_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Progress("Training", 20, "steps", enabled=False)
    start = time.monotonic()
    bar.advance(2)
    monkeypatch.setattr(time, "monotonic", lambda: start + 80)
    assert "Training: 2/20 steps · 40s each · 12m00s left" in bar.line()
