"""An index that tests may change: 25 documents in three shards, every thinking step stored."""

import shutil
from pathlib import Path

import pytest

from debater_search.indexing import build
from tests.fakes import FakeEncoder
from tests.indexing.changed_index import CORPUS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CORPUS, FakeEncoder(), tmp_path_factory.mktemp("built") / "i", shard_size=10, all_steps=True).folder


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "i"))
