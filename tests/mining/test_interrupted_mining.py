"""Mining that was killed, interrupted or finished, and is started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import BusyError, DebaterError
from debater_search.indexing import build
from debater_search.mining import MiningSettings, Summary, mine
from debater_search.mining import miner as miner_module
from debater_search.mining.questions import read_questions
from debater_search.search import SearchEngine
from tests.fakes import FakeEncoder
from tests.mining.wings import CORPUS, WORDS, mined, training_file

REPOSITORY = Path(__file__).parents[2]


def many_rows(path: Path, count: int) -> Path:
    rows = [{"query": f"{WORDS[n % 10]} {WORDS[n * 7 % 9]} filler{n}", "positive": f"stall {n}"} for n in range(count)]
    return training_file(path, *rows)


class StopsAfter(FakeEncoder):
    """Fails at a call of encode_queries."""

    calls = 0
    fatal = 0

    def encode_queries(self, texts: Any, **settings: Any) -> np.ndarray:
        self.calls += 1
        if self.calls == self.fatal:
            raise KeyboardInterrupt
        return super().encode_queries(texts, **settings)


def test_an_interrupted_run_goes_on_without_encoding_or_mining_anything_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_module, "BLOCK", 5)
    source = many_rows(tmp_path / "t.jsonl", 32)
    encoder = StopsAfter(dim=4096)
    build(CORPUS, encoder, tmp_path / "index")
    engine = SearchEngine.open(tmp_path / "index", encoder=encoder)
    whole, output = tmp_path / "whole.jsonl", tmp_path / "o.jsonl"
    mine(source, whole, engine=engine)
    encoder.encoded, encoder.fatal = 0, encoder.calls + 6
    with pytest.raises(KeyboardInterrupt):
        mine(source, output, engine=engine)
    assert not output.exists()
    calls_before = encoder.calls
    mine(source, output, engine=engine)
    assert output.read_bytes() == whole.read_bytes()
    assert (
        output.with_suffix(".md").read_text().replace("o.jsonl", "whole.jsonl") == whole.with_suffix(".md").read_text()
    )
    assert encoder.encoded == 32
    assert encoder.calls - calls_before < encoder.calls // 2
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from debater_search.mining import MiningSettings, mine, miner, work
miner.BLOCK = 5
commit, commits = work.write_manifest, []
def write_manifest(path, state):
    commits.append(path)
    if len(commits) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)   # the block's rows are written, and not committed
    commit(path, state)
work.write_manifest = write_manifest
mine("t.jsonl", Path("o.jsonl"), MiningSettings(mode="lexical", negatives=3, choice="random"), corpus="corpus.jsonl")
"""


def test_a_killed_run_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    many_rows(tmp_path / "t.jsonl", 32)
    training_file(tmp_path / "corpus.jsonl", *({"_id": d.id, "text": d.text} for d in CORPUS))

    def run(kill_at: int) -> int:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(kill_at)], cwd=tmp_path, env=environment, check=False
        ).returncode

    output = tmp_path / "o.jsonl"
    assert run(0) == 0
    whole, report = output.read_bytes(), output.with_suffix(".md").read_bytes()
    output.unlink()
    output.with_suffix(".md").unlink()
    for kill_at in (1, 2, 3):
        assert run(kill_at) == -signal.SIGKILL
        assert not output.exists()
    assert run(0) == 0
    assert output.read_bytes() == whole
    assert output.with_suffix(".md").read_bytes() == report
    assert len(mined(output)) == 32


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """A run for o.jsonl that stopped after its first block; call to run again with other settings."""
    monkeypatch.setattr(miner_module, "BLOCK", 5)
    source = many_rows(tmp_path / "t.jsonl", 32)
    build(CORPUS, None, tmp_path / "index")

    def run(**settings: Any) -> Summary:
        force = settings.pop("force", False)
        engine = SearchEngine.open(tmp_path / "index")
        given = MiningSettings(**{"mode": "lexical", **settings})
        return mine(source, tmp_path / "o.jsonl", given, engine=engine, force=force)

    with monkeypatch.context() as patch:
        searched: list[Any] = []
        mined_block = miner_module._mined

        def stop(*arguments: Any) -> Any:
            searched.append(arguments)
            if len(searched) == 2:
                raise KeyboardInterrupt
            return mined_block(*arguments)

        patch.setattr(miner_module, "_mined", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    return run


def test_unfinished_work_of_another_command_is_refused_and_replaced_by_force(
    tmp_path: Path, unfinished: Callable[..., Summary]
) -> None:
    with pytest.raises(DebaterError, match="another call \\(different: negatives, margin\\)"):
        unfinished(negatives=3, margin=1.0)
    assert unfinished(negatives=3, force=True).per_row.keys() <= {0, 1, 2, 3}
    assert len(mined(tmp_path / "o.jsonl")) == 32


@pytest.mark.parametrize("force", [False, True])
def test_a_second_process_waits_for_the_end_of_the_first_and_takes_nothing_of_its_work(
    tmp_path: Path, unfinished: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    def second(*arguments: Any) -> Any:
        if not refused:  # while the first is at work
            with pytest.raises(BusyError, match="is being written to by process"):
                unfinished(force=force)
            refused.append(True)
        return mined_block(*arguments)

    mined_block, refused = miner_module._mined, list[bool]()
    monkeypatch.setattr(miner_module, "_mined", second)
    assert unfinished().rows == 32
    assert refused
    assert len(mined(tmp_path / "o.jsonl")) == 32
    assert not (tmp_path / ".o.jsonl.mining").exists()


def test_an_output_that_was_finished_while_this_process_waited_is_not_replaced(
    tmp_path: Path, unfinished: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished()
    whole = (tmp_path / "o.jsonl").read_bytes()
    (tmp_path / "o.jsonl").unlink()

    def read(*arguments: Any) -> Any:
        (tmp_path / "o.jsonl").write_bytes(whole)  # another process ends
        return read_questions(*arguments)

    monkeypatch.setattr(miner_module, "read_questions", read)
    with pytest.raises(DebaterError, match="exists"):
        unfinished()
    assert (tmp_path / "o.jsonl").read_bytes() == whole


@pytest.mark.parametrize("damage", ["{", '{"schema_version": 99, "job": {}}'])
def test_a_damaged_state_is_a_sentence_and_force_starts_over(
    tmp_path: Path, unfinished: Callable[..., Summary], damage: str
) -> None:
    (tmp_path / ".o.jsonl.mining" / "state.json").write_text(damage)
    with pytest.raises(DebaterError, match=r"state\.json.*Start over with `force`"):
        unfinished()
    assert unfinished(force=True).rows == 32


def test_rows_that_were_lost_are_mined_again(tmp_path: Path, unfinished: Callable[..., Summary]) -> None:
    (tmp_path / ".o.jsonl.mining" / "rows.jsonl").write_text("{")
    assert unfinished().rows == 32
    assert len(mined(tmp_path / "o.jsonl")) == 32


def test_a_finished_output_is_replaced_only_by_force(tmp_path: Path, unfinished: Callable[..., Summary]) -> None:
    unfinished()
    before = (tmp_path / "o.jsonl").read_bytes()
    with pytest.raises(DebaterError, match="exists"):
        unfinished()
    assert (tmp_path / "o.jsonl").read_bytes() == before
    unfinished(negatives=1, force=True)
    assert all(len(row["negative"]) <= 1 for row in mined(tmp_path / "o.jsonl"))
