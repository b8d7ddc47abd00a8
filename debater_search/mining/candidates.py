"""Where negatives come from: the ranking of an index for each question, and the scores of its positives beside it.

Positives that the index holds keep their stored vector. Others are encoded once, into shards that a later run finds
again; in lexical mode they are indexed together with the corpus, since BM25 scores only what is in its index.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from debater_search.errors import InvalidError
from debater_search.indexing import build, encode
from debater_search.mining.questions import Question
from debater_search.mining.selection import Ranking
from debater_search.mining.settings import MiningSettings
from debater_search.mining.texts import CorpusTexts, all_documents, digest
from debater_search.search import SearchEngine
from debater_search.search.candidates import dense
from debater_search.store.corpus import corpus_fingerprint
from debater_search.store.documents import DocumentStore
from debater_search.store.manifest import CorpusInfo
from debater_search.types import Document
from debater_search.vectors import Selection


@dataclass(frozen=True)
class Places:
    """Folders for what is made on the way: `keep` is there again for the run that goes on, `scratch` is not."""

    keep: Path
    scratch: Path


class Candidates(Protocol):
    """Searches for questions."""

    documents: DocumentStore
    texts: CorpusTexts

    def search(self, questions: Sequence[Question]) -> list[tuple[Ranking, list[float]]]:
        """For each question the best documents, as deep as the window reaches, and the score of each positive."""
        ...


def open_candidates(
    engine: SearchEngine, questions: Sequence[Question], settings: MiningSettings, places: Places, *, show: bool = False
) -> Candidates:
    """Prepare to search: find the positives in the index, and encode or index those that are not there.

    Raises:
        DebaterError: the index has no embeddings for dense mode, holds fewer documents than the window skips, or its
            model cannot be loaded, or gives a positive NaN.

    """
    first = settings.window[0]
    if first > len(engine.documents):
        raise InvalidError(
            f"The window begins at rank {first:,}, and there are {len(engine.documents):,} documents.",
            "Let `window` begin earlier.",
        )
    wanted = {digest(positive): positive for question in questions for positive in question.positives}
    texts = CorpusTexts(engine.documents, set(wanted), show=show)
    foreign = {key: positive for key, positive in wanted.items() if key not in texts.holders}
    if settings.mode == "dense":
        return DenseCandidates(engine, texts, _vectors(engine, foreign, places.keep, show), settings)
    if not foreign:
        return LexicalCandidates(engine.documents, texts, len(engine.documents), settings)
    both = chain(all_documents(engine.documents), _as_documents(foreign))
    extended = SearchEngine.open(build(both, None, places.scratch / "extended").folder).documents
    texts = CorpusTexts(extended, set(wanted), show=show)
    return LexicalCandidates(extended, texts, len(extended) - len(foreign), settings)


class DenseCandidates:
    """Cosine between query and document vectors; `foreign` holds the vectors of positives that are not indexed."""

    def __init__(
        self, engine: SearchEngine, texts: CorpusTexts, foreign: dict[int, np.ndarray], settings: MiningSettings
    ) -> None:
        self.documents, self.texts = engine.documents, texts
        self._encoder, self._vectors = engine.encoder, engine.vectors
        self._foreign, self._settings = foreign, settings

    def search(self, questions: Sequence[Question]) -> list[tuple[Ranking, list[float]]]:
        """The best documents for each question; positives below them are found by an exact search among positives.

        Raises:
            DebaterError: the model gives a query NaN or infinity.

        """
        texts = [question.query for question in questions]
        queries = self._encoder.encode_queries(texts, instruction=self._settings.instruction)
        if not np.isfinite(queries).all():
            raise InvalidError(
                "The model gives a query a vector that is not finite.",
                "Check the model, or set `device` to cpu, which computes in fp32; finished rows are kept.",
            )
        rankings = dense(self._vectors, queries, self._settings.window[1])
        found = [dict(ranking) for ranking in rankings]
        places = [[self.texts.position(positive) for positive in question.positives] for question in questions]
        below = [row for row, at in enumerate(places) if {p for p in at if p is not None} - found[row].keys()]
        if below:
            among = sorted({place for row in below for place in places[row] if place is not None})
            rest = dense(self._vectors, queries[below], len(among), Selection(np.array(among, np.int64)), exact=True)
            for row, ranking in zip(below, rest, strict=True):
                found[row] |= dict(ranking)
        scores = [
            [
                found[row][place] if place is not None else float(queries[row] @ self._foreign[digest(positive)])
                for positive, place in zip(question.positives, places[row], strict=True)
            ]
            for row, question in enumerate(questions)
        ]
        return list(zip(rankings, scores, strict=True))


class LexicalCandidates:
    """BM25 over an index's documents, of which the first `size` are candidates; all positives are among them."""

    def __init__(self, documents: DocumentStore, texts: CorpusTexts, size: int, settings: MiningSettings) -> None:
        self.documents, self.texts = documents, texts
        self._depth = min(settings.window[1], size)
        self._candidates = np.arange(size) if size < len(documents) else None

    def search(self, questions: Sequence[Question]) -> list[tuple[Ranking, list[float]]]:
        """The best documents that share a word with each question; a positive that shares none scores 0."""
        return [self._search(question) for question in questions]

    def _search(self, question: Question) -> tuple[Ranking, list[float]]:
        ranking = self.documents.search(question.query, self._depth, within=self._candidates)
        found = dict(ranking)
        places = [self.texts.position(positive) for positive in question.positives]
        if not found.keys() >= set(places):
            among = np.array([place for place in places if place is not None], np.int64)
            found |= dict(self.documents.search(question.query, len(places), within=among))
        return ranking, [found.get(place, 0.0) if place is not None else 0.0 for place in places]


def _vectors(engine: SearchEngine, foreign: dict[int, str], keep: Path, show: bool) -> dict[int, np.ndarray]:
    """The vectors of positives that the index does not hold, by digest."""
    if not foreign:
        return {}
    documents = list(_as_documents(foreign))
    corpus = CorpusInfo(source="positives", fingerprint=corpus_fingerprint(documents), documents=len(documents))
    made_of = hashlib.sha256(f"{engine.encoder.fingerprint} {corpus.fingerprint}".encode()).hexdigest()
    folder = keep / f"positives-{made_of[:16]}"
    vectors = encode(documents, engine.encoder, folder, corpus, force=True, progress=show).store.vectors()
    return dict(zip(foreign, vectors, strict=True))


def _as_documents(texts: dict[int, str]) -> Iterator[Document]:
    for key, text in texts.items():
        yield Document(f"positive {key:016x}", text)
