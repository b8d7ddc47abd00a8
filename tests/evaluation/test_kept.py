"""Embeddings of earlier evaluations are taken where they are the same, and encoded where they are not."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from debater_search.cache import UNUSED_SECONDS
from debater_search.evaluation import evaluate, evaluate_steps, opened
from debater_search.evaluation.kept import kept_size
from debater_search.store import corpus
from debater_search.types import Document, Qrels, Query
from tests.fakes import FakeEncoder, tiny_corpus


class Task:
    name, instruction, ignore_identical_ids = "tiny", None, False

    def __init__(self, documents: int = 25, word: str = "unique3") -> None:
        self.documents, self.word = documents, word

    def corpus(self, split: str = "test") -> Iterator[Document]:
        yield from tiny_corpus(self.documents)

    def queries(self, split: str = "test") -> list[Query]:
        return [Query("q1", f"aircraft {self.word}."), Query("q2", "series flies unique7.")]

    def qrels(self, split: str = "test") -> Qrels:
        return {"q1": {"d3": 1}, "q2": {"d7": 1}}


class CountingEncoder(FakeEncoder):
    trained_with_instructions = False

    @property
    def counts(self) -> tuple[int, int]:
        """Documents encoded, and calls for queries."""
        return self.encoded, len(self.instructions)


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "debater" / "evaluation").iterdir())


def test_a_second_evaluation_encodes_nothing_whatever_else_it_asks() -> None:
    encoder = CountingEncoder()
    first = evaluate(Task(), encoder)
    assert encoder.counts == (25, 1)
    again = evaluate(Task(), CountingEncoder())
    assert (again.metrics, again.run) == (first.metrics, first.run)
    evaluate(Task(), encoder, index_type="hnsw")
    evaluate(Task(), encoder, mode="hybrid")
    assert encoder.counts == (25, 1)
    evaluate(Task(word="unique4"), encoder)
    assert encoder.counts == (25, 2)
    evaluate(Task(), encoder, instruction="Find:")
    assert encoder.counts == (25, 3)
    evaluate(Task(), encoder, instruction=encoder.instruction)  # the default, named
    assert encoder.counts == (25, 3)


@pytest.mark.parametrize("evaluated_before", [False, True])
def test_the_corpus_is_read_once_and_one_database_is_written(
    monkeypatch: pytest.MonkeyPatch, cache: Path, evaluated_before: bool
) -> None:
    class Counted(Task):
        reads = 0

        def corpus(self, split: str = "test") -> Iterator[Document]:
            self.reads += 1
            yield from super().corpus(split)

    if evaluated_before:
        evaluate(Task(), CountingEncoder())
    written: list[Path] = []

    def write_documents(path: Path, *arguments: Any, **options: Any) -> Any:
        written.append(path)
        return corpus.write_documents(path, *arguments, **options)

    monkeypatch.setattr("debater_search.indexing.documents.write_documents", write_documents)
    task = Counted()
    evaluate(task, CountingEncoder())
    assert (task.reads, len(written)) == (1, 1)
    assert list((cache / "debater").rglob("*.sqlite")) == []


def test_another_corpus_or_model_is_encoded() -> None:
    evaluate(Task(), CountingEncoder())
    corpus, model = CountingEncoder(), CountingEncoder("other")
    evaluate(Task(26), corpus)
    evaluate(Task(), model)
    assert (corpus.counts, model.counts) == ((26, 0), (25, 1))
    coarse = CountingEncoder()
    coarse.dtype = "int8"
    evaluate(Task(), coarse)
    assert coarse.counts == (25, 1)


def test_all_thinking_steps_serve_evaluations_of_the_last_and_take_its_place(cache: Path) -> None:
    encoder = CountingEncoder()
    plain = evaluate(Task(), encoder)
    with opened(Task(), encoder, all_steps=True) as (engine, _):
        steps = evaluate_steps(Task(), engine)
    assert encoder.encoded == 50
    assert steps[-1] == pytest.approx(plain.metrics)
    assert evaluate(Task(), encoder).run == plain.run
    assert encoder.encoded == 50
    assert [entry.name.endswith("-steps") for entry in entries(cache) if entry.is_dir()] == [True]


def test_a_model_in_training_keeps_nothing(cache: Path) -> None:
    encoder = CountingEncoder()
    encoder.cacheable = False
    evaluate(Task(), encoder)
    assert evaluate(Task(), encoder).metrics
    assert encoder.counts == (50, 2)
    assert not (cache / "debater" / "evaluation").exists()


def test_what_a_killed_evaluation_encoded_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(CountingEncoder):
        def deliberate(self, texts, **options):  # type: ignore[no-untyped-def]
            if self.encoded >= 2000:
                raise KeyboardInterrupt
            return super().deliberate(texts, **options)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Task(2500), Killed())
    encoder = CountingEncoder()
    evaluate(Task(2500), encoder)
    assert 0 < encoder.encoded <= 1500


def test_a_full_cache_costs_no_evaluation(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("debater_search.evaluation.kept.np.save", full)
    assert evaluate(Task(), CountingEncoder()).metrics["ndcg@10"] > 0
    assert "are not kept in" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "archive"])
def test_damaged_vectors_of_queries_are_made_again(cache: Path, damage: str) -> None:
    first = evaluate(Task(), CountingEncoder())
    (vectors,) = (cache / "debater" / "evaluation").glob("*.npy")
    sound = vectors.read_bytes()
    flipped = bytes([*sound[:200], sound[200] ^ 64, *sound[201:]])
    damaged = {"empty": b"", "cut": sound[:-7], "flipped": flipped, "text": b"x", "archive": b"PK\x05\x06" + 18 * b"\0"}
    vectors.write_bytes(damaged[damage])
    encoder = CountingEncoder()
    assert evaluate(Task(), encoder).run == first.run
    assert encoder.counts == (0, 1)
    assert vectors.read_bytes() == sound


def test_a_damaged_entry_is_made_again(cache: Path) -> None:
    first = evaluate(Task(), CountingEncoder())
    (shard,) = (cache / "debater" / "evaluation").rglob("*.parquet")
    shard.write_bytes(b"not a shard")
    (vectors,) = (cache / "debater" / "evaluation").glob("*.npy")
    vectors.write_bytes(b"not vectors")
    encoder = CountingEncoder()
    assert evaluate(Task(), encoder).run == first.run
    assert encoder.counts == (25, 1)


def test_what_was_not_opened_for_a_month_goes_when_something_is_added(cache: Path) -> None:
    encoder = CountingEncoder()
    evaluate(Task(), encoder)
    old = entries(cache)
    long_ago = time.time() - UNUSED_SECONDS - 10
    for path in (cache / "debater" / "evaluation").rglob("*"):
        os.utime(path, (long_ago, long_ago))
    evaluate(Task(), encoder)  # opened: stays
    evaluate(Task(30), CountingEncoder("other"))
    assert set(old) <= set(entries(cache))
    for path in (cache / "debater" / "evaluation").rglob("*"):
        os.utime(path, (long_ago, long_ago))
    for path in old:
        os.utime(path, (long_ago, long_ago))
    evaluate(Task(35), CountingEncoder("third"))
    assert not set(old) & set(entries(cache))


def test_sizes_of_an_index_are_part_of_a_result(tmp_path: Path) -> None:
    dense = evaluate(Task(), CountingEncoder(), index_folder=tmp_path / "index")
    parts = {"documents": "documents.sqlite", "index": "vectors/index.faiss"}
    assert {name: dense.sizes[name] for name in parts} == {
        name: (tmp_path / "index" / file).stat().st_size for name, file in parts.items()
    }
    assert dense.sizes["embeddings"] == (tmp_path / "index/embeddings/shard-00000.parquet").stat().st_size
    assert evaluate(Task(), None, mode="lexical").sizes.keys() == {"documents"}
    folder, size = kept_size()
    assert folder.name == "evaluation"
    assert size > dense.sizes["embeddings"]
