"""The report in a real browser; skipped where there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from debater_search.evaluation import read_results, write_report, write_results
from tests.browser import Browser, browser, needs_browser
from tests.reports.report_data import GOOD, HOSTILE, POOR, add, comparison, save

pytestmark = needs_browser

WEAK = "checkpoints/a-long-name-without-any-blank-in-it/checkpoint-100000"
UNSURE = {"p_randomisation_holm": 0.4}
UNTESTED = {"p_randomisation_holm": None, "p_randomisation": None}
TEXTS = "[...document.querySelectorAll({!r})].map((node) => node.innerText.trim())"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on three tasks; one is better on two of them."""
    folder = tmp_path_factory.mktemp("results")
    more = {"provenance": {"instruction": HOSTILE}, "timings": {"search": 0.5}, "sizes": {"index": 2_000_000}}
    save(folder, {"good model": GOOD, WEAK: POOR}, task="flight", **more)
    save(folder, {"good model": GOOD, WEAK: POOR}, task="heat " + HOSTILE.replace("/", ""))
    save(folder, {"good model": POOR, WEAK: GOOD}, task="a-third")
    add(folder, "comparisons", comparison("good model", WEAK))
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="400"><script>parent.document.title="hit"</script>'
    )
    (folder / "flight/steps.svg").write_text(
        picture + '<image href="http://127.0.0.1:9/x.png"/></svg>', encoding="utf-8"
    )
    add(folder, "analyses", {"task": "flight", "title": HOSTILE, "note": "Up.", "files": {"svg": "flight/steps.svg"}})
    return write_report([folder])


@pytest.mark.parametrize("view", [{}, {"dark": True}, {"width": 360, "height": 740, "phone": True}])
def test_it_draws_everything_without_asking_for_anything(opened: Browser, report: Path, view: dict[str, int]) -> None:
    opened.open(report, **view)  # type: ignore[arg-type]
    opened.run("document.querySelectorAll('details').forEach((node) => (node.open = true))")
    opened.run("new Promise((resolve) => setTimeout(resolve, 50))")
    assert (opened.requests, opened.complaints) == ([], [])
    assert opened.run("document.title") == f"good model and {WEAK} on 3 tasks"  # and not what the hostile texts say
    assert opened.run("document.querySelectorAll('img').length") == 1
    assert opened.run("document.querySelector('figure img').naturalWidth") == 600
    page = "document.documentElement"
    assert opened.run(f"{page}.scrollWidth <= {page}.clientWidth"), "the page scrolls sideways"
    assert HOSTILE in opened.run("document.querySelector('#rows').innerText")
    assert opened.run("document.querySelectorAll('main > section:not([hidden])').length") == 6


def test_it_says_who_is_better_by_how_much_and_how_sure(opened: Browser, report: Path) -> None:
    opened.open(report)
    assert "good model has the highest mean nDCG@10 over 3 tasks" in opened.run("byId('lede').innerText")
    (card,) = opened.run(TEXTS.format(".card"))
    for words in (
        f"good model against {WEAK}",
        "+0.2000",
        "▲ better",
        "+0.100 … +0.300",
        "p (Holm): 0.004 by randomisation, 0.008 by t-test",
        "Better on 2 queries",
    ):
        assert words in card
    assert "p: the chance of a difference at least this large if the two models were equal." in opened.run(
        "byId('verdicts').innerText"
    )


def test_what_is_significant_is_marked_in_the_scores_and_in_the_comparison(opened: Browser, report: Path) -> None:
    opened.open(report)
    marks = [text.split(maxsplit=3) for text in opened.run(TEXTS.format("#table .mark"))]
    assert marks == [["▲", "better", "than", WEAK], ["▼", "worse", "than", "good model"]]
    assert "▼ significantly worse in the comparison of good model with" in opened.run("byId('legend').innerText")
    opened.run("document.querySelector('#comparisons details').open = true")
    marked = opened.run(TEXTS.format("#comparisons td.sure"))
    assert [text.split()[0] for text in marked] == ["▲", "0.001", "0.004", "0.002", "0.008"]


def test_a_phone_shows_a_whole_value_beside_the_task_and_a_part_of_the_next(opened: Browser, report: Path) -> None:
    opened.open(report, width=320, height=700, phone=True)
    edges = opened.run(
        "[byId('table').parentElement, ...document.querySelectorAll('#table tbody tr:first-child td')]"
        ".map((node) => node.getBoundingClientRect()).map((box) => [box.left, box.right])"
    )
    (_, right), (_, first), (second, _) = edges
    assert first + 16 < right, "the first value fades at the edge"
    assert second + 32 < right, "nothing of the second column is seen"


def test_a_system_of_which_only_a_comparison_tells_is_ranked(opened: Browser, tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD, "poor": POOR})
    entry = comparison("good", "earlier")
    entry["metrics"]["ndcg@10"] |= {"baseline": 0.7654, "baseline_interval": [0.7, 0.8]}
    add(tmp_path, "comparisons", entry)
    opened.open(write_report([tmp_path]))
    assert "next is earlier with 0.7654." in opened.run("byId('lede').innerText")
    heads = [text.rstrip("↕") for text in opened.run(TEXTS.format("#table thead th"))]
    assert heads == ["Task", "good", "poor", "earlier"]
    assert opened.run("document.querySelector('#table tbody td:nth-child(4)').innerText").startswith("0.7654")
    assert "0.700 … 0.800" in opened.run("document.querySelector('#table tbody td:nth-child(4)').innerText")
    assert opened.run(TEXTS.format("#left option")) == ["good", "poor"]  # its values per query are not there
    assert "Of earlier this page has only means." in opened.run("byId('count').innerText")
    opened.run("byId('metric').value = 'recall@10', byId('metric').dispatchEvent(new Event('change'))")
    assert "Without this value, and not ranked: earlier." in opened.run("byId('lede').innerText")
    assert opened.complaints == []


def test_where_a_system_loses_leads_to_the_queries_of_its_own_comparison(opened: Browser, tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD, "poor": POOR, "third": GOOD})
    for other in ("third", "poor", "earlier"):  # of "earlier" there are no values per query
        add(tmp_path, "comparisons", comparison("good", other))
    opened.open(write_report([tmp_path]))
    link = "[...document.querySelectorAll('.card')].find((card) => card.innerText.includes('against {}'))"
    link += ".querySelector('a').click()"
    chosen = "[byId('left').value, byId('right').value, byId('order').value]"
    for other in ("poor", "third"):
        opened.run(link.format(other))
        assert opened.run(chosen) == ["good", other, "loss"]
    opened.run(link.format("earlier"))
    assert opened.run(chosen) == ["good", "third", "loss"]  # as it was
    assert opened.run("document.activeElement.innerText").startswith("good against earlier on flight")
    assert opened.run("document.activeElement.parentElement.open")
    opened.run("document.activeElement.parentElement.querySelector('li a').click()")  # one query that was lost
    assert opened.run(chosen) == ["good", "", "low"]
    assert len(opened.run(TEXTS.format("#rows details"))) == 1
    assert opened.complaints == []


def test_it_says_what_is_significant_in_every_metric(opened: Browser, tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD, "poor": POOR})
    entry = comparison("good", "poor")
    found = entry["metrics"]["ndcg@10"]
    unsure = found | {"p_randomisation_holm": 0.4}
    entry["metrics"] = {
        "ndcg@10": unsure,
        "mrr@10": unsure,
        "recall@100": found,
        "map@100": found | {"difference": -0.2},
    }
    add(tmp_path, "comparisons", entry)
    opened.open(write_report([tmp_path]))
    said = (
        "good is significantly better in Recall@100 and significantly worse in MAP@100; no significant difference in "
    )
    said += "nDCG@10 and MRR@10."
    assert opened.run(TEXTS.format("#findings li")) == [f"Against poor, {said}"]
    (card,) = opened.run(TEXTS.format(".card"))
    assert "not significant" in card
    assert opened.run(TEXTS.format("#comparisons summary")) == [f"good against poor on flight\n{said}"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([{}] * 8, "good is significantly better than s0, s1, s2, s3, s4, s5 and 2 more."),
        ([UNSURE] * 5, "good does not differ significantly in 5 comparisons."),
        (
            [{}, {}, {"difference": -0.2}, UNSURE, UNSURE],
            "good is significantly better than s0 and s1 and significantly worse than s2; no significant difference in "
            "2 others.",
        ),
        (
            [{}, UNSURE, UNSURE, UNTESTED],
            "good is significantly better than s0; no significant difference in 2 others; not tested: 1.",
        ),
    ],
)
def test_of_many_comparisons_those_that_are_significant_are_named(
    opened: Browser, tmp_path: Path, changes: list[Any], said: str
) -> None:
    others = [f"s{number}" for number in range(len(changes))]
    save(tmp_path, {"good": GOOD, **dict.fromkeys(others, POOR)})
    for other, changed in zip(others, changes, strict=True):
        entry = comparison("good", other)
        entry["metrics"]["ndcg@10"] |= changed
        add(tmp_path, "comparisons", entry)
    opened.open(write_report([tmp_path]))
    assert opened.run(TEXTS.format("#findings li")) == [f"nDCG@10: {said}"]
    assert all(
        "in nDCG@10" in card or "not tested" in card for card in opened.run(TEXTS.format(".cards:not(details *) .card"))
    )


def test_bars_have_a_scale_and_a_legend(opened: Browser, report: Path) -> None:
    opened.open(report)
    assert opened.run(TEXTS.format(".card .scale i")) == ["−0.300", "0", "+0.300"]
    assert opened.run(TEXTS.format(".key"))[:2] == ["difference", "95% interval, on one scale in all cards"]
    flight = opened.run("document.querySelector('#table tbody th').innerText").splitlines()
    assert flight[2].startswith("scale 0.")
    assert "on the scale named below the task" in opened.run("byId('legend').innerText")


def test_columns_of_queries_are_named_after_their_models(opened: Browser, report: Path) -> None:
    opened.open(report)
    assert opened.run(TEXTS.format(".query-head .value")) == ["good model", WEAK, "Difference"]


def test_cards_and_scores_take_the_whole_row(opened: Browser, report: Path) -> None:
    opened.open(report)
    box = "document.querySelector({!r}).getBoundingClientRect().width"
    row = opened.run(box.format("#verdicts"))
    assert [opened.run(box.format(name)) for name in (".card", "#scores .scroll")] == [row, row]


def test_choices_are_not_cut_on_the_narrowest_phones(opened: Browser, report: Path) -> None:
    opened.open(report, width=320, height=740, phone=True)
    assert opened.run("byId('order').offsetWidth > 250")


def test_a_table_that_scrolls_says_so_until_its_end(opened: Browser, tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD, "poor": POOR, "as poor": POOR})
    report = write_report([tmp_path])
    cue = "getComputedStyle(document.querySelector('#scores .cue')).display != 'none'"
    pause = "new Promise((resolve) => setTimeout(resolve, 100))"
    opened.open(report)
    opened.run(pause)
    assert not opened.run(cue)
    opened.open(report, width=320, height=700, phone=True)
    opened.run(pause)
    assert opened.run(cue)
    opened.run("document.querySelector('#scores .scroll').scrollLeft = 10000")
    opened.run(pause)
    assert not opened.run(cue)


@pytest.mark.parametrize("view", [{"width": 1280, "height": 800}, {"width": 320, "height": 700, "phone": True}])
def test_the_table_of_thinking_steps_scrolls_and_not_the_page(
    opened: Browser, tmp_path: Path, view: dict[str, int]
) -> None:
    save(tmp_path, {"good": GOOD})
    saved = read_results(tmp_path)
    saved["results"][0]["steps"] = [saved["results"][0]["metrics"]] * 3
    write_results(tmp_path, saved)
    opened.open(write_report([tmp_path]), **view)  # type: ignore[arg-type]
    assert opened.run("document.querySelectorAll('figure tbody tr').length") == 3
    page = "document.documentElement"
    assert opened.run(f"{page}.scrollWidth <= {page}.clientWidth"), "the page scrolls sideways"
    box = "document.querySelector('figure .scroll')"
    assert opened.run(f"{box}.scrollWidth > {box}.clientWidth")


def test_headers_sort_by_keyboard_and_say_so(opened: Browser, report: Path) -> None:
    opened.open(report)
    rows = TEXTS.format("#table tbody th")
    opened.run("document.querySelector('#table thead th:nth-child(3) button').focus()")
    opened.press("Enter", 13, "\r")
    assert (
        opened.run("document.querySelector('#table thead th:nth-child(3)').getAttribute('aria-sort')") == "descending"
    )
    assert opened.run(rows)[0].startswith("a-third")
    opened.press("Enter", 13, "\r")  # the button kept the focus
    assert opened.run("document.querySelector('#table thead th:nth-child(3)').getAttribute('aria-sort')") == "ascending"
    assert opened.run(rows)[-1].startswith("a-third")


def test_the_metric_changes_scores_and_queries(opened: Browser, report: Path) -> None:
    opened.open(report)
    opened.run("byId('metric').value = 'recall@10', byId('metric').dispatchEvent(new Event('change'))")
    assert "Recall@10" in opened.run("byId('lede').innerText")
    assert "by Recall@10" in opened.run("byId('count').innerText")
    assert opened.run(TEXTS.format(".card")) == []  # it was not compared


def test_queries_are_filtered_ordered_and_opened(opened: Browser, report: Path) -> None:
    opened.open(report)
    texts = TEXTS.format("#rows .text")
    assert opened.run(texts)[0].startswith("heat of")  # lost most
    opened.run("byId('order').value = 'gain', byId('order').dispatchEvent(new Event('change', {bubbles: true}))")
    assert opened.run(texts)[-1].startswith("heat of")
    opened.run("byId('filter').value = 'FLUTTER', byId('filter').dispatchEvent(new Event('input', {bubbles: true}))")
    assert opened.run(texts) == ["wings that flutter"]
    opened.run("document.querySelector('#rows summary').focus()")
    opened.press("Enter", 13, "\r")
    opened.run("new Promise((resolve) => setTimeout(resolve, 50))")
    good, poor = opened.run(TEXTS.format("#rows .sides > div"))
    assert "relevant, 2" in good
    assert "Title A" in good
    assert f"{WEAK}: rank 2" in good
    assert "Relevant, but not in its top ten" not in good
    assert "not judged" in poor
    assert "Title A" in poor.partition("Relevant, but not in its top ten")[2]


def test_a_query_that_was_lost_is_one_click_away(opened: Browser, report: Path) -> None:
    opened.open(report)
    opened.run("document.querySelector('#comparisons ol a').click()")
    assert opened.run("byId('filter').value") == "id:q3"
    assert opened.run("document.querySelector('#rows details').open")


def test_colours_follow_the_system_and_the_button(opened: Browser, report: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    opened.open(report)
    light = opened.run(colour)
    opened.run("byId('theme').click()")
    dark = opened.run(colour)
    assert light != dark
    opened.open(report, dark=True)
    assert opened.run(colour) == dark
