from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder(dim=4096)


@pytest.fixture
def engine(tmp_path: Path, encoder: FakeEncoder) -> Callable[[list[Document]], SearchEngine]:
    """Index documents and open the index; the encoder then counts from 0."""

    def make(documents: list[Document]) -> SearchEngine:
        build(documents, encoder, tmp_path / "index", force=True)
        encoder.encoded = 0
        return SearchEngine.open(tmp_path / "index", encoder=encoder)

    return make
