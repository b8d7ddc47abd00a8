"""Long documents are cut into passages, found by the best of them, and shown by it; their ids stay the user's."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact, delete, update, verify
from debater_search.indexing.passages import Splitter
from debater_search.search import MODES, SearchEngine
from debater_search.store.manifest import PassageSettings
from debater_search.types import Document
from tests.fakes import FakeEncoder

MANY = {"passages": 24, "overlap": 4, "shard_size": 10}


def chapters(id: str, n: int = 8, year: int = 0) -> Document:
    """A document of n sentences, each with words of its own and as many as half a passage."""
    sentences = [f"Chapter {k} of {id} tells of {id}x{k} and {id}y{k} at length." for k in range(n)]
    return Document(id, " ".join(sentences), f"Book {id}", {"year": year})


CORPUS = [chapters(f"d{i}", n=1 + i % 9, year=i) for i in range(12)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CORPUS, FakeEncoder(), tmp_path_factory.mktemp("passages") / "i", **MANY).folder


@pytest.fixture
def index(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "i"))


def opened(index: Path) -> SearchEngine:
    return SearchEngine.open(index, encoder=FakeEncoder())


def require_exact(index: Path, documents: list[Document], query: str) -> None:
    """Hits are all documents, by the best cosine of the passages that a fresh cut of each gives."""
    encoder, engine = FakeEncoder(), opened(index)
    split = Splitter(encoder, PassageSettings(tokens=MANY["passages"], overlap=MANY["overlap"]))
    vector = encoder.encode_queries([query])[0]
    wanted = {
        document.id: max(encoder.encode_documents([span.of(document) for span in split([document])[0]]) @ vector)
        for document in documents
    }
    hits = engine.search(query, 99)
    assert {hit.id: pytest.approx(hit.score, abs=1e-6) for hit in hits} == wanted
    assert [hit.score for hit in hits] == pytest.approx(sorted(wanted.values(), reverse=True), abs=1e-6)
    for k in (1, 3):
        assert [hit.id for hit in engine.search(query, k)] == [hit.id for hit in hits[:k]]
    assert verify(index).sound
    engine.close()


def test_documents_are_found_by_their_best_passage_which_is_the_snippet(index: Path) -> None:
    require_exact(index, CORPUS, "d8x5 d3y2 at length")
    engine = opened(index)
    assert engine.manifest.passages is not None
    assert engine.manifest.passages.count == len(engine.store) > 3 * len(CORPUS)
    (hit,) = engine.search("d8x5 d8y5", 1)
    assert hit.id == "d8"
    assert "tells of d8x5" in hit.snippet
    assert "d8x0" not in hit.snippet
    assert hit.text == CORPUS[8].text
    assert hit.snippet in hit.text


@pytest.mark.parametrize("type", ["flat", "hnsw", "sq8"])
def test_every_mode_and_filter_answers_with_documents(tmp_path: Path, type: str) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", type=type, **MANY)
    engine = opened(tmp_path / "i")
    for mode in MODES:
        assert engine.search("d8x5 d8y5", 1, mode=mode)[0].id == "d8"
        found = engine.search("chapter d8x5 of", 99, mode=mode, where="year >= 7 and year != 8")
        assert sorted(hit.id for hit in found) == ["d10", "d11", "d7", "d9"]
        assert len(engine.search("chapter of", 99, mode=mode)) == 12
    run = engine.search_batch(["Chapter 5 of d8 tells of d8x5 and d8y5", "Chapter 1 of d3 tells of d3x1 and d3y1"], 2)
    assert [next(iter(hits)) for hits in run.values()] == ["d8", "d3"]
    assert all(len(hits) == 2 for hits in run.values())


def test_added_changed_and_deleted_documents_are_cut_alike(index: Path) -> None:
    new, changed = chapters("new", 7), chapters("d3", 9, year=77)
    change = add(index, [new, changed, CORPUS[5]], encoder=FakeEncoder())
    assert (change.added, change.updated, change.unchanged) == (1, 1, 1)
    delete(index, ["d8", "d0"])
    live = [new, changed, *(document for document in CORPUS if document.id not in ("d0", "d3", "d8"))]
    require_exact(index, live, "d8x5 newx6 d3y2")
    engine = opened(index)
    rows = engine.manifest.rows
    assert rows == len(engine.store)
    assert engine.manifest.passages is not None
    assert engine.manifest.passages.count == len(engine.documents.rows())
    engine.close()

    assert compact(index).documents == len(live)
    require_exact(index, live, "d8x5 newx6 d3y2")
    engine = opened(index)
    assert engine.manifest.rows == len(engine.store) < rows
    engine.close()

    update(index, CORPUS[:4], encoder=FakeEncoder())
    require_exact(index, CORPUS[:4], "d8x5 newx6 d3y2")


def test_damaged_shards_of_passages_are_encoded_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: FakeEncoder(model))
    delete(index, ["d1", "d4"])
    before = opened(index).store.vectors()
    (index / "embeddings" / "shard-00001.parquet").unlink()
    assert verify(index, repair=True).sound
    after = opened(index).store.vectors()
    dead = ~after.any(axis=1)
    np.testing.assert_array_equal(after[~dead], before[~dead])
    require_exact(index, [document for document in CORPUS if document.id not in ("d1", "d4")], "d8x5 d3y2")


def test_ready_passages_make_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: FakeEncoder(model))
    build(CORPUS, FakeEncoder(), tmp_path / "shards", encode_only=True, **MANY)
    build(CORPUS, None, tmp_path / "i", embeddings=tmp_path / "shards")
    require_exact(tmp_path / "i", CORPUS, "d8x5 d3y2")
    with pytest.raises(DebaterError, match="does not hold passages of 30 tokens"):
        build(CORPUS, None, tmp_path / "j", embeddings=tmp_path / "shards", passages=30)


def test_a_run_with_other_passages_does_not_go_on(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", encode_only=True, **MANY)
    with pytest.raises(DebaterError, match="different: passages"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", **{**MANY, "overlap": 5})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"passages": 65}, "too long: the model reads 64"),
        ({"passages": 19}, "too short"),
        ({"passages": 0}, "no passages of 0 tokens"),
        ({"passages": 40, "overlap": 21}, "cannot overlap by 21"),
        ({"passages": 40, "overlap": -1}, "-1 in common"),
        ({"passages": 40, "all_steps": True}, "last thinking step only"),
        ({"passages": 40, "encoder": None}, "no model"),
    ],
)
def test_impossible_passages_stop_before_any_work(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        build(**{"corpus": CORPUS, "encoder": FakeEncoder(), "folder": tmp_path / "i", "overlap": 4} | settings)
    assert list(tmp_path.iterdir()) == []


word = st.text("abcdé机", min_size=1, max_size=6)
sentence = st.lists(word, min_size=1, max_size=60).map(lambda words: " ".join(words) + ".")
texts = st.one_of(st.just(""), st.text(max_size=300), st.lists(sentence, max_size=12).map("\n ".join))


@given(text=texts, title=texts, tokens=st.integers(20, 64), share=st.floats(0, 0.5))
def test_passages_cover_the_text_in_order_and_fit(text: str, title: str, tokens: int, share: float) -> None:
    encoder = FakeEncoder()
    document = Document("d", text, title)
    settings = PassageSettings(tokens=tokens, overlap=int(share * tokens))
    (spans,) = Splitter(encoder, settings)([document])
    lengths = [len(ids) for ids in encoder.token_ids([span.of(document).content for span in spans], "document")]
    assert max(lengths) <= tokens
    stops = [0, *(span.stop for span in spans)]
    covered = [text[max(span.start, stop) : span.stop] for stop, span in zip(stops, spans, strict=False)]
    assert "".join("".join(covered).split()) == "".join(text.split())
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.stop < after.stop
        shared = len(text[after.start : before.stop].split())
        assert shared <= settings.overlap


def test_passages_end_and_begin_at_sentences_where_there_are_any() -> None:
    document = chapters("d", 8)
    (spans,) = Splitter(FakeEncoder(), PassageSettings(tokens=40, overlap=12))([document])
    passages = [span.of(document) for span in spans]
    assert len(passages) > 3
    for passage in passages:
        assert passage.text.startswith("Chapter")
        assert passage.text.endswith("length.")
        assert passage.title == "Book d"
    assert passages[0].text.rpartition("Chapter")[2] in passages[1].text  # a whole sentence in common


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_real_model_reads_every_passage_whole(tiny_model: Callable[..., Path], family: str) -> None:
    encoder = Encoder.load(
        tiny_model(family), thinking_steps=4, max_length=128 if family == "llama" else 60, device="cpu"
    )
    text = "The lift of a wing grows. " * 30 + "机翼升力很大。" * 20 + "supercalifragilistic" * 10
    document = Document("d", text, "A title")
    tokens = encoder.spec.document_length - 10
    (spans,) = Splitter(encoder, PassageSettings(tokens=tokens, overlap=8))([document])
    lengths = [len(ids) for ids in encoder.token_ids([span.of(document).content for span in spans], "document")]
    assert max(lengths) <= tokens
    assert np.mean(lengths) > tokens / 2
    assert (spans[0].start, spans[-1].stop) == (0, len(text))
    (apart,) = Splitter(encoder, PassageSettings(tokens=tokens, overlap=0))([document])
    assert {span.of(document).text.split()[0] for span in apart if span.start < text.index("机")} == {"The"}
    words = Document("d", " ".join(["lifting wings"] * 40))
    (apart,) = Splitter(encoder, PassageSettings(tokens=tokens, overlap=0))([words])
    assert {word for span in apart for word in span.of(words).text.split(" ")} == {"lifting", "wings"}
    for before, after in pairwise(spans):
        assert before.start < after.start <= len(text[: before.stop] + " ")
