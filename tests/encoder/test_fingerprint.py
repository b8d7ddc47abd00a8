"""Hashes of weight files are remembered only while a file cannot have changed; what a fingerprint follows."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.encoder import Encoder, fingerprint
from debater_search.encoder.fingerprint import weights_sha256
from debater_search.files import sha256_file


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file large enough to be remembered, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    path.write_bytes(os.urandom(fingerprint._LARGE))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to be hashed."""
    read: list[Path] = []

    def count(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr(fingerprint, "sha256_file", count)
    return read


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute has gone by since the files were written."""
    now = time.time
    monkeypatch.setattr("debater_search.encoder.fingerprint.time.time", lambda: now() + 60)


def test_a_settled_file_is_read_once(weights: Path, hashed: list[Path], settled: None) -> None:
    assert weights_sha256(weights) == weights_sha256(weights) == sha256_file(weights)
    os.symlink(weights, weights.with_name("link"))
    assert weights_sha256(weights.with_name("link")) == sha256_file(weights)
    assert hashed == [weights]


def test_a_file_that_has_just_been_written_is_read_each_time(weights: Path, hashed: list[Path]) -> None:
    assert weights_sha256(weights) == weights_sha256(weights)
    assert len(hashed) == 2


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))


def keep_time(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    flip(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [flip, keep_time, replace])
def test_a_changed_file_is_read_again_whatever_its_times_say(
    weights: Path, settled: None, change: Callable[[Path], None]
) -> None:
    before = weights_sha256(weights)
    change(weights)
    assert weights_sha256(weights) == sha256_file(weights) != before


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"sha256": 1}', '{"sha256": "' + "0" * 64 + '"}'])
def test_what_is_no_memory_of_this_file_is_not_believed(weights: Path, settled: None, content: str) -> None:
    true = weights_sha256(weights)
    (entry,) = (weights.parent / "cache" / "debater" / "hashes").iterdir()
    entry.write_text(content, encoding="utf-8")
    assert weights_sha256(weights) == true
    assert json.loads(entry.read_text(encoding="utf-8"))["sha256"] == true


def test_where_nothing_can_be_remembered_the_file_is_read(
    weights: Path, hashed: list[Path], settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.with_name("cache").write_text("a file in its place", encoding="utf-8")
    monkeypatch.setattr("debater_search.cache.tempfile.gettempdir", lambda: str(weights.with_name("cache")))
    assert weights_sha256(weights) == weights_sha256(weights) == sha256_file(weights)
    assert hashed == [weights, weights]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    weights: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_change(path: Path) -> str:
        found = sha256_file(path)
        flip(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "sha256_file", read_and_change)
        weights_sha256(weights)
    assert weights_sha256(weights) == sha256_file(weights)


def test_the_fingerprint_follows_a_file_that_changed_between_two_loads(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, settled: None, tmp_path: Path
) -> None:
    import shutil

    monkeypatch.setattr(fingerprint, "_LARGE", 1)
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))
    before = Encoder.load(folder, device="cpu").fingerprint
    assert Encoder.load(folder, device="cpu").fingerprint == before
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert Encoder.load(folder, device="cpu").fingerprint != before


@pytest.mark.parametrize("change", [{"lora_alpha": 3}, {"alpha_pattern": {"q_proj": 3}}, {"use_rslora": True}])
def test_the_fingerprint_follows_what_multiplies_an_adapter_beside_its_weights(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "scaled"
    shutil.copytree(minicpm_adapter, folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | change))
    before, after = (Encoder.load(f, base_model=minicpm_base, device="cpu") for f in (minicpm_adapter, folder))
    assert abs(before.encode_documents(["wing"]) - after.encode_documents(["wing"])).max() > 1e-6
    assert before.fingerprint != after.fingerprint
