"""Turn a database of the first layout into one of today."""

from pathlib import Path

from debater_search.files import atomic
from debater_search.store.corpus import new_documents
from debater_search.store.database import ContentSum, insert_row, row_hash, row_of
from debater_search.store.documents import DocumentStore
from debater_search.store.lexical import language_of
from debater_search.store.passages import insert_passages


def convert_documents(source: Path, target: Path, generation: int) -> str:
    """Copy a database of schema version 1 into one whose rows carry generations; positions stay. Returns its content.

    Raises:
        UnavailableError: `target` cannot be written.

    """
    documents, content, current = DocumentStore(source), ContentSum(), ""
    with (
        atomic(target) as temporary,
        new_documents(
            temporary, generation, language_of(documents.language.name), lambda: current, passages=documents.split
        ) as (connection, fields),
    ):
        for position, document in documents.items():
            current, row = document.id, row_of(document)
            spans = documents.spans([document])[0] if documents.split else []
            content.add(insert_row(connection, position, row, row_hash(position, row, spans), generation))
            fields.add(position, row[3])
            if documents.split:
                insert_passages(connection, position, spans)
    documents.close()
    return str(content)
