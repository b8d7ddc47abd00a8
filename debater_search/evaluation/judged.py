"""Judgements of hits as a task: the documents of an index, the judged queries, and what was said of their hits."""

from collections.abc import Iterator
from pathlib import Path

from debater_search.data.files import called
from debater_search.data.judgements import JudgedQuery, judged_queries, open_documents
from debater_search.encoder.again import load_again
from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import InvalidError, MissingError
from debater_search.search import SearchEngine
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.folders import open_manifest
from debater_search.types import Document, Qrels, Query

SPLIT = "test"


class JudgedIndex:
    """An index, and judgements of its hits (`debater serve --judgements`). Queries are numbered as they came.

    A document that is not judged counts as not relevant, as in all qrels.
    """

    instruction = None
    ignore_identical_ids = False

    def __init__(self, index: str | Path, judgements: str | Path) -> None:
        """Raises DebaterError if there is no such index, or the file has no judgements of it."""
        self.folder = Path(index)
        self.manifest = open_manifest(self.folder)
        self.name = self.folder.resolve().name
        self.source = called(judgements)
        self._judgements = judgements
        self._judged()

    def corpus(self, split: str = SPLIT) -> Iterator[Document]:
        """All documents, read while they are iterated."""
        documents = open_documents(self.folder)
        try:
            yield from documents
        finally:
            documents.close()

    def queries(self, split: str = SPLIT) -> list[Query]:
        """The judged queries."""
        return [Query(str(query.number), query.text) for query in self._judged()]

    def qrels(self, split: str = SPLIT) -> Qrels:
        """The judgements. Raises MissingError for another split than test."""
        if split != SPLIT:
            raise MissingError(f"Judgements have no split {split!r}.", f"Their only split is {SPLIT}.")
        return {str(query.number): {id: int(said) for id, said in query.documents.items()} for query in self._judged()}

    @property
    def index_type(self) -> str:
        """The type of the index's vectors; flat if it has none."""
        return self.manifest.vectors.type if self.manifest.vectors is not None else "flat"

    def load_encoder(self, device: str = "auto") -> TextEncoder:
        """The model that made the index. Raises DebaterError if there is none, or it cannot be loaded."""
        if self.manifest.encoder is None:
            raise InvalidError(
                f"The index {self.folder} has no model.", "Name a `model` to evaluate, or choose `mode` lexical."
            )
        return load_again(self.manifest.encoder, self.folder, device=device, for_queries=True)

    def engine(self, encoder: TextEncoder | None, index_type: str, *, all_steps: bool) -> SearchEngine | None:
        """The index itself, if it is what evaluating this encoder would build; None if another one must be built."""
        vectors = self.manifest.vectors
        if encoder is not None:
            if vectors is None or vectors.type != index_type or self.manifest.encoder is None:
                return None
            if self.manifest.encoder.fingerprint != encoder.fingerprint:
                return None
            if all_steps and not EmbeddingStore.open(self.folder / self.manifest.embeddings[0]).manifest.thinking_steps:
                return None
        return SearchEngine.open(self.folder, encoder=encoder)

    def _judged(self) -> list[JudgedQuery]:
        return judged_queries(self._judgements, self.folder)
