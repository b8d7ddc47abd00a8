"""What goes wrong in a change leaves the index as it was."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, compact, delete, update, verify
from debater_search.search import MODES, SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import CORPUS, FLUTTER, QUERIES, by_id, changed, contents, files_of, opened


def state(index: Path) -> tuple[dict[str, Document], Any]:
    engine = opened(index)
    found = contents(engine), [engine.search_batch(QUERIES, 100, mode=mode) for mode in MODES]
    engine.close()
    return found


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([FLUTTER, FLUTTER], "id 'n1' twice"),
        ([CORPUS[3], CORPUS[3]], "id 'd3' twice"),
        ([changed("d3"), CORPUS[3]], "id 'd3' twice"),
        ([*tiny_corpus(2000), CORPUS[3]], "id 'd3' twice"),
        ([*tiny_corpus(2000), tiny_corpus(1999)[1998]], "id 'd1998' twice"),
        ([FLUTTER, Document("bad", "\ud800")], "Document 'bad' holds half a surrogate"),
    ],
)
def test_bad_documents_leave_the_index_as_it_was(index: Path, documents: list[Document], message: str) -> None:
    files = files_of(index)
    for change in (add, update):
        with pytest.raises(DebaterError, match=message):
            change(index, documents, encoder=FakeEncoder())
        assert state(index)[0] == by_id(*CORPUS)
        assert files_of(index) == files


def test_an_id_repeated_across_corpora_is_an_update_and_within_one_a_mistake(index: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "more.jsonl"
    corpus.write_text('{"_id": "d3", "text": "a"}\n{"_id": "d3", "text": "b"}\n', encoding="utf-8")
    with pytest.raises(DebaterError, match=r"more\.jsonl, line 2: the id 'd3' stands in line 1 already"):
        add(index, corpus, encoder=FakeEncoder())
    corpus.write_text('{"_id": "d3", "text": "a"}\n', encoding="utf-8")
    assert add(index, corpus, encoder=FakeEncoder()).updated == 1
    assert contents(opened(index))["d3"] == Document("d3", "a")


def test_another_model_of_the_same_dimension_is_refused_naming_both(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DebaterError, match=r"was made by fake \(fingerprint .*not by other \(fingerprint"):
        add(index, [FLUTTER], encoder=FakeEncoder("other"))
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: FakeEncoder(model, thinking_steps=2))
    with pytest.raises(DebaterError, match=r"was made by fake \(fingerprint .*not by fake \(fingerprint"):
        add(index, [FLUTTER])
    assert state(index)[0] == by_id(*CORPUS)


def test_the_model_is_loaded_from_the_manifest_and_only_if_there_is_something_to_encode(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(**recipe: Any) -> FakeEncoder:
        asked.append(recipe)
        return FakeEncoder(recipe["model"])

    monkeypatch.setattr("debater_search.encoder.Encoder.load", load)
    update(index, CORPUS[:20])
    assert asked == []
    add(index, [FLUTTER], device="cpu")
    assert asked == [{"model": "fake", "device": "cpu"}]


def test_the_last_document_cannot_be_deleted(index: Path) -> None:
    with pytest.raises(DebaterError, match="without documents"):
        delete(index, [d.id for d in CORPUS])
    assert state(index)[0] == by_id(*CORPUS)


@pytest.mark.parametrize("name", ["documents.sqlite", "vectors/index.faiss"])
def test_an_index_with_a_missing_file_is_refused(index: Path, name: str) -> None:
    (index / name).unlink()
    for change in (lambda: add(index, [FLUTTER]), lambda: delete(index, ["d3"]), lambda: compact(index)):
        with pytest.raises(DebaterError, match=rf"damaged: {name} is missing"):
            change()


def test_an_index_of_a_newer_version_is_refused(index: Path) -> None:
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    (index / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}), encoding="utf-8")
    for use in (lambda: delete(index, ["d3"]), lambda: verify(index), lambda: SearchEngine.open(index)):
        with pytest.raises(DebaterError, match=r"schema version 99, newer .*Upgrade"):
            use()


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "where",
    [
        "debater_search.indexing.change.edit_documents",
        "debater_search.indexing.change.index_words",
        "debater_search.store.embedding_writer.EmbeddingWriter.write",
        "debater_search.store.embedding_writer.EmbeddingWriter.finish",
        "debater_search.vectors.faiss.backend.write_floats",
        "debater_search.indexing.change.write_manifest",
        "debater_search.files.fsync",
    ],
)
def test_a_full_disk_leaves_the_old_state_and_the_rerun_finishes(
    index: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = state(index)
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(OSError, match="No space"):
            add(index, [FLUTTER, changed("d7")], encoder=FakeEncoder())
    assert state(index) == before
    assert verify(index).sound
    assert {path.name for path in files_of(index) if path.parent == index} - {"embeddings-1"} == {
        "manifest.json", "documents.sqlite", "embeddings", "vectors",
    }  # fmt: skip
    assert add(index, [FLUTTER, changed("d7")], encoder=FakeEncoder()).documents == 26


def test_shards_of_a_killed_compact_are_not_taken_for_those_of_a_change(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are written under the name of the next generation, for the same ids."""
    delete(index, [CORPUS[-1].id])
    after = [changed(document.id) for document in CORPUS[:-1]]

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for where, change in (
        (
            "debater_search.store.embedding_writer.EmbeddingWriter.write",
            lambda: update(index, after, encoder=FakeEncoder()),
        ),
        ("debater_search.indexing.compaction.rebuild_vectors", lambda: compact(index)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, stopped)
            with pytest.raises(KeyboardInterrupt):
                change()
    assert update(index, after, encoder=FakeEncoder()).encoded == len(after)
    engine = opened(index)
    by_text = FakeEncoder().encode_documents(list(engine.documents))
    positions = [position for position, _ in engine.documents.rows()]
    np.testing.assert_allclose(engine.store.vectors()[positions], by_text, atol=1e-6)


def test_shards_that_an_interrupted_change_finished_are_not_encoded_again(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [Document(f"n{i}", f"new {i}") for i in range(2500)]

    class Interrupted(FakeEncoder):
        def deliberate(self, texts: Any, *, progress: Any = False) -> np.ndarray:
            if self.encoded >= 2000:
                raise KeyboardInterrupt
            return super().deliberate(texts)

    with pytest.raises(KeyboardInterrupt):
        add(index, more, encoder=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        add(index, [*more[:-1], changed("last")], encoder=Interrupted())  # another change reuses nothing
    again = FakeEncoder()
    assert add(index, [*more[:-1], changed("last")], encoder=again).encoded == again.encoded == 500
    assert verify(index).sound
    assert len(opened(index).search("new", 10**6)) == 2525
