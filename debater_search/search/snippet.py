"""The sentence of a text that answers a query best, by the words they share."""

import re
from bisect import bisect_left
from itertools import chain

from debater_search.search.marks import QueryMarks
from debater_search.sentences import SENTENCE_END
from debater_search.store.words import words_and_runs

MAX_SNIPPET = 300  # characters
MAX_READ = 100_000  # characters of a text that are looked at: a snippet must not take longer than the search


_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(?=[^\W\d][\w .-]*:)(?:.*?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}[ \t].*$", re.MULTILINE)


def without_heading(text: str, title: str) -> str:
    """A text of Markdown without front matter, which stays in it if it is broken, nor a heading that repeats the title.

    The title stands above it already.
    """
    if found := _FRONT_MATTER.match(text, endpos=MAX_READ):
        text = text[found.end() :]
    heading, _, rest = text.lstrip().partition("\n")
    repeats = title and heading.startswith("#") and heading.strip("# \t\r") == title.strip()
    return rest if repeats else text


def best_snippet(marks: QueryMarks, text: str) -> str:
    """The sentence with most of the query's terms, the first of equals, cut to a window where it is long.

    A heading of Markdown stands for the sentence below it, and is shown only in a text of headings.
    """
    sentences = [s for s in SENTENCE_END.split(text[:MAX_READ]) if _has_words(s)]
    if not sentences:
        return ""
    best = sentences.index(max(sentences, key=marks.different))
    prose = (_HEADING.sub("", sentence) for sentence in chain(sentences[best:], sentences[:best]))
    return _window(" ".join(next(filter(_has_words, prose), sentences[best]).split()), marks)


def _has_words(text: str) -> bool:
    return next(words_and_runs(text), None) is not None


def _window(sentence: str, marks: QueryMarks) -> str:
    """At most MAX_SNIPPET characters of a sentence, from a little before where the query's words lie densest."""
    if len(sentence) <= MAX_SNIPPET:
        return sentence
    matches = [start for start, _ in marks.spans(sentence)] or [0]
    room = MAX_SNIPPET * 3 // 4
    densest = max(range(len(matches)), key=lambda i: bisect_left(matches, matches[i] + room) - i)
    start = max(0, min(matches[densest] - MAX_SNIPPET // 8, len(sentence) - MAX_SNIPPET))
    piece = sentence[start : start + MAX_SNIPPET]
    if start > 0:
        piece = "… " + piece.partition(" ")[2] if " " in piece[: MAX_SNIPPET // 8] else "…" + piece
    if start + MAX_SNIPPET < len(sentence):
        piece = piece.rpartition(" ")[0] + " …" if " " in piece[-MAX_SNIPPET // 8 :] else piece + "…"
    return piece
