"""Changes of an index: one at a time, committed before they are acknowledged, encoded behind the searches."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from debater_search.data.corpus import MAX_TEXT
from debater_search.data.tables import document_of
from debater_search.encoder.protocol import TextEncoder
from debater_search.encoder.texts import Texts, contents
from debater_search.errors import InvalidError
from debater_search.indexing import Change, add, delete
from debater_search.progress import Progress
from debater_search.roles import ColumnChoice, Columns, shown
from debater_search.serving.body import parse_json
from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex
from debater_search.serving.model_thread import ModelThread, Priority, pieces_of
from debater_search.store.folders import open_manifest
from debater_search.types import Document

Row = tuple[str, Any]
"""What messages call a document of a body, and the JSON that was sent for it."""


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


def put_documents(index: ServedIndex, body: bytes, json_depth: int, *, lines: bool) -> Change:
    """Add the documents of a body; those whose ids are known are replaced. In the thread for writing.

    The body is JSON `lines`, or one JSON document: an array of objects, or an object. Objects are read by the columns
    that the index was built from, if they have them.

    Raises:
        ApiError: the body or a line is not JSON, or holds what no text may hold.
        DebaterError: an object is no document, an id comes twice, or the index cannot be changed now.

    """
    rows = list(_rows_of_lines(body, json_depth) if lines else _rows_of_json(body, json_depth))
    if not rows:
        raise ApiError(400, "no_documents", "The body holds no document.", "Send one JSON object per document.")
    model = index.model
    encoder = None if model is None else BehindSearches(model.encoder, model.thread)
    return add(index.folder, _documents(rows, open_manifest(index.folder).corpus.columns), encoder=encoder)


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


def _rows_of_lines(body: bytes, json_depth: int) -> Iterator[Row]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            where = f"Line {number}"
            try:
                yield where, parse_json(line, json_depth)
            except ApiError as error:
                cure = "Send one JSON object in UTF-8 per line."
                raise ApiError(400, error.code, f"{where}: {error.message}", cure) from None


def _rows_of_json(body: bytes, json_depth: int) -> Iterator[Row]:
    if not body.strip():
        return
    try:
        parsed = parse_json(body, json_depth + 1)  # the array around the documents is a level
    except ApiError as error:
        cure = "Send an array of objects, or JSON lines as application/x-ndjson."
        raise ApiError(400, error.code, error.message, cure if error.code == "invalid_json" else error.hint) from None
    rows = parsed if isinstance(parsed, list) else [parsed]
    yield from ((f"Document {number}", row) for number, row in enumerate(rows, start=1))


def _documents(rows: Sequence[Row], columns: Columns) -> list[Document]:
    for where, fields in rows:
        if not isinstance(fields, dict):
            raise InvalidError(f"{where} is no JSON object.", 'Send documents such as {"id": "1", "text": "…"}.')
    choice = ColumnChoice(kept=columns, can_be_given=False)
    names = list(dict.fromkeys(name for _, fields in rows for name in fields))
    roles = choice.roles(names, rows[0][0])
    if columns and (absent := roles.absent(names)):
        kept = ", ".join(f"{role}={'+'.join(named)}" for role, named in columns.items())
        raise InvalidError(
            f"{rows[0][0]}: there is no {' and no '.join(absent)} among {shown(names)}.",
            f"The index was built with the columns {kept}; or send id and text.",
        )
    return [_checked(document_of(fields, where, roles), where) for where, fields in rows]


def _checked(document: Document, where: str) -> Document:
    if max(len(document.text), len(document.title)) > MAX_TEXT:
        raise InvalidError(f"{where}: a text is longer than {MAX_TEXT:,} characters.", "Cut it, or split it.")
    return document
