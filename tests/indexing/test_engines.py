"""Encoding tasks are plain data, and engines are a table."""

import json
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from debater_search.errors import InvalidError, UnavailableError
from debater_search.indexing import build, check_build, check_encode_to
from debater_search.indexing.engines import ENGINES, find_engine, here, pool
from debater_search.indexing.tasks import EncodedShard, EncodingTask, execute, tasks_of
from debater_search.progress import Progress
from debater_search.store.embeddings import EmbeddingStore
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()


def test_a_task_survives_json() -> None:
    tasks = list(tasks_of(CORPUS, 10))
    assert [task.number for task in tasks] == [0, 1, 2]
    assert [len(task) for task in tasks] == [10, 10, 5]
    assert tasks[2].texts == [document.content for document in CORPUS[20:]]
    assert [EncodingTask(**json.loads(json.dumps(task.as_json()))) for task in tasks] == tasks


def test_local_is_this_process_for_one_worker_and_a_pool_for_several() -> None:
    assert find_engine("local", 1) is here.run
    assert find_engine("local", 2) is find_engine("pool", 1) is pool.run


def test_an_engine_that_there_is_not_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no encoding engine 'moon'"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", engine="moon")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_ray_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match="ray is not installed") as caught:
        check_build(tmp_path / "i", engine="ray")
    assert "debater-search[ray]" in str(caught.value.hint)
    with pytest.raises(UnavailableError, match="ray is not installed"):
        check_encode_to(f"file://{tmp_path}/store", engine="ray")
    assert list(tmp_path.iterdir()) == []


def test_a_line_in_the_table_makes_an_engine_that_builds_the_same_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It executes tasks in any order, from nothing but JSON."""

    def run(
        tasks: Iterator[EncodingTask], encoder: Any, writer: Any, *, batch_tokens: int | None, **_: Any
    ) -> Generator[EncodedShard]:
        sent = [json.dumps(task.as_json()) for task in tasks]
        silent = Progress("Encoding", None, "documents", enabled=False)
        for line in reversed(sent):
            task = EncodingTask(**json.loads(line))
            yield from (done.result() for done in execute([task], encoder, writer, batch_tokens, silent))

    monkeypatch.setitem(sys.modules, "elsewhere", SimpleNamespace(run=run))
    monkeypatch.setitem(ENGINES, "elsewhere", "elsewhere:run")
    build(CORPUS, FakeEncoder(), tmp_path / "there", shard_size=10, engine="elsewhere", all_steps=True)
    build(CORPUS, FakeEncoder(), tmp_path / "here", shard_size=10, all_steps=True)
    there, local = (EmbeddingStore.open(tmp_path / name / "embeddings") for name in ("there", "here"))
    assert there.manifest == local.manifest
    np.testing.assert_array_equal(np.concatenate(list(there.steps())), np.concatenate(list(local.steps())))
