"""What people see at 80 and at 120 columns: no word is broken, no number, id or path is cut."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.cli import main
from debater_search.cli.commands import COMMANDS, GROUPS
from debater_search.terminal import text_width
from tests.cli.support import Debater

WIDTHS = pytest.mark.parametrize("width", [80, 120])
Screen = Callable[..., list[str]]

LONG_ID = "reports/of/the/national/advisory/committee/for/aeronautics/technical-note-1958-no-4275.pdf#page=12"
URL = f"https://example.org/{LONG_ID}"
LONG_TITLE = (
    "On the similarity laws that must be obeyed when constructing aeroelastic models of heated high-speed aircraft"
)
JAPANESE = "境界層の遷移は翼の揚力と抗力に大きな影響を与えるので、風洞実験と数値計算の両方で詳しく調べられてきた。"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """The lines that a terminal of so many columns shows: `screen(80, "search", "wings")`."""

    def show(width: int, *arguments: str, stdin: str = "", code: int = 0) -> list[str]:
        out, err = Terminal(), Terminal()
        for name, value in (("COLUMNS", str(width)), ("NO_COLOR", "1"), ("TERM", "xterm")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        assert main(arguments) == code, err.getvalue()
        shown = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue() if code == 0 else err.getvalue())
        return [line.rstrip() for line in shown.split("\n")]

    return show


def too_wide(lines: list[str], width: int) -> list[str]:
    """Lines that the terminal would break although they have several words; a word that is too long may stand alone."""
    return [line for line in lines if text_width(line) > width and " " in re.split(" {2,}", line.strip())[-1]]


@pytest.fixture
def papers(debater: Debater, fake_model: object) -> Path:
    """An index with a long id, a long title, and a text in Japanese."""
    rows = [
        {"_id": LONG_ID, "title": LONG_TITLE, "text": f"A wing flutters, {JAPANESE}", "venue": "NACA", "url": URL},
        {"_id": "2", "title": JAPANESE, "text": "A wing stalls at low speed. " * 9, "venue": "東京", "year": 2020},
    ]
    path = Path("papers.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert debater("index", str(path)).code == 0
    return Path("indexes/papers")


@WIDTHS
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_breaks_no_word(screen: Screen, command: str, width: int) -> None:
    lines = screen(width, *filter(None, [command]), "--help")
    assert too_wide(lines, width) == []
    if command:
        import typer

        program = typer.Typer(add_completion=False)
        program.command(command)(COMMANDS[command][0])
        shown = set(" ".join(lines).split())
        for option in typer.main.get_command(program).params:
            words = [*(word for word in option.opts if word.startswith("-")), *(option.help or "").split()]
            assert set(words) <= shown | {",".join(option.opts)}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_first_group_of_options_is_short(screen: Screen, command: str) -> None:
    text = "\n".join(screen(80, command, "--help"))
    (first,) = re.findall(r"╭─ Options ─.*?╰", text, flags=re.DOTALL)
    assert len(re.findall(r"^│ [* ] *-|^│ --", first, flags=re.MULTILINE)) <= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_copied_from_a_screen_of_80_columns(screen: Screen, command: str) -> None:
    examples = [line.strip() for line in COMMANDS[command][1].splitlines()[1:]]
    lines = [line.strip() for line in screen(80, command, "--help")]
    assert [example for example in examples if example not in lines] == []


def test_each_command_has_a_group_and_one_line_in_the_help(screen: Screen) -> None:
    assert set(GROUPS) == set(COMMANDS)
    lines = screen(80, "--help")
    for command, (function, _) in COMMANDS.items():
        about = (function.__doc__ or "").split("\n")[0]
        assert any(re.search(rf"^│ {command} +{re.escape(about)} *│$", line) for line in lines), command


@WIDTHS
@pytest.mark.parametrize("more", [(), ("--mode", "hybrid", "--explain"), ("--mode", "lexical")])
def test_hits_are_whole(screen: Screen, papers: Path, more: tuple[str, ...], width: int) -> None:
    lines = screen(width, "search", "wing", "-i", str(papers), *more)
    assert too_wide(lines, width) == []
    assert sum(f"[{LONG_ID}]" in line for line in lines) == 1
    words = " ".join(lines).split()
    assert all(word in words for word in LONG_TITLE.split())
    assert JAPANESE in "".join(" ".join(lines).split())


def test_a_hit_at_80_columns(screen: Screen, papers: Path) -> None:
    lines = screen(80, "search", "flutters", "--mode", "lexical", "-i", str(papers))
    score = lines[0].split()[1]
    assert lines == [
        f"1  {score}  On the similarity laws that must be obeyed when constructing",
        "           aeroelastic models of heated high-speed aircraft",
        f"           [{LONG_ID}]",
        "           A wing flutters, 境界層の遷移は翼の揚力と抗力に大きな影響を与えるの",
        "           で、風洞実験と数値計算の両方で詳しく調べられてきた。",
        "",
    ]


@WIDTHS
@pytest.mark.parametrize("command", ["info", "list", "get", "verify"])
def test_what_is_read_of_an_index_is_whole(screen: Screen, papers: Path, command: str, width: int) -> None:
    deep = Path("indexes") / ("a-folder-of-indexes-with-a-long-name-" * 4)
    papers.rename(deep)
    arguments = {"list": ["indexes"], "get": [str(deep), LONG_ID]}.get(command, [str(deep)])
    lines = screen(width, command, *arguments)
    assert too_wide(lines, width) == []
    whole = {"info": [str(deep), URL], "get": [LONG_ID, URL]}.get(command, [str(deep)])
    assert all(any(one in line for line in lines) for one in whole)


@WIDTHS
def test_errors_and_their_hints_are_broken_between_words(screen: Screen, papers: Path, width: int) -> None:
    lines = screen(width, "get", str(papers), f"no {LONG_ID}", code=2)
    assert too_wide(lines, width) == []
    assert any(LONG_ID in line for line in lines)


TABLE = """\
flight: other against b (p after Holm correction)
                        ndcg@10         mrr@10        map@100     recall@100
b                        0.0000         0.0000         0.0000         0.0000
other                    0.8155         0.7500         0.7500         1.0000
difference              +0.8155        +0.7500        +0.7500        +1.0000
95%               +0.631…+1.000  +0.500…+1.000  +0.500…+1.000  +1.000…+1.000"""


@pytest.fixture
def runs(task: Path) -> list[str]:
    """The arguments that compare two runs."""
    Path("other.trec").write_text("q1 Q0 noise 1 2 t\nq2 Q0 layer 1 3 t\nq2 Q0 stall 2 1 t\n", encoding="utf-8")
    Path("b.trec").write_text("q1 Q0 stall 1 1 t\n", encoding="utf-8")
    return ["--run", "other.trec", "--qrels", f"{task}/qrels/test.tsv", "--compare"]


@WIDTHS
def test_a_comparison_is_whole(screen: Screen, runs: list[str], width: int) -> None:
    lines = screen(width, "eval", *runs, "b.trec")
    assert too_wide(lines, width) == []
    assert TABLE in "\n".join(lines)
    assert not re.search(r"…(?![-+\d])", "\n".join(lines))  # nothing is cut; intervals have one
    assert [line for line in lines if "→" in line] == [
        "  0.000 → 1.000  q1  loud propellers",
        "  0.000 → 0.631  q2  the boundary layer heats the wing of an",
    ]


@WIDTHS
def test_names_that_do_not_fit_beside_numbers_are_above_them(screen: Screen, runs: list[str], width: int) -> None:
    name = "checkpoints-of-a-model-with-a-long-name-and-many-more-words-than-it-needs"
    Path("b.trec").rename(f"{name}.trec")
    lines = screen(width, "eval", *runs, f"{name}.trec")
    assert too_wide(lines, width) == []
    assert any(name in line for line in lines)
    assert [line.split()[1:] for line in lines if line.startswith("baseline")] == [["0.0000"] * 4]


def test_only_the_queries_that_differ_most_are_shown(screen: Screen, runs: list[str]) -> None:
    folder = Path("tasks/flight")
    numbers = range(1, 10)
    text = "the boundary layer heats the wing of an aircraft that flies at a high speed " * 2
    rows = [json.dumps({"_id": f"q{n}", "text": text}) + "\n" for n in numbers]
    (folder / "queries.jsonl").write_text("".join(rows), encoding="utf-8")
    judged = "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\tnoise\t1\n" for n in numbers)
    (folder / "qrels/test.tsv").write_text(judged, encoding="utf-8")
    Path("other.trec").write_text("".join(f"q{n} Q0 noise 1 2 t\n" for n in numbers), encoding="utf-8")
    lines = screen(80, "eval", *runs, "b.trec")
    assert "Queries that gained most (3 of 9, ndcg@10)" in lines
    shown = [line for line in lines if "→" in line]
    assert shown == [
        f"  0.000 → 1.000  q{n}  the boundary layer heats the wing of an aircraft that…" for n in (1, 2, 3)
    ]


def test_what_is_piped_is_neither_broken_nor_coloured(debater: Debater, papers: Path) -> None:
    shown = debater("search", "flutters", "--mode", "lexical", "-i", str(papers)).out
    assert "\x1b" not in shown
    assert f"{LONG_TITLE} [{LONG_ID}]\n" in shown


@WIDTHS
def test_what_mining_found_is_whole(screen: Screen, papers: Path, width: int) -> None:
    row = {"query": "why do wings flutter at a high speed " * 6, "positive": "A wing stalls at low speed. " * 9}
    Path("train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    lines = screen(width, "mine", "train.jsonl", "--mode", "lexical", "-i", str(papers))
    assert too_wide(lines, width) == []
    cut = [line.split()[-1].rstrip("…") for line in lines if line.endswith("…")]
    assert cut
    assert set(cut) <= {*row["query"].split(), *row["positive"].split()}


@WIDTHS
def test_a_published_figure_is_whole(screen: Screen, runs: list[str], width: int) -> None:
    Path("tasks/flight").rename("tasks/scifact")
    lines = screen(width, "eval", "tasks/scifact", "--model", "minilm")
    assert too_wide(lines, width) == []
    words = " ".join(lines).split()
    assert {"0.64508", "all-MiniLM-L6-v2", "rounding", "yes"} <= set(words)
