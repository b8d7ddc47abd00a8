"""What is encoded: texts, or documents, as the model reads them."""

from collections.abc import Iterable, Sequence

from debater_search.inputs import GivenDocuments, as_texts
from debater_search.types import Document

Texts = Sequence[str] | Sequence[Document] | Sequence[str | Document]


def contents(texts_or_documents: Texts | GivenDocuments) -> list[str]:
    """Documents as the model reads them: title and text. One string is one text. Raises InvalidError, as `as_texts`."""
    return as_texts(texts_or_documents)


def encodable(texts: Iterable[str]) -> list[str]:
    """Texts that UTF-8 can hold: half a surrogate pair becomes a question mark, in its place."""
    return [text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8") for text in as_texts(texts)]
