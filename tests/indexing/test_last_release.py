"""Indexes of the first layout (schema version 1, `tests/goldens/index_1`) open, are searched, checked and changed."""

import json
import shutil
from pathlib import Path

import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact, delete, verify
from debater_search.search import SearchEngine
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import INDEX_SCHEMA_VERSION
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import FLUTTER, QUERIES

GOLDENS = Path(__file__).parents[1] / "goldens" / "index_1"
KINDS = {"documents": {}, "passages": {"passages": 24, "overlap": 2}}
CHANGED = Document("d7", "Flutter took its place. " * 8, "Changed", {"year": 50})
HELD = [*(document for document in tiny_corpus(12) if document.id not in ("d3", "d7")), FLUTTER, CHANGED]


def encoder() -> FakeEncoder:
    return FakeEncoder(dim=16)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def index(kind: str, tmp_path: Path) -> Path:
    """Twelve documents; one was added, one changed and one deleted."""
    return Path(shutil.copytree(GOLDENS / kind, tmp_path / "i"))


def require_answers_of(documents: list[Document], index: Path, kind: str, anew: Path) -> None:
    shutil.rmtree(anew, ignore_errors=True)
    build(documents, encoder(), anew, **KINDS[kind])
    ours, theirs = (SearchEngine.open(folder, encoder=encoder()) for folder in (index, anew))
    assert list(ours.documents) == documents
    for mode in ("dense", "lexical", "hybrid"):
        for where in (None, "year >= 5 and year != 12"):
            for k in (3, 10**6):
                expected = theirs.search_batch(QUERIES, k, mode=mode, where=where)
                for query, found in ours.search_batch(QUERIES, k, mode=mode, where=where).items():
                    assert list(found) == list(expected[query])
                    assert list(found.values()) == pytest.approx(list(expected[query].values()), abs=1e-6)
    snippets = [[hit.snippet for hit in engine.search(QUERIES[0], 5)] for engine in (ours, theirs)]
    assert snippets[0] == snippets[1]


def test_it_is_searched_and_sound(index: Path, kind: str, tmp_path: Path) -> None:
    before = (index / "manifest.json").read_bytes()
    require_answers_of(HELD, index, kind, tmp_path / "anew")
    assert verify(index).sound
    assert (index / "manifest.json").read_bytes() == before  # reading converts nothing
    manifest = open_manifest(index)
    assert manifest.vectors is not None
    assert (manifest.vectors.type, manifest.vectors.dropped, manifest.deleted) == ("flat", 0, 2)
    assert manifest.vectors.added == (2 if kind == "documents" else 3)


def test_a_change_converts_it(index: Path, kind: str, tmp_path: Path) -> None:
    delete(index, ["d0"])
    require_answers_of(HELD[1:], index, kind, tmp_path / "anew")
    manifest = open_manifest(index)
    assert json.loads((index / "manifest.json").read_text())["schema_version"] == INDEX_SCHEMA_VERSION
    assert manifest.vectors is not None
    assert manifest.vectors.dropped == manifest.deleted == 3  # those of before are listed now
    add(index, [Document("n2", "More words of flutter.")], encoder=encoder())
    require_answers_of([*HELD[1:], Document("n2", "More words of flutter.")], index, kind, tmp_path / "anew")
    compact(index)
    require_answers_of([*HELD[1:], Document("n2", "More words of flutter.")], index, kind, tmp_path / "anew")
    assert verify(index).sound


def test_it_is_compacted_as_it_is(index: Path, kind: str, tmp_path: Path) -> None:
    done = compact(index)
    assert (done.folded, done.dropped) == (2 if kind == "documents" else 3, 2)
    require_answers_of(HELD, index, kind, tmp_path / "anew")


def test_its_vectors_are_repaired(index: Path, kind: str, tmp_path: Path) -> None:
    (index / "delta-1" / "index.faiss").unlink()
    assert verify(index, repair=True).repaired == ["delta-1/index.faiss"]
    require_answers_of(HELD, index, kind, tmp_path / "anew")
    assert verify(index).sound


def test_a_manifest_of_before_index_types_is_read(index: Path, kind: str, tmp_path: Path) -> None:
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    del manifest["vector_search"]
    (index / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    require_answers_of(HELD, index, kind, tmp_path / "anew")


@pytest.mark.parametrize(
    ("field", "value"), [("vectors", "../index.faiss"), ("delta", {"rows": 0}), ("vector_search", 5), ("deleted", -1)]
)
def test_what_the_old_layout_does_not_allow_is_damage(tmp_path: Path, field: str, value: object) -> None:
    index = Path(shutil.copytree(GOLDENS / "documents", tmp_path / "i"))
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    (index / "manifest.json").write_text(json.dumps(manifest | {field: value}), encoding="utf-8")
    with pytest.raises(DebaterError, match=f"is damaged: {field}"):
        open_manifest(index)
