"""Documents of an index, as the API and the agents' tools show them."""

from typing import Any

from debater_search.search.snippet import best_snippet, without_heading
from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex
from debater_search.store.filters import UnknownFieldError


def list_documents(index: ServedIndex, where: str | None, k: int, offset: int) -> dict[str, Any]:
    """A `DocumentsAnswer` as plain JSON types. In a thread for retrieval.

    Raises:
        ApiError: no document has a field that the filter names.
        DebaterError: the filter is wrong, or a document cannot be read.

    """
    try:
        page = index.engine.browse(where, k, offset=offset)
    except UnknownFieldError as error:
        raise ApiError(400, "unknown_field", error.message, error.hint) from error
    no_words = index.engine.marks("")
    return {
        "index": index.name,
        "generation": page.generation,
        "total": page.total,
        "documents": [
            {
                "id": document.id,
                "title": document.title,
                "snippet": best_snippet(no_words, without_heading(document.text, document.title)),
                "metadata": document.metadata,
            }
            for document in page.documents
        ],
        "notes": list(page.notes),
    }


def read_document(index: ServedIndex, id: str, offset: int, characters: int) -> dict[str, Any]:
    """A `DocumentBody` as plain JSON types: `characters` of the text from `offset` on. In a thread for retrieval.

    Raises:
        ApiError: there is no document with this id.
        DebaterError: it cannot be read.

    """
    documents = index.engine.documents
    with documents.reading():
        position = documents.positions([id]).get(id)
        if position is None:
            raise ApiError(404, "unknown_document", "There is no document with this id.", "Hits show ids.")
        (document,) = documents.read([position])
    text = document.text[offset : offset + characters]
    return {
        "index": index.name,
        "generation": documents.generation,
        "id": document.id,
        "title": document.title,
        "text": text,
        "offset": offset,
        "characters": len(text),
        "total_characters": len(document.text),
        "metadata": document.metadata,
    }
