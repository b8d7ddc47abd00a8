"""The sentence of a text that answers a query best, by the words they share."""

import re
from bisect import bisect_left
from functools import lru_cache

from debater_search.sentences import SENTENCE_END
from debater_search.store.lexical import query_words

MAX_SNIPPET = 300  # characters
MAX_READ = 100_000  # characters of a text that are looked at: a snippet must not take longer than the search

_WORD = re.compile(r"[^\W_]+")
_SUFFIXES = ("ations", "ation", "ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "s", "e", "y")


def best_snippet(query: str, text: str) -> str:
    """The sentence with most of the query's words, the first of equals, cut to a window where it is long."""
    stems = {stem(word) for word in query_words(query)}
    sentences = [sentence for sentence in SENTENCE_END.split(text[:MAX_READ]) if _WORD.search(sentence)]
    if not sentences:
        return ""
    best = max(sentences, key=lambda sentence: len(stems & {stem(word) for word in words(sentence)}))
    return _window(" ".join(best.split()), stems)


def words(text: str) -> list[str]:
    """The words of a text, lower-case, in order."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A crude stem, enough to see that `layers` and `layer`, `heated` and `heating` are one word."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word.removesuffix(suffix)
    return word


def _window(sentence: str, stems: set[str]) -> str:
    """At most MAX_SNIPPET characters of a sentence, from a little before where the query's words lie densest."""
    if len(sentence) <= MAX_SNIPPET:
        return sentence
    matches = [match.start() for match in _WORD.finditer(sentence) if stem(match.group().lower()) in stems] or [0]
    room = MAX_SNIPPET * 3 // 4
    densest = max(range(len(matches)), key=lambda i: bisect_left(matches, matches[i] + room) - i)
    start = max(0, min(matches[densest] - MAX_SNIPPET // 8, len(sentence) - MAX_SNIPPET))
    piece = sentence[start : start + MAX_SNIPPET]
    if start > 0:
        piece = "… " + piece.partition(" ")[2] if " " in piece[: MAX_SNIPPET // 8] else "…" + piece
    if start + MAX_SNIPPET < len(sentence):
        piece = piece.rpartition(" ")[0] + " …" if " " in piece[-MAX_SNIPPET // 8 :] else piece + "…"
    return piece
