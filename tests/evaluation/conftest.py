from pathlib import Path

import pytest

from tests.evaluation.flight import write_task


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "tasks" / "flight")


@pytest.fixture
def group(task: Path) -> Path:
    """A folder of three tasks."""
    for name in ("gliding", "soaring"):
        write_task(task.with_name(name))
    return task.parent


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "results"
