"""kill -9 at any moment of a change leaves the index before it or after it, and the same change finishes then."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from debater_search.indexing import verify
from debater_search.search import MODES, SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder
from tests.indexing.changes import CHANGES, SEQUENCE, build_and_change

QUERIES = ["number 7 unique7. title", "the wing", "flutter took", "another text"]
State = tuple[int, list[Document], Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_and_change(tmp_path_factory.mktemp("original") / "i")


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, Path(__file__).parent / "changes.py", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def state(index: Path) -> State:
    engine = SearchEngine.open(index, encoder=FakeEncoder())
    assert verify(index).sound
    found = engine.manifest.generation, list(engine.documents), answers(engine)
    engine.close()
    return found


def answers(engine: SearchEngine) -> Any:
    return [{q: list(hits) for q, hits in engine.search_batch(QUERIES, 100, mode=mode).items()} for mode in MODES]


def require_all_or_nothing(original: Path, tmp_path: Path, change: str, points: Sequence[int]) -> None:
    before = state(original)
    CHANGES[change](whole := Path(shutil.copytree(original, tmp_path / "whole")))
    after = state(whole)
    assert after != before
    place = tmp_path / "killed"
    assert start("KILL", original, place, change, *map(str, points)).wait(timeout=600) == 0
    killed = list(place.iterdir())
    assert len(killed) >= (len(points) or 20)
    seen = []
    for index in killed:
        seen.append(state(index))
        assert seen[-1] in (before, after), index.name
        CHANGES[change](index)
        assert state(index) == after, index.name
        # what the killed change left is gone, but for shards and the generation before, which readers may hold
        assert len(list(index.glob("documents*.sqlite"))) <= 2
        assert not list(index.rglob("*.tmp"))
    if not points:
        assert before in seen
        assert after in seen


@pytest.mark.parametrize(("change", "steps"), {"add": 150, "delete": 80, "update": 150, "compact": 120}.items())
def test_a_killed_change_leaves_the_state_before_or_after(
    original: Path, tmp_path: Path, change: str, steps: int
) -> None:
    require_all_or_nothing(original, tmp_path, change, points=random.sample(range(1, steps), 5))


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_killed_at_its_every_step_leaves_the_state_before_or_after(
    original: Path, tmp_path: Path, change: str
) -> None:
    require_all_or_nothing(original, tmp_path, change, points=())


@pytest.mark.slow
def test_readers_of_an_index_under_change_and_kills_see_committed_states_only(original: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(original, tmp_path / "states"))
    states = [state(index)]
    for name in SEQUENCE:
        CHANGES[name](index)
        states.append(state(index))
    expected = list(zip(*(found for _, _, found in states), strict=True))  # of each mode

    seen = []
    for number in range(20):
        index = Path(shutil.copytree(original, tmp_path / f"{number}"))
        engine = SearchEngine.open(index, encoder=FakeEncoder())
        process = start("RUN", index)
        assert process.stdout is not None
        assert process.stdout.readline() == b"changing\n"
        # by states and not by seconds, in which a busy machine may change nothing
        last = engine.manifest.generation + random.randint(0, 4)
        while process.poll() is None and engine.manifest.generation < last:
            for found, committed in zip(answers(engine), expected, strict=True):  # a change may come between modes
                assert found in committed
                seen.append(found)
            time.sleep(0.01)  # the change needs the processor, too
        time.sleep(random.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert state(index) in states
        CHANGES["update"](index)
        engine.close()
    assert len({str(found) for found in seen}) > 3  # it was read while it changed
