"""What notebooks show of results: well-formed, escaped, in colours of the notebook's own."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from debater_search.evaluation.comparison import Comparisons
from debater_search.evaluation.results import Result
from debater_search.identity import EncoderInfo
from debater_search.indexing import Change
from debater_search.indexing.building import BuildResult
from debater_search.indexing.compaction import Compaction
from debater_search.types import Answer, Facet, Facets, Hit, Hits

HOSTILE = '<script>alert(\'x\')</script>" onmouseover="x" &amp; \u202e\x1b[31m\n</td>'
VALUES = {
    "baseline": 0.4, "system": 0.5, "difference": 0.1, "interval": [0.05, 0.15], "p_randomisation_holm": 0.01,
    "wins": 2, "ties": 1, "losses": 0,
}  # fmt: skip


MODEL = EncoderInfo(name="small", fingerprint="f", dim=4, thinking_steps=1, recipe={"model": "m"})


class Page(HTMLParser):
    """The elements, attributes and texts of a piece of HTML; every element must end as it began."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: dict[str, str] = {}
        self.text, self._open = "", list[str]()
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name: value or "" for name, value in attrs}
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def result() -> Result:
    return Result(
        HOSTILE, HOSTILE, {"ndcg@10": 0.5, "map": 0.25}, {"ndcg@10": (0.4, 0.6), "map": (0.2, 0.3)}, {},
        {"q1": {"ndcg@10": 0.5}}, counts={"queries_without_hits": 3, "documents_missing": 0},
        steps=[{"ndcg@10": 0.3}, {"ndcg@10": 0.5}],
    )  # fmt: skip


def hits() -> Hits:
    hostile = Hit(1, HOSTILE, 0.75, HOSTILE, "text", HOSTILE, {HOSTILE: HOSTILE})
    return Hits([hostile, Hit(2, "b", 0.5, snippet="A\ud800.")])


@pytest.mark.parametrize(
    "shown",
    [
        hits(),
        hits()[0],
        Hits(),
        Answer(hits(), {"encode": 0.01}, 3, (HOSTILE,)),
        Answer(Hits(), {}, 0),
        result(),
        Comparisons([{"task": HOSTILE, "baseline": HOSTILE, "system": HOSTILE, "metrics": {HOSTILE: VALUES}}]),
        Comparisons(),
        Facets(3, {HOSTILE: Facet(3, [(HOSTILE, 2), (True, 1)])}),
        Facets(3, {}),
        BuildResult(Path(HOSTILE), 2, MODEL, warnings=[HOSTILE]),
        Change(Path(HOSTILE), unknown=[HOSTILE]),
        Compaction(Path(HOSTILE), 1, 2, 3, 4, False),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_text_is_text_and_no_markup(shown: Hits) -> None:
    html = shown._repr_html_()
    html.encode("utf-8")
    assert "\u202e" not in html
    page = Page(html)
    assert page.elements <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.attributes.keys() <= {"style", "dir"}


@pytest.mark.parametrize("shown", [hits(), result(), Comparisons([{"task": "t", "baseline": "a", "system": "b",
                                                                    "metrics": {"map": VALUES}}])])  # fmt: skip
def test_colours_are_the_themes_own(shown: Hits) -> None:
    styles = " ".join(re.findall(r'style="([^"]*)"', shown._repr_html_()))
    assert re.findall(r"(?:^|[; ])(?:color|background):([^;\"]*)", styles)
    assert set(re.findall(r"(?:^|[; ])(?:color|background):([^;\" ]*)", styles)) <= {"inherit", "transparent"}
    assert not re.search(r"#[0-9a-f]{3}", styles)


def test_hits_show_what_people_look_for() -> None:
    found = Hits([Hit(1, "d1", 0.75, "Wings", "text", "A wing lifts.", {"year": 1955})])
    text = Page(Answer(found, {"encode": 0.0123}, 3, ("A note.",))._repr_html_()).text
    for part in ("1", "d1", "0.7500", "Wings", "A wing lifts.", "year: 1955", "A note. · encode 12 ms · generation 3"):
        assert part in text


def test_no_hits_are_said_without_a_table() -> None:
    assert Hits()._repr_html_() == "<p>No hits.</p>"
    assert Page(Answer(Hits(), {}, 3, ("A note.",))._repr_html_()).text == "No hits. A note. · generation 3\n"


def test_a_build_and_a_change_are_one_line() -> None:
    built = BuildResult(Path("indexes/z"), 1200, MODEL, seconds={"read": 0.25}, warnings=["A warning."])
    assert repr(built) == "BuildResult('indexes/z', 1,200 documents, small, embeddings only)"
    text = Page(built._repr_html_()).text
    for part in ("indexes/z", "1,200", "small", "embeddings only", "A warning. · read 0.2 s"):
        assert part in text
    assert repr(BuildResult(Path("z"), 2, None)) == "BuildResult('z', 2 documents, no model, lexical only)"
    change = Change(Path("z"), 3, 4, added=1, encoded=1, unknown=["x"])
    assert repr(change) == "Change('z', 4 documents: 1 added, 1 encoded, 1 unknown, generation 3)"
    assert repr(Change(Path("z"), 3, 4)) == "Change('z', 4 documents: nothing changed, generation 3)"
    assert "Unknown ids: x" in Page(change._repr_html_()).text
    assert repr(Compaction(Path("z"), 2, 5, 1, 3, False)) == (
        "Compaction('z', 5 documents: 1 folded in, 3 dropped, generation 2)"
    )


def test_facets_show_their_most_frequent_values() -> None:
    years = Facet(50, [(year, 2) for year in range(1950, 1975)])
    assert repr(Facets(50, {"venue": Facet(7, [("ACL", 4), ("SIGIR", 3)])})) == "venue: ACL (4), SIGIR (3)"
    assert repr(Facets(50, {"year": years})).endswith("1959 (2), 15 more")
    assert repr(Facets(50, {"year": Facet(50, [], [(1950, 1955, 9), (1955, 1960, 41)])})) == (
        "year: 1950 … below 1955 (9), 1955 … below 1960 (41)"
    )
    assert "15 more" in Page(Facets(50, {"year": years})._repr_html_()).text


def test_a_long_text_is_cut() -> None:
    shown = Hits([Hit(1, "a", 1.0, "word " * 10_000, snippet="x" * 10_000, metadata={"list": list(range(10_000))})])
    assert len(shown._repr_html_()) < 4000
    assert len(repr(shown)) < 200


def test_a_line_of_a_terminal_cannot_command_it() -> None:
    for shown in (hits(), hits()[0], result(), Answer(hits(), {}, 0, (HOSTILE,))):
        lines = repr(shown)
        assert "\x1b" not in lines
        assert "\u202e" not in lines
    assert len(repr(hits()).splitlines()) == 2


def test_a_result_shows_every_metric_with_its_interval_and_what_is_missing() -> None:
    text = Page(result()._repr_html_()).text
    for part in ("ndcg@10", "0.5000", "0.400 … 0.600", "map", "1 query; 3 queries without hits", "0.3000, 0.5000"):
        assert part in text
    assert "documents missing" not in text
    assert "ndcg@10 0.5000" in repr(result())


def test_a_comparison_shows_the_difference_and_its_significance() -> None:
    entry = {"task": "cranfield", "baseline": "bm25", "system": "small", "metrics": {"ndcg@10": VALUES}}
    text = Page(Comparisons([entry])._repr_html_()).text
    for part in ("cranfield: small against bm25", "+0.1000", "+0.050 … +0.150", "0.0100", "2 / 1 / 0"):
        assert part in text
    assert repr(Comparisons([entry])) == ("cranfield: small − bm25: ndcg@10 +0.1000 (p 0.0100 after Holm correction)")
    assert repr(Comparisons()) == "No comparisons."
