"""From a user's words to an FTS5 query: every word quoted, joined by OR. Nothing a user types becomes FTS syntax."""

import re
import unicodedata

# A longer query is cut: a thousand different words describe any need, and the engine's parser has its limits.
MAX_WORDS = 1000

_WORD = re.compile(r"[^\W_]+")  # what FTS5's unicode61 tokenizer takes for a word

_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but
by can cannot could did do does doing done down during each either else ever few for from further had has have
having he her here hers herself him himself his how however i if in into is it its itself just may me might
more most much must my myself no nor not now of off on once one only or other our ours ourselves out over own
per rather same shall she should since so some such than that the their theirs them themselves then there
these they this those through thus to too under until up upon us very was we were what when where whether
which while who whom whose why will with within without would you your yours yourself
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def query_words(text: str) -> list[str]:
    """The different words of a query, in order, lower-case, without stop words unless nothing else is there."""
    words = list(dict.fromkeys(_WORD.findall(unicodedata.normalize("NFC", text).lower())))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_WORDS]


def fts_expression(text: str) -> str:
    """An FTS5 expression that matches documents holding any word of the query; "" where the query has no word."""
    return " OR ".join(f'"{word}"' for word in query_words(text))
