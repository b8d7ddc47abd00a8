"""Memory while an index is built, each in a process of its own. `make test-slow`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from debater_search.vectors.faiss import TYPES

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "search.py"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("type", TYPES)
def test_building_takes_little_more_memory_than_the_index(type: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((1000, 384))[random.integers(0, 1000, 150_000)]
    rows = (rows + random.standard_normal(rows.shape)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    path = tmp_path / "index.faiss"
    command = [sys.executable, str(BENCHMARK), "--build", str(tmp_path / "rows.npy"), type, str(path)]
    built = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert built["peak"] < 1.3 * path.stat().st_size
