"""One engine, many threads: each gets its own answers; what they share is made once."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, delete
from debater_search.search import MODES, Answer, Like, SearchEngine
from debater_search.search.restrictions import CACHED_FILTERS, Restrictions
from debater_search.search.snapshot import Snapshot
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

THREADS = 8
CORPUS = tiny_corpus(60)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=20, all_steps=True)
    return tmp_path / "i"


def together(*work: Callable[[], Any]) -> list[Any]:
    """Run in as many threads, all at once; the results in order."""
    barrier = threading.Barrier(len(work))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait(timeout=30)
        return function()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(run, work))


def slowly(function: Callable[..., Any], calls: list[None]) -> Callable[..., Any]:
    """The function, slow enough that other threads come while it runs; it counts its calls."""

    def slow(*arguments: Any, **settings: Any) -> Any:
        calls.append(None)
        time.sleep(0.1)
        return function(*arguments, **settings)

    return slow


def requests_of(number: int) -> list[tuple[Any, dict[str, Any]]]:
    """What a thread asks for: queries that no other thread has, in all modes, under filters of its own."""
    own = range(number, len(CORPUS), THREADS)
    texts = [(f"number {i} unique{i}. title", {"mode": mode}) for i in own for mode in MODES]
    filtered = [
        ("wing", {"where": f"year = {i} or year = {(i + 1) % 60}", "mode": mode}) for i in own for mode in MODES
    ]
    return [*texts, *filtered, *((Like(f"d{i}"), {"rescore": "max"}) for i in own)]


def test_each_thread_gets_its_own_hits_and_timings(folder: Path) -> None:
    expected = {}
    alone = SearchEngine.open(folder, encoder=FakeEncoder())
    for number in range(THREADS):
        expected[number] = [alone.answer(query, 7, **options).hits for query, options in requests_of(number)]
    engine = SearchEngine.open(folder, encoder=FakeEncoder())

    def ask(number: int) -> list[Answer]:
        return [engine.answer(query, 7, **options) for query, options in requests_of(number)]

    answers = together(*(lambda number=number: ask(number) for number in range(THREADS)))  # type: ignore[misc]
    for number in range(THREADS):
        assert [answer.hits for answer in answers[number]] == expected[number]
        for answer, (_, options) in zip(answers[number], requests_of(number), strict=True):
            assert (answer.timings["encode"] == 0) == (options.get("mode") == "lexical")
            assert answer.timings["fetch"] > 0
    timings = [id(answer.timings) for found in answers for answer in found]
    assert len(set(timings)) == len(timings)


WRITER = """
import sys
from debater_search.indexing import add, delete
from debater_search.types import Document
from tests.fakes import FakeEncoder
for i in range(8):
    document = Document(f"n{i}", f"The wing new{i} of number {i}.", "New", {"year": 1000 + i})
    add(sys.argv[1], [document], encoder=FakeEncoder())
    delete(sys.argv[1], [f"d{50 + i}"])
"""


def test_threads_see_whole_changes_while_another_process_writes(folder: Path) -> None:
    """Generation 2i + 1 holds n0 … ni and lacks d50 … d(50 + i - 1); generation 2i + 2 lacks d(50 + i) too."""
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def ask(number: int) -> set[int]:
        seen, round = [], 0
        while round < 3 or (writer.poll() is None and round < 2000):
            mode, own = MODES[round % 3], f"unique{number}."
            where = "year < 1e6" if round % 2 else None
            answer = engine.answer(f"the wing number {own}", 100, mode=mode, where=where)
            adds, deletes = (answer.generation + 1) // 2, answer.generation // 2
            ids = [hit.id for hit in answer.hits]
            expected = {f"d{i}" for i in range(60) if not 50 <= i < 50 + deletes} | {f"n{i}" for i in range(adds)}
            assert len(ids) == len(set(ids))
            assert set(ids) == expected
            assert mode != "lexical" or ids[0] == f"d{number}"
            assert engine.answer(Like(f"d{number}"), 3).hits
            seen.append(answer.generation)
            round += 1
        assert seen == sorted(seen)
        return set(seen)

    generations = together(*(lambda number=number: ask(number) for number in range(THREADS)))  # type: ignore[misc]
    _, errors = writer.communicate(timeout=120)
    assert writer.returncode == 0, errors
    assert set.union(*generations) > {0} or 16 in set.union(*generations)
    assert engine.answer("wing").generation == 16


def test_the_model_is_loaded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import debater_search.encoder

    calls: list[None] = []
    load = staticmethod(slowly(lambda model, **_: FakeEncoder(model), calls))
    monkeypatch.setattr(debater_search.encoder, "Encoder", type("Loader", (), {"load": load}))
    engine = SearchEngine.open(folder)
    hits = together(*[lambda: engine.search("number 7 unique7. title", 1)] * THREADS)
    assert [found[0].id for found in hits] == ["d7"] * THREADS
    assert len(calls) == 1


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_model_encodes_in_many_threads_what_it_encodes_alone(
    tiny_model: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    from debater_search.encoder import Encoder

    build(CORPUS, Encoder.load(tiny_model(family), device="cpu"), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i")
    queries = [f"wing number {i} {'flow ' * (i % 40)}" for i in range(80)]
    alone = [engine.search(query, 5) for query in queries]
    with ThreadPoolExecutor(THREADS) as pool:
        for hits, expected in zip(pool.map(lambda query: engine.search(query, 5), queries), alone, strict=True):
            scores = {hit.id: hit.score for hit in hits}
            assert scores == pytest.approx({hit.id: hit.score for hit in expected}, abs=1e-6)


def test_vectors_and_selections_are_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from debater_search.vectors.faiss import FaissBackend

    opened: list[None] = []
    looked_up: list[None] = []
    monkeypatch.setattr(FaissBackend, "open", slowly(FaissBackend.open, opened))
    monkeypatch.setattr("debater_search.search.restrictions.allowed", slowly(allowed, looked_up))
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    hits = together(*[lambda: engine.search("wing", 60, where="year < 3")] * THREADS)
    assert [{hit.id for hit in found} for found in hits] == [{"d0", "d1", "d2"}] * THREADS
    assert len(opened) == len(looked_up) == 1


def test_a_commit_is_opened_by_one_thread_while_the_others_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    assert engine.answer("wing").generation == 0
    monkeypatch.setattr("debater_search.indexing.change.settle", lambda path: None)  # the rows before are still there
    add(folder, [Document("new", "A wing.")], encoder=FakeEncoder())
    opening, opened = threading.Event(), threading.Event()
    real, calls = Snapshot.open, []

    def slow(*arguments: Any) -> Snapshot:
        calls.append(None)
        opening.set()
        assert opened.wait(timeout=30)
        return real(*arguments)

    monkeypatch.setattr(Snapshot, "open", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(engine.answer, "wing")
        assert opening.wait(timeout=30)
        assert [engine.answer("wing", mode=mode).generation for mode in MODES] == [0, 0, 0]
        opened.set()
        assert first.result(timeout=30).generation == 1
    assert engine.answer("wing").generation == 1
    assert len(calls) == 1


def test_vectors_of_a_new_state_are_open_before_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    engine.search("wing")
    delete(folder, ["d0"])
    engine.search("wing", mode="lexical")
    assert "vectors" in vars(engine._snapshot)
    engine = SearchEngine.open(folder)
    delete(folder, ["d1"])
    engine.search("wing", mode="lexical")
    assert "vectors" not in vars(engine._snapshot)  # of no use to words


@pytest.mark.parametrize("mode", MODES)
def test_changes_while_the_model_is_loaded_do_not_end_a_search(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    add(folder, [Document("new", "A wing.")], encoder=FakeEncoder())  # whose vectors the next commit but one removes

    def load(model: str, **_: Any) -> FakeEncoder:
        for id in ("newer", "newest"):
            add(folder, [Document(id, "A wing.")], encoder=FakeEncoder())
        return FakeEncoder(model)

    monkeypatch.setattr("debater_search.encoder.Encoder.load", load)
    engine = SearchEngine.open(folder)
    if mode != "lexical":
        engine.warm_up()
    assert {"newer", "newest"} <= {hit.id for hit in engine.search("wing", 100, mode=mode)} or mode == "lexical"


def test_a_thread_whose_state_is_gone_waits_for_the_new_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old state fails once it has been changed, as if a writer had removed its files."""
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    old, real = engine.documents, DocumentStore.read
    delete(folder, ["d0"])
    monkeypatch.setattr(Snapshot, "open", slowly(Snapshot.open, []))

    def read(store: DocumentStore, positions: list[int]) -> list[Document]:
        if store is old:
            raise DebaterError("Its file is gone.")
        return real(store, positions)

    monkeypatch.setattr(DocumentStore, "read", read)
    answers = together(*[lambda: engine.answer("wing", 100)] * THREADS)
    assert {answer.generation for answer in answers} == {1}


def test_an_error_while_the_model_loads_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import debater_search.encoder

    def fail(model: str, device: str = "auto") -> FakeEncoder:
        raise DebaterError("It is not there.")

    monkeypatch.setattr(debater_search.encoder, "Encoder", type("Loader", (), {"load": staticmethod(fail)}))
    engine = SearchEngine.open(folder)
    with pytest.raises(DebaterError, match="cannot be loaded"):
        engine.search("wing")
    monkeypatch.setattr(debater_search.encoder.Encoder, "load", lambda model, **_: FakeEncoder(model))
    assert engine.search("wing")


def test_the_last_filters_are_cached_and_no_more(folder: Path) -> None:
    documents = SearchEngine.open(folder).documents
    restrictions = Restrictions(documents)
    filters = [f"year = {i}" for i in range(CACHED_FILTERS + 2)]
    cached = [restrictions.get(where) for where in filters[:CACHED_FILTERS]]
    assert restrictions.get(filters[0]) is cached[0]  # just used: it stays
    assert restrictions.get(filters[-1]).tree != restrictions.get(filters[-2]).tree
    assert [restrictions.get(filters[i]) is cached[i] for i in (0, 3, 4, 1, 2)] == [True, True, True, False, False]


def test_filters_that_hold_many_positions_leave_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import debater_search.search.restrictions as module

    monkeypatch.setattr(module, "CACHED_POSITIONS", 100)
    restrictions = Restrictions(SearchEngine.open(folder).documents)
    wide = restrictions.get("year >= 0")
    assert len(wide.selection.positions) == 60
    assert restrictions.get("year >= 0") is wide
    other = restrictions.get("year < 1000")
    assert len(other.selection.positions) == 60
    restrictions.get("year = 1")
    assert restrictions.get("year < 1000") is other
    assert restrictions.get("year >= 0") is not wide


def test_true_and_one_are_different_filters(tmp_path: Path) -> None:
    corpus = [Document("a", "x", metadata={"open": True}), Document("b", "x", metadata={"open": 1})]
    build(corpus, None, tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i")
    for where, id in [("open = true", "a"), ("open = 1", "b"), ("open = true", "a")]:
        assert [hit.id for hit in engine.search("x", mode="lexical", where=where)] == [id]
