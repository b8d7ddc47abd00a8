"""The campaigns themselves: a few seconds of each find nothing, and a second run goes on where the first ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.trials import read_results

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kills", "training", "damage", "fuzz", "concurrency"])
def test_a_campaign_runs_without_failures_and_goes_on(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.campaign", name, "--seconds", "5", "--results", str(tmp_path)]
    found = []
    for _ in range(2):
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=ROOT, env=alone, check=True, stdout=subprocess.DEVNULL)
        found.append(read_results(tmp_path / f"{name}.jsonl"))
    assert [line["trial"] for line in found[1]] == list(range(len(found[1])))
    assert found[1][: len(found[0])] == found[0]
    assert len(found[1]) > len(found[0])


def test_a_line_that_a_kill_cut_off_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"trial": 0, "inputs": 3}\n{"trial": 1, "inp')
    assert read_results(tmp_path / "x.jsonl") == [{"trial": 0, "inputs": 3}]
