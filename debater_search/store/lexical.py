"""How an index compares words: what a query becomes in FTS5. Nothing a user types becomes FTS syntax."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from debater_search.errors import InvalidError
from debater_search.store.words import folded, phrase, sequences, words_and_runs

# A longer query is cut: a thousand different words describe any need, and the engine's parser has its limits.
MAX_WORDS = 1000

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

_SUFFIXES = ("ations", "ation", "ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "s", "e", "y")
# Combining marks belong to words; those of Indic scripts are vowels.
_UNICODE61 = "unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''"


@dataclass(frozen=True)
class Term:
    """One thing that a query looks for: a folded word, or a sequence of characters of a script without spaces."""

    text: str
    is_sequence: bool = False

    @property
    def expression(self) -> str:
        """The term in FTS5's language."""
        return phrase(self.text) if self.is_sequence else f'"{self.text}"'


@dataclass(frozen=True, eq=False)
class Language:
    """How words of an index are compared. All languages share the rules of `store.words`.

    `tokenizer` is FTS5's; `stem` is a crude stem, enough to mark `layers` where a query has `layer`.
    """

    name: str
    tokenizer: str
    stop_words: frozenset[str]
    stem: Callable[[str], str]
    split: Callable[[str], list[Term]]

    def counted(self, query: str) -> Counter[Term]:
        """The different terms of a query, in order, with how often each comes; stop words only if there is no other."""
        terms = Counter(self.split(query))
        telling = {term: count for term, count in terms.items() if term.text not in self.stop_words}
        return Counter(dict(list((telling or terms).items())[:MAX_WORDS]))

    def terms(self, query: str) -> list[Term]:
        """The different terms of a query, in order."""
        return list(self.counted(query))

    def expression(self, query: str) -> str:
        """An FTS5 expression that finds texts with any term of the query, "" for a query without one.

        A term that comes twice counts twice in BM25, as in Lucene, while there is room.
        """
        counts = self.counted(query)
        repeated = [term for term, count in counts.items() for _ in range(count - 1)]
        return " OR ".join(term.expression for term in [*counts, *repeated[: MAX_WORDS - len(counts)]])


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word.removesuffix(suffix)
    return word


def _split(query: str) -> list[Term]:
    terms = []
    for found in words_and_runs(folded(query)):
        if found.lastgroup == "run":
            terms += [Term(sequence, True) for sequence in sequences(found[0])]
        else:
            terms.append(Term(found[0]))
    return terms


def _split_as_before(query: str) -> list[Term]:
    return [Term(word) for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFC", query).lower())]


ENGLISH = Language("english", f"porter {_UNICODE61}", STOP_WORDS, _stem, _split)
ANY = Language("any", _UNICODE61, frozenset(), str, _split)
FORMER = Language("english", "porter unicode61 remove_diacritics 2", STOP_WORDS, _stem, _split_as_before)
"""That of databases which hold texts as they are: words end at combining marks, and runs of characters are words."""

LANGUAGES = {language.name: language for language in (ENGLISH, ANY)}


def language_of(name: str) -> Language:
    """The language of this name.

    Raises:
        InvalidError: there is none.

    """
    if name not in LANGUAGES:
        raise InvalidError(
            f"There is no language {name!r}.",
            "`language` is english (stems and stop words) or any (words as they stand, for all other languages).",
        )
    return LANGUAGES[name]
