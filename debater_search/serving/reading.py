"""Documents of an index, as the API and the agents' tools show them."""

from typing import Any

from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex


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
