"""The page in a real browser; skipped where there is none."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from debater_search.indexing import build
from debater_search.serving.keys import add_key, revoke_key
from debater_search.types import Document
from tests.browser import Browser, browser, needs_browser
from tests.fakes import FakeEncoder, tiny_corpus
from tests.serving.served import served

pytestmark = needs_browser

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>'`]</title>&amp; 𝔘𝔫𝔦 wing"
TITLES = "[...document.querySelectorAll('.hit .title')].map((node) => node.textContent)"
FOCUSED = "document.activeElement"
COUNTS = "[...document.querySelectorAll('.boxes label')].map((node) => node.textContent).join(' ')"
DIMMED = "[...document.querySelectorAll('.boxes .none .value')].map((node) => node.textContent).join(' ')"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two indexes: one of plain papers, one with markup wherever text can be."""
    folder = tmp_path_factory.mktemp("served")
    papers = [
        Document(
            d.id,
            d.text,
            d.title,
            {"year": 1950 + n, "venue": "ABC"[n % 3], "free": n % 2 == 0, "author": f"author {n % 20}"},
        )
        for n, d in enumerate(tiny_corpus(30))
    ]
    build(papers, FakeEncoder(), folder / "papers", all_steps=True)
    hostile = [
        Document(
            f"{n} {HOSTILE}",
            f"{HOSTILE} {n}",
            HOSTILE,
            {HOSTILE: f"{HOSTILE}!", "<i>key</i>": [f"{HOSTILE}!"], "__proto__": "x", "n": n},
        )
        for n in range(3)
    ]
    build(hostile, FakeEncoder(), folder / "<b>&amp;'`")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served([folder / "papers", folder / "<b>&amp;'`"], judgements=folder / "judgements.jsonl") as address:
        yield address


def link(address: str, **state: str) -> str:
    return f"{address}#{urlencode(state)}"


def wait(page: Browser, condition: str) -> None:
    end = time.monotonic() + 60
    while not page.run(f"Boolean({condition})"):
        assert time.monotonic() < end, f"never: {condition}; {page.run('document.body.innerText')}"
        time.sleep(0.02)


def show(page: Browser, url: str, until: str = "document.querySelector('.hit')", **view: Any) -> None:
    page.open(url, **view)
    wait(page, until)


def write(page: Browser, selector: str, text: str) -> None:
    page.run(f"document.querySelector({selector!r}).select()")
    page.send("Input.insertText", text=text)


def test_hits_come_as_the_user_types_and_the_last_answer_wins(opened: Browser, address: str) -> None:
    show(opened, address, "document.querySelector('#welcome h1')")
    opened.run(f"{FOCUSED}.blur()")
    opened.press("/", 191, "/")
    assert opened.run(f"{FOCUSED}.id + {FOCUSED}.value") == "query"
    for letter in "unique7":
        opened.send("Input.insertText", text=letter)
    opened.run("document.querySelector('[value=lexical]').click()")
    wait(opened, f"{TITLES}.length === 1")
    assert opened.run(TITLES) == ["Title 7"]
    assert opened.run("document.querySelector('.snippet mark').textContent") == "unique7"
    assert opened.run("document.querySelector('#count').textContent").startswith("1 result · ")
    assert len([url for url in opened.requests if url.endswith("/search")]) <= 3  # not one a letter
    assert opened.complaints == []


def test_a_late_answer_does_not_replace_the_last_one(opened: Browser, address: str) -> None:
    show(opened, link(address, q="unique1"))
    opened.run("""
        late = 0;
        const real = window.fetch;
        window.fetch = async (url, options) => {
            const answer = await real(url, { ...options, signal: undefined });
            if (!options.body?.includes("unique2")) return answer;
            await new Promise((resolve) => setTimeout(resolve, 600));
            late += 1;
            return answer;
        };
    """)
    sent = len(opened.requests)
    write(opened, "#query", "unique2")
    while len(opened.requests) == sent:
        opened.run("0")
    write(opened, "#query", "unique7")
    wait(opened, f"{TITLES}[0] === 'Title 7'")
    wait(opened, "late")
    opened.run("new Promise((resolve) => setTimeout(resolve, 50))")
    assert opened.run(TITLES)[0] == "Title 7"


def test_a_link_shares_what_is_seen(opened: Browser, address: str) -> None:
    show(opened, link(address, index="papers", q="wing", mode="dense", where="year >= 1975", explain="1"))
    assert opened.run("document.querySelector('[value=dense]').checked")
    assert opened.run("document.querySelector('#where').value") == "year >= 1975"
    assert opened.run("document.querySelector('[aria-label=\"year, from, typed\"]').value") == "1975"
    assert opened.run(f"{TITLES}.length") == 5
    assert "rank 1" in opened.run("document.querySelector('.why').textContent")
    assert opened.run("document.querySelectorAll('.hit:first-child .sparkline circle').length") == 1
    figures = opened.run("document.querySelector('.steps .figures').textContent").split()
    assert len(figures) == 3  # one a step
    assert not [url for url in opened.requests if "wing" in url]  # it is in no request line
    assert opened.complaints == []


def test_controls_write_the_filter_and_the_filter_moves_them(opened: Browser, address: str) -> None:
    show(opened, link(address, q="wing"))
    box = "[...document.querySelectorAll('.boxes label')].find((node) => node.textContent.startsWith('B'))"
    assert opened.run(f"{box}.textContent") == "B10"
    opened.run(f"{box}.querySelector('input').click()")
    slider = "document.querySelector('[aria-label=\"year, from\"]')"
    opened.run(f"{slider}.value = 1960, {slider}.dispatchEvent(new Event('input'))")
    where = "document.querySelector('#where').value"
    assert opened.run(where) == "venue = 'B' and year >= 1960"
    write(opened, "[aria-label=author]", "author 1")
    opened.press("Enter", 13, "\r")
    assert opened.run(where).endswith("author = 'author 1'")
    opened.run("document.querySelector('[aria-label=\"Remove author 1\"]').click()")
    wait(opened, f"{TITLES}.length === 7")
    write(opened, "#where", "(venue = 'A' or venue = 'B') and year between 1951 and 1953")
    wait(opened, f"{TITLES}.length === 2")
    assert opened.run(f"{slider}.value") == "1951"
    assert not opened.run(f"{box}.querySelector('input').checked")
    opened.run(f"{box}.querySelector('input').click()")
    assert opened.run(where) == "(venue = 'A' or venue = 'B') and year between 1951 and 1953 and venue = 'B'"
    opened.run("document.querySelector('#clear').click()")
    wait(opened, f"{TITLES}.length === 10")
    assert opened.run(where) == ""


def test_counts_are_of_the_documents_that_answer(opened: Browser, address: str) -> None:
    show(opened, address, "document.querySelector('.boxes label')")
    whole = "false15 true15 A10 B10 C10"
    assert opened.run(COUNTS) == whole
    show(opened, link(address, q="unique7", mode="lexical"))
    wait(opened, f"{COUNTS} === 'false1 true0 A0 B1 C0'")
    assert opened.run(DIMMED) == "true A C"
    write(opened, "#query", "wing")
    wait(opened, f"{COUNTS} === {whole!r}")
    assert opened.run(DIMMED) == ""
    write(opened, "#where", "year between 1950 and 1952")
    wait(opened, f"{COUNTS} === 'false1 true2 A1 B1 C1'")
    write(opened, "#where", "yeer > 3")
    wait(opened, f"{COUNTS} === {whole!r}")  # and not those of the filter before
    write(opened, "#where", "year between 1950 and 1952")
    wait(opened, f"{COUNTS} === 'false1 true2 A1 B1 C1'")
    opened.run("document.querySelector('#query').focus()")
    opened.press("Escape", 27)
    wait(opened, f"{COUNTS} === {whole!r}")
    assert opened.complaints[1:] == []  # the first one is the answer to the wrong filter


def test_a_ticked_value_narrows_the_counts_of_other_fields_and_not_of_its_own(opened: Browser, address: str) -> None:
    tick = "[...document.querySelectorAll('.boxes label')].find((node) => node.textContent.startsWith('%s')).click()"
    show(opened, link(address, q="unique7", mode="lexical"))
    wait(opened, f"{COUNTS} === 'false1 true0 A0 B1 C0'")
    opened.run(tick % "A")
    wait(opened, f"{COUNTS} === 'false0 true0 A0 B1 C0' && !{TITLES}.length")
    opened.run(tick % "B")  # a choice can be widened
    wait(opened, f"{COUNTS} === 'false1 true0 A0 B1 C0' && {TITLES}.length === 1")
    opened.run(tick % "true")
    wait(opened, f"{COUNTS} === 'false1 true0 A0 B0 C0'")
    assert opened.complaints == []


def test_a_filter_without_a_question_lists_documents(opened: Browser, address: str) -> None:
    show(opened, link(address, index="papers", where="year >= 1955"))
    assert opened.run("document.querySelector('#count').textContent") == "25 documents, the first 10 shown"
    assert opened.run(TITLES)[0] == "Title 5"
    assert opened.run("document.querySelector('.score')") is None
    for _ in range(2):
        opened.run("document.querySelector('#more').click()")
        wait(opened, "!document.querySelector('#more').disabled")
    assert len(opened.run(TITLES)) == 25
    assert opened.run("document.querySelector('#more').hidden")
    opened.run("document.querySelector('#clear').click()")
    wait(opened, "document.querySelector('#welcome h1')")


def test_the_address_names_the_index_where_there_are_several(opened: Browser, address: str, folder: Path) -> None:
    show(opened, link(address, q="wing"))
    assert opened.run("location.hash") == "#index=papers&q=wing"
    with served([folder / "papers"]) as alone:
        show(opened, link(alone, q="wing"))
        assert opened.run("location.hash") == "#q=wing"


def test_hits_show_what_is_not_beside_it_and_times_to_the_minute(opened: Browser, tmp_path: Path) -> None:
    facts = {
        "path": "cake.md",
        "name": "Cake",
        "modified": "2026-01-31T12:05:09+00:00",
        "baked": "2026-01-30T08:00+02:00",
        "day": "2026-01-30",
        "tags": ["sweet", "old"],
    }
    build([Document("cake.md", "Apples.", "Cake", facts)], FakeEncoder(), tmp_path / "notes")
    with served([tmp_path / "notes"]) as address:
        show(opened, link(address, q="apples"))
        fields = "[...document.querySelectorAll('%s .metadata > div')].map((node) => node.textContent)"
        assert opened.run(fields % ".hit") == [
            "baked2026-01-30 08:00 +02:00",
            "day2026-01-30",
            "modified2026-01-31 12:05",
            "tagssweet, old",
        ]
        opened.run("document.querySelector('.hit .title').click()")
        wait(opened, "document.querySelector('#document').open")
        assert set(opened.run(fields % "dialog")) >= {"pathcake.md", "modified2026-01-31T12:05:09+00:00"}


def test_a_query_that_is_an_id_links_to_its_document(opened: Browser, address: str) -> None:
    show(opened, link(address, q="d7", mode="lexical"), "document.querySelector('#notes a')")
    notes = opened.run("document.querySelector('#notes').textContent")
    assert "No document matches." in notes
    assert "The query is the id of a document: 'd7'." in notes
    opened.run("document.querySelector('#notes a').click()")
    wait(opened, "document.querySelector('#document').open")
    assert opened.run("document.querySelector('#document-title').textContent") == "Title 7"


def test_keys_walk_open_close_and_clear(opened: Browser, address: str) -> None:
    show(opened, link(address, q="unique3 wing"))
    opened.run("document.querySelector('#query').focus()")
    for key, code in (("ArrowDown", 40), ("ArrowDown", 40), ("ArrowUp", 38)):
        opened.press(key, code)
    assert opened.run(f"{FOCUSED}.textContent") == "Title 3"
    opened.press("Enter", 13, "\r")
    wait(opened, "document.querySelector('#document').open")
    assert "unique3" in opened.run("document.querySelector('#document .text').textContent")
    assert "doc=d3" in opened.run("location.hash")
    opened.press("Escape", 27)
    wait(opened, "!document.querySelector('#document').open && !location.hash.includes('doc=')")
    assert opened.run(f"{FOCUSED}.textContent") == "Title 3"  # focus is where it was
    opened.press("Escape", 27)
    wait(opened, "!document.querySelector('#welcome').hidden")
    assert opened.run(f"{FOCUSED}.id + {FOCUSED}.value + {TITLES}.length") == "query0"
    assert opened.complaints == []


def test_more_hits_and_documents_like_one(opened: Browser, address: str) -> None:
    show(opened, link(address, q="wing"))
    opened.run("document.querySelector('#more').click()")
    wait(opened, f"{TITLES}.length === 20")
    assert opened.run(f"new Set({TITLES}).size") == 20
    assert opened.run(f"{FOCUSED}.textContent === {TITLES}[10]")
    assert "shown=20" in opened.run("location.hash")
    opened.run("document.querySelector('.hit .actions button').click()")
    wait(opened, "!document.querySelector('#like').hidden && document.querySelector('.hit')")
    assert "like=d" in opened.run("location.hash")
    opened.run("history.back()")
    wait(opened, f"document.querySelector('#query').value === 'wing' && {TITLES}.length === 20")


def test_judgements_are_given_and_taken_back(opened: Browser, address: str, folder: Path) -> None:
    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "judgements.jsonl").read_text().splitlines()]

    show(opened, link(address, q="unique4"))
    yes = "document.querySelector('.hit .verdict.yes')"
    opened.run(f"{yes}.focus(), {yes}.click()")
    wait(opened, f"{yes}.getAttribute('aria-pressed') === 'true'")
    assert opened.run(f"{FOCUSED} === {yes}")
    saved = lines()[-1]
    assert (saved["index"], saved["query"], saved["id"], saved["relevant"]) == ("papers", "unique4", "d4", True)
    show(opened, link(address, q="unique4"))
    assert opened.run(f"{yes}.getAttribute('aria-pressed')") == "true"
    opened.run(f"{yes}.click()")
    wait(opened, f"{yes}.getAttribute('aria-pressed') === 'false'")
    assert lines()[-1]["relevant"] is None


@pytest.mark.parametrize("view", [{}, {"dark": True}, {"width": 320, "height": 640, "phone": True}])
def test_markup_in_any_field_is_text_and_nothing_is_wider_than_the_window(
    opened: Browser, address: str, view: dict[str, Any]
) -> None:
    show(opened, link(address, index="<b>&amp;'`", q="wing " + HOSTILE, explain="1"), **view)
    opened.run("document.querySelectorAll('details').forEach((node) => (node.open = true))")
    assert opened.run(TITLES) == [HOSTILE] * 3
    assert HOSTILE[:50] in opened.run("document.querySelector('.metadata').textContent")
    assert "<i>key</i>" in opened.run("document.querySelector('#controls').textContent")
    assert HOSTILE in opened.run("document.querySelector('#controls').textContent")
    wait(opened, f"{COUNTS} === {json.dumps(HOSTILE + '!3 x3')}")
    assert opened.run("[...document.querySelectorAll('#index option')].map((node) => node.value)")[1] == "<b>&amp;'`"
    assert opened.run("document.querySelector('.title mark:last-child').textContent") == "wing"  # offsets: characters
    page = "document.documentElement"
    assert opened.run(f"{page}.scrollWidth <= {page}.clientWidth"), "the page scrolls sideways"
    opened.run("document.querySelector('.hit .title').click()")
    wait(opened, "document.querySelector('#document').open")
    assert opened.run("document.querySelector('#document-title').textContent") == HOSTILE
    assert HOSTILE in opened.run("document.querySelector('dialog .metadata').textContent")
    assert opened.run("document.querySelectorAll('img, main script, dialog script').length") == 0
    assert "hit" not in opened.run("document.title").split()
    assert opened.complaints == []


def test_a_narrow_document_repeats_no_title_and_breaks_no_short_label(opened: Browser, tmp_path: Path) -> None:
    facts = {"modified": "2026-01-31T12:00:00+00:00", "path": "notes/" + "cake-" * 12}
    texts = {"a": "# Cake\n\nApples.", "b": "# Apples\n\nCake."}
    build([Document(id, text, "Cake", facts) for id, text in texts.items()], FakeEncoder(), tmp_path / "notes")
    with served([tmp_path / "notes"]) as address:
        for id, shown in (("a", "Apples."), ("b", texts["b"])):
            show(
                opened,
                link(address, q="cake", doc=id),
                "document.querySelector('#document').open",
                width=320,
                height=640,
            )
            assert opened.run("document.querySelector('#document .text').textContent") == shown
        lines = "(node, all = new Range()) => (all.selectNodeContents(node), all.getClientRects().length)"
        assert opened.run(f"[...document.querySelectorAll('dialog dt')].map((node) => ({lines})(node))") == [1, 1]
        assert opened.run(
            "document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth"
        )


def test_colours_follow_the_system_and_the_button(opened: Browser, address: str) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    show(opened, address, "document.querySelector('#welcome h1')")
    light = opened.run(colour)
    opened.run("document.querySelector('#theme').click()")
    dark = opened.run(colour)
    assert light != dark
    show(opened, address, "document.querySelector('#welcome h1')", dark=True)
    assert opened.run(colour) == dark


def test_errors_and_empty_answers_are_sentences(opened: Browser, address: str) -> None:
    show(opened, link(address, q="wing", where="yeer > 3"), "!document.querySelector('#where-error').hidden")
    assert "No document has a field 'yeer'" in opened.run("document.querySelector('#where-error').textContent")
    write(opened, "#where", "year > 3000")
    wait(opened, "document.querySelector('#notes .notice')")
    assert "No document matches." in opened.run("document.querySelector('#notes').textContent")
    assert opened.run("document.querySelector('#where-error').hidden")
    show(opened, link(address, index="gone", q="wing"), "document.querySelector('#gone .notice')")
    wait(opened, "document.querySelector('.hit')")
    assert "There is no index gone. This is papers." in opened.run("document.querySelector('#gone').textContent")


def test_an_index_that_is_built_anew_without_a_field_is_searched_on(opened: Browser, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    build([Document(d.id, d.text, d.title, {"venue": d.id[-1]}) for d in tiny_corpus(9)], FakeEncoder(), papers)
    with served([papers]) as address:
        show(opened, link(address, q="unique3", explain="1"))
        assert opened.run("document.querySelectorAll('.boxes').length") == 1
        build([Document(d.id, d.text, d.title, {"free": True}) for d in tiny_corpus(9)], None, papers, force=True)
        wait(opened, "fetch('v1/indexes/papers').then((r) => r.json()).then((facts) => facts.model === null)")
        write(opened, "#query", "unique4")
        wait(opened, f"{TITLES}[0] === 'Title 4'")
        assert opened.run("document.querySelector('#modes').hidden")
        wait(opened, f"{COUNTS} === 'true1'")
        assert opened.run("document.querySelector('#message').textContent") == ""
        write(opened, "#where", "venue = '4'")
        wait(opened, "!document.querySelector('#where-error').hidden")  # asked once more, it is no other index
        assert "No document has a field 'venue'" in opened.run("document.querySelector('#where-error').textContent")


def test_it_waits_for_a_busy_server_and_says_when_there_is_none(opened: Browser, folder: Path) -> None:
    with served([folder / "papers"], rate=0.5) as address:
        opened.open(link(address, q="unique7"))  # three requests, of which one is free
        wait(opened, "document.querySelector('#message').textContent.includes('Trying again in 2 seconds.')")
        wait(opened, "document.querySelector('.hit')")
        assert opened.run("document.querySelector('#message').textContent") == ""
    write(opened, "#query", "unique8")
    wait(opened, "document.querySelector('#message button')")
    assert "The server does not answer." in opened.run("document.querySelector('#message').textContent")
    assert opened.run(TITLES) == []  # and not those of another query


def test_a_key_is_asked_for_once(opened: Browser, folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    token = add_key(keys, "page")

    def give(key: str) -> None:
        wait(opened, "document.querySelector('#key').open")
        write(opened, "#key-value", key)
        opened.press("Enter", 13, "\r")

    with served([folder / "papers"], keys=keys, judgements=tmp_path / "judgements.jsonl") as address:
        url = link(address, q="wing")
        opened.open(url)
        give("wrong")
        wait(opened, "!document.querySelector('#key-error').hidden")
        give(token)
        wait(opened, "document.querySelector('.hit')")
        assert opened.run("document.querySelectorAll('.verdict').length") == 0  # the key may not judge
        show(opened, url)  # it is not asked for again
        assert token not in opened.run("location.href")
        revoke_key(keys, "page")
        write(opened, "#query", "wings")
        wait(opened, "document.querySelector('#key').open")
        opened.press("Escape", 27)
        wait(opened, "document.querySelector('#message .notice')")
        assert "The key is unknown, revoked or expired." in opened.run("document.querySelector('#message').textContent")
