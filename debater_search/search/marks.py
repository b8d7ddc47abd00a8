"""Where a text holds what a query looks for, by the rules that the index compares words with."""

from collections.abc import Iterator
from functools import lru_cache

from debater_search.store.lexical import Language
from debater_search.store.words import characters, characters_in, folded, words_and_runs

Span = tuple[int, int]
"""The first character, and the one behind the last."""


class QueryMarks:
    """The terms of a query, to be found in texts, whatever the endings of words.

    Examples:
        >>> text = "Wings carry an aircraft."
        >>> [text[start:stop] for start, stop in engine.marks("what does a wing carry?").spans(text)]
        ['Wings', 'carry']
    """

    def __init__(self, query: str, language: Language) -> None:
        self._language = language
        terms = language.terms(query)
        self._words = {_key(term.text, language) for term in terms if not term.is_sequence}
        self._sequences: dict[str, list[list[str]]] = {}  # by their first character
        for term in terms:
            if term.is_sequence:
                sequence = characters(term.text)
                self._sequences.setdefault(sequence[0], []).append(sequence)

    def different(self, text: str) -> int:
        """How many different terms the text holds."""
        return len({key for key, _ in self._found(text)})

    def spans(self, text: str) -> list[Span]:
        """Where the text holds terms, in order; those that touch or overlap are one."""
        merged: list[Span] = []
        for _, (start, stop) in sorted(self._found(text), key=lambda found: found[1]):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(stop, merged[-1][1])
            else:
                merged.append((start, stop))
        return merged

    def _found(self, text: str) -> Iterator[tuple[str, Span]]:
        for found in words_and_runs(text):
            if found.lastgroup == "run":
                yield from self._sequences_in(found[0], found.start())
            elif (key := _key(found[0], self._language)) in self._words:
                yield key, found.span()

    def _sequences_in(self, run: str, start: int) -> Iterator[tuple[str, Span]]:
        if not self._sequences:
            return
        units = list(characters_in(run))
        names = [_folded(unit[0]) for unit in units]
        for first, name in enumerate(names):
            for sequence in self._sequences.get(name, ()):
                last = first + len(sequence) - 1
                if names[first : last + 1] == sequence:
                    yield "".join(sequence), (start + units[first].start(), start + units[last].end())


_folded = lru_cache(maxsize=50_000)(folded)


@lru_cache(maxsize=50_000)
def _key(word: str, language: Language) -> str:
    return language.stem(folded(word))
