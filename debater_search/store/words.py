"""How texts become words: one rule for the lexical index, for queries and for marks in hits.

`folded` makes spellings of a word equal: case, accents, vowel points, presentation forms. Scripts that put no spaces
between words (Chinese, Japanese, Thai, Lao, Burmese, Khmer), and Korean, whose words end in particles, are cut into
characters: the index holds each pair of neighbours and the last character of a run. So each character of a text begins
an entry, and any sequence of characters is a phrase of pairs.
"""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from unicodedata import category, normalize

WORDS_FUNCTION = "debater_words"
"""The SQL function that gives the lexical index the words of a text."""

_JAPANESE_MARKS = "\u3099\u309a\uff9e\uff9f"
_BASES = (
    "\u3005-\u3007\u3105-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # kana
    "\u1100-\u115f\u3131-\u318e\uac00-\ud7a3"  # Hangul
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"  # Thai
    "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd\u0ec0-\u0ec6\u0edc-\u0edf"  # Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"  # Burmese
    "\u1780-\u17b3\u17d7\u17dc"  # Khmer
)
_MARKS = (
    f"{_JAPANESE_MARKS}\u1160-\u11ff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d"
    "\u17b4-\u17d3\u17dd"
)
_CHARACTER = re.compile(f"[{_BASES}][{_MARKS}]*")
_SIMPLE = re.compile(
    "[\u0000-\u00ac\u00ae-\u02ff\u2010-\u2027]*"
)  # no marks, no runs: Latin letters, dashes, quotes, …
_SIMPLE_WORD = re.compile("(?P<run>(?!))|[^\\W_]+")
_KATAKANA = "[\u30a1-\u30fa\u31f0-\u31ff][\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff]*"
# Parts of a run in a query, and how many neighbours in a text are as good as a word of it: words of Thai and its
# neighbours, and those that Japanese writes in katakana, are longer than two characters.
_PARTS = re.compile(f"(?P<thai>(?:[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])+)|(?P<katakana>{_KATAKANA})|(?P<other>.)")
_SEQUENCE = {"thai": 4, "katakana": 3, "other": 2}

# Presentation forms: ligatures and positional forms of Hebrew and Arabic (in texts from PDF), full and half width.
_PRESENTED = re.compile("[\ufb13-\ufdff\ufe70-\ufefc\uff01-\uffee]+")
# Accents of Latin, Greek and Cyrillic; vowel points of Hebrew and Arabic, and the line that lengthens Arabic words;
# characters without width, but for the space without width, which parts words.
_DROPPED = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u00ad\u034f\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]+"
)
_WITHOUT_WIDTH = "\u00ad\u200c\u200d\u2060\ufeff"  # within a word
# Letters with a stroke or without a dot, which no decomposition takes apart.
_LETTERS = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe"})


def folded(text: str) -> str:
    """The text without what spellings of a word differ in: case, accents, vowel points, presentation forms."""
    if text.isascii():
        return text.lower()
    text = _PRESENTED.sub(lambda found: normalize("NFKC", found[0]), text)
    return normalize("NFC", _DROPPED.sub("", normalize("NFD", text.casefold())).translate(_LETTERS))


def indexed(text: str) -> str:
    """What the lexical index reads of a text: its words folded, and runs of characters as pairs."""
    if text.isascii():  # SQLite's tokenizer does the same
        return text
    found = words_and_runs(folded(text))
    return " ".join(" ".join(_pairs(part[0])) if part.lastgroup == "run" else part[0] for part in found)


def register(connection: sqlite3.Connection) -> None:
    """Let a connection read and change lexical indexes: their texts come from `indexed`."""
    connection.execute("PRAGMA trusted_schema = ON")  # views may call functions; builds of SQLite differ in the default
    connection.create_function(WORDS_FUNCTION, 1, indexed, deterministic=True)


def characters(run: str) -> list[str]:
    """The characters of a run, each with its marks."""
    return [found[0] for found in characters_in(run)]


def characters_in(run: str) -> Iterator[re.Match[str]]:
    """The characters of a run, with where they stand."""
    return _CHARACTER.finditer(run)


def sequences(run: str) -> list[str]:
    """What to look for in place of a run of characters, folded: its parts that are about as long as a word."""
    found = []
    for part, length in _parts(run):
        units = characters(part)
        if len(units) > 1:
            found += ["".join(units[n : n + length]) for n in range(max(1, len(units) - length + 1))]
    return found or characters(run)


def phrase(sequence: str) -> str:
    """A sequence of characters as FTS5 finds it: as consecutive pairs, or as what begins with the one character."""
    units = characters(sequence)
    return f'"{" ".join(_pairs(sequence)[:-1])}"' if len(units) > 1 else f'"{sequence}" *'


def words_and_runs(text: str) -> Iterator[re.Match[str]]:
    """The words of a text, folded or not, and its runs of characters, which are groups `run`."""
    return (_SIMPLE_WORD if _SIMPLE.fullmatch(text) else _word_pattern()).finditer(text)


@cache
def _word_pattern() -> re.Pattern[str]:
    # Compiled when it is first needed: it lists every combining mark, which takes longer than a search does.
    marks = "".join(chr(code) for code in range(0x300, 0x20000) if category(chr(code)) in ("Mn", "Mc"))
    word = f"[^\\W_{_BASES}](?:[^\\W_{_BASES}]|[{re.escape(marks + _WITHOUT_WIDTH)}])*"
    return re.compile(f"(?P<run>(?:{_CHARACTER.pattern})+)|{word}")


def _pairs(run: str) -> list[str]:
    """Each character of a run with the one behind it, and the last one alone."""
    units = characters(run)
    return [*(one + other for one, other in pairwise(units)), units[-1]]


def _parts(run: str) -> list[tuple[str, int]]:
    """The parts of a run that are of one kind, each with the length of its sequences."""
    parts: list[tuple[str, int]] = []
    kind = None
    for found in _PARTS.finditer(run):
        if found.lastgroup == kind == "other":
            parts[-1] = (parts[-1][0] + found[0], parts[-1][1])
        else:
            parts.append((found[0], _SEQUENCE[str(found.lastgroup)]))
        kind = found.lastgroup
    return parts
