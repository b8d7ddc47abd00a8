"""Building is three calls, each of which is of use alone."""

import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from debater_search import indexing
from debater_search.data import read_corpus
from debater_search.errors import InvalidError
from debater_search.files import sha256_file
from debater_search.indexing import EncodingSettings, build, encode, index, store_documents
from debater_search.search import SearchEngine
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import CorpusInfo
from debater_search.types import Document
from debater_search.vectors import VectorSettings
from tests.fakes import FakeEncoder, Interrupted, tiny_corpus

CORPUS = tiny_corpus()
IDENTITY = CorpusInfo(source="documents in memory", fingerprint="c" * 64, documents=len(CORPUS))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an index but for its manifest, which says when it was made, and databases."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".sqlite"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path != folder / "manifest.json"}


def test_the_three_calls_make_what_build_makes(tmp_path: Path) -> None:
    folder = tmp_path / "i"
    stored = store_documents(CORPUS, folder)
    with stored.opened() as rows:
        settings = EncodingSettings(all_steps=True, shard_size=10)
        encoded = encode(rows, FakeEncoder(), folder / "embeddings", stored.corpus, settings)
    manifest = index(stored, encoded.store, VectorSettings("flat"))

    built = build(CORPUS, FakeEncoder(), tmp_path / "b" / "i", type="flat", all_steps=True, shard_size=10)
    assert built.manifest is not None
    assert manifest.model_copy(update={"created": ""}) == built.manifest.model_copy(update={"created": ""})
    assert contents(folder) == contents(tmp_path / "b" / "i")
    assert SearchEngine.open(folder, encoder=FakeEncoder()).search("unique4.", 1)[0].id == "d4"


def test_stored_documents_alone_become_a_lexical_index(tmp_path: Path) -> None:
    assert index(store_documents(CORPUS, tmp_path / "i"), None).encoder is None
    assert SearchEngine.open(tmp_path / "i").search("unique4", 1, mode="lexical")[0].id == "d4"


def test_embeddings_elsewhere_are_copied_into_the_index_and_others_are_refused(tmp_path: Path) -> None:
    stored = store_documents(CORPUS, tmp_path / "i")
    with stored.opened() as rows:
        encoded = encode(rows, FakeEncoder(), tmp_path / "shards", stored.corpus)
    other = store_documents(CORPUS[:9], tmp_path / "other")
    with pytest.raises(InvalidError, match="another corpus"):
        index(other, encoded.store)
    index(stored, encoded.store)
    assert EmbeddingStore.open(tmp_path / "i" / "embeddings").manifest == encoded.store.manifest


def test_documents_are_encoded_from_memory_or_a_reader_and_nothing_but_shards_is_written(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": d.id, "text": d.text, "title": d.title}) + "\n" for d in CORPUS))
    for name, documents in (("memory", CORPUS), ("stream", iter(CORPUS)), ("reader", read_corpus(path))):
        encoded = encode(documents, FakeEncoder(), tmp_path / name, IDENTITY, EncodingSettings(shard_size=10))
        assert encoded.store.ids() == [document.id for document in CORPUS]
        np.testing.assert_array_equal(encoded.store.vectors(), FakeEncoder().encode_documents(CORPUS))
        assert {file.name for file in (tmp_path / name).iterdir()} == {
            "job.json", "manifest.json", "shard-00000.parquet", "shard-00001.parquet", "shard-00002.parquet"
        }  # fmt: skip


def test_a_stream_is_read_as_far_as_it_is_encoded(tmp_path: Path) -> None:
    read: list[str] = []

    def stream() -> Iterator[Document]:
        for document in tiny_corpus(10_000):
            read.append(document.id)
            yield document

    with pytest.raises(KeyboardInterrupt):
        encode(stream(), Interrupted(100), tmp_path / "e", IDENTITY, EncodingSettings(shard_size=50))
    assert 100 <= len(read) <= 300


def test_an_interrupted_stream_resumes_and_hashes_agree(tmp_path: Path) -> None:
    settings = EncodingSettings(shard_size=10)
    with pytest.raises(KeyboardInterrupt):
        encode(iter(CORPUS), Interrupted(20), tmp_path, IDENTITY, settings)
    encoder = FakeEncoder()
    encoded = encode(iter(CORPUS), encoder, tmp_path, IDENTITY, settings)
    assert (encoded.reused, encoder.encoded) == (20, 5)
    shards = encoded.store.manifest.shards
    assert [shard.sha256 for shard in shards] == [sha256_file(tmp_path / shard.file) for shard in shards]


def test_shards_of_another_corpus_or_model_are_kept_unless_forced(tmp_path: Path) -> None:
    encode(CORPUS, FakeEncoder(), tmp_path, IDENTITY)
    other = IDENTITY.model_copy(update={"fingerprint": "d" * 64})
    with pytest.raises(InvalidError, match="different: corpus"):
        encode(CORPUS, FakeEncoder(), tmp_path, other)
    with pytest.raises(InvalidError, match="different: encoder"):
        encode(CORPUS, FakeEncoder("other"), tmp_path, IDENTITY)
    assert encode(CORPUS, FakeEncoder(), tmp_path, IDENTITY).reused == 25
    assert encode(CORPUS, FakeEncoder(), tmp_path, other, force=True).reused == 0


def test_no_module_hides_a_function_of_its_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(indexing.__path__)}
    assert not modules & set(indexing.__all__)
    assert callable(build)
