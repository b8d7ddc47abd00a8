"""Changes of an index: one at a time, committed before they are acknowledged, encoded behind the searches."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from debater_search.data.corpus import MAX_TEXT
from debater_search.data.tables import document_of
from debater_search.encoder.protocol import TextEncoder
from debater_search.encoder.texts import Texts, contents
from debater_search.errors import InvalidError
from debater_search.indexing import Change, add, delete
from debater_search.progress import Progress
from debater_search.serving.body import parse_json
from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex
from debater_search.serving.model_thread import ModelThread, Priority, pieces_of
from debater_search.types import Document


class BehindSearches:
    """An encoder for changes: the model of an index, which computes piece by piece between searches."""

    def __init__(self, encoder: TextEncoder, thread: ModelThread) -> None:
        self._encoder, self._thread = encoder, thread
        self.name, self.fingerprint, self.recipe = encoder.name, encoder.fingerprint, encoder.recipe
        self.dim, self.thinking_steps, self.dtype = encoder.dim, encoder.thinking_steps, encoder.dtype
        self.former_fingerprints: tuple[str, ...] = getattr(encoder, "former_fingerprints", ())

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """As `TextEncoder`; it is not used by changes."""
        return self._encoder.encode_queries(texts, instruction=instruction, progress=progress)

    def encode_documents(self, texts_or_documents: Texts, *, progress: bool | Progress = False) -> np.ndarray:
        """As `TextEncoder`."""
        return self.deliberate(texts_or_documents, progress=progress)[:, -1]

    def deliberate(self, texts_or_documents: Texts, *, progress: bool | Progress = False) -> np.ndarray:
        """As `TextEncoder`, piece by piece."""
        texts = contents(texts_or_documents)
        views = [np.empty((0, self.thinking_steps, self.dim), np.float32)]
        for piece in pieces_of(texts):
            some = [texts[position] for position in piece]
            views.append(self._thread.piece(partial(self._encoder.deliberate, some), Priority.WRITE).result())
            if isinstance(progress, Progress):
                progress.advance(len(some))
        return np.concatenate(views)

    def deliberate_windows(
        self, windows: Iterable[Texts], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        """As `TextEncoder`, piece by piece."""
        for window in windows:
            yield self.deliberate(window, progress=progress)

    @property
    def document_length(self) -> int:
        """As `Tokenizing`, where the encoder is."""
        length: int = self._encoder.document_length  # type: ignore[attr-defined]
        return length

    def token_ids(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        """As `Tokenizing`, where the encoder is."""
        ids: list[list[int]] = self._encoder.token_ids(texts, kind)  # type: ignore[attr-defined]
        return ids

    def token_offsets(self, texts: Sequence[str]) -> list[np.ndarray]:
        """As `Tokenizing`, where the encoder is."""
        offsets: list[np.ndarray] = self._encoder.token_offsets(texts)  # type: ignore[attr-defined]
        return offsets


def put_documents(index: ServedIndex, body: bytes, json_depth: int) -> Change:
    """Add the documents of a body of JSON lines; those whose ids are known are replaced. In the thread for writing.

    Raises:
        ApiError: a line is not JSON, or holds what no text may hold.
        DebaterError: a line is no document, an id comes twice, or the index cannot be changed now.

    """
    documents = list(_documents(body, json_depth))
    if not documents:
        raise ApiError(400, "no_documents", "The body holds no document.", "Send one JSON object per line.")
    model = index.model
    encoder = None if model is None else BehindSearches(model.encoder, model.thread)
    return add(index.folder, documents, encoder=encoder)


def delete_document(index: ServedIndex, id: str) -> Change:
    """Delete a document. In the thread for writing.

    Raises:
        ApiError: there is no document with this id.
        DebaterError: it is the last one, or the index cannot be changed now.

    """
    change = delete(index.folder, [id])
    if change.unknown:
        raise ApiError(404, "unknown_document", "There is no document with this id.", "It may be deleted already.")
    return change


def _documents(body: bytes, json_depth: int) -> Iterator[Document]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            yield _document(line, f"Line {number}", json_depth)


def _document(line: bytes, where: str, json_depth: int) -> Document:
    try:
        fields = parse_json(line, json_depth)
    except ApiError as error:
        raise ApiError(
            400, error.code, f"{where}: {error.message}", "Send one JSON object in UTF-8 per line."
        ) from None
    if not isinstance(fields, dict):
        raise InvalidError(f"{where} is no JSON object.", 'Send lines such as {"id": "1", "text": "…"}.')
    document = document_of(fields, where)
    if max(len(document.text), len(document.title)) > MAX_TEXT:
        raise InvalidError(f"{where}: a text is longer than {MAX_TEXT:,} characters.", "Cut it, or split it.")
    return document
