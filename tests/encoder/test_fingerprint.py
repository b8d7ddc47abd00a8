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
from debater_search.errors import DebaterError
from debater_search.files import sha256_file
from debater_search.indexing import add, build
from debater_search.search import SearchEngine
from debater_search.types import Document


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


# What the files beside the weights say


@pytest.fixture
def folder(tiny_model: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model("bert"), tmp_path / "model"))


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text(encoding="utf-8"))
    change(values)
    file.write_text(json.dumps(values, indent=1), encoding="utf-8")


def swap_letters(tokenizer: dict[str, Any]) -> None:
    words = tokenizer["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "an activation": ("config.json", lambda config: config.update(hidden_act="relu")),
    "an epsilon": ("config.json", lambda config: config.update(layer_norm_eps=0.5)),
    "other heads": ("config.json", lambda config: config.update(num_attention_heads=2)),
    "token ids": ("tokenizer.json", swap_letters),
    "upper case": ("tokenizer.json", lambda tokenizer: tokenizer["normalizer"].update(lowercase=False)),
    "no accents": ("tokenizer.json", lambda tokenizer: tokenizer.update(normalizer=None)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_follows_tokenizer_and_settings(folder: Path, change: str) -> None:
    before = Encoder.load(folder, device="cpu")
    name, edit = CHANGES[change]
    rewrite(folder / name, edit)
    after = Encoder.load(folder, device="cpu")
    text = ["The BAD cab: àé"]
    assert abs(before.encode_documents(text) - after.encode_documents(text)).max() > 1e-4
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"transformers_version": "9", "dtype": "float16", "_name_or_path": "x", "use_cache": False}),
        ("config.json", {"hidden_dropout_prob": 0.3, "architectures": ["BertForMaskedLM"], "id2label": {"0": "x"}}),
        ("tokenizer.json", {"padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
                                        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}}),
        ("tokenizer.json", {}),  # written again, with other blanks
    ],
)  # fmt: skip
def test_the_fingerprint_stays_where_vectors_do(folder: Path, name: str, values: dict[str, Any]) -> None:
    before = Encoder.load(folder, device="cpu")
    rewrite(folder / name, lambda settings: settings.update(values))
    after = Encoder.load(folder, device="cpu")
    assert abs(before.encode_documents(["wing"]) - after.encode_documents(["wing"])).max() < 1e-6
    assert before.fingerprint == after.fingerprint


def test_an_adapter_whose_modules_are_named_in_another_order_is_the_same(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(minicpm_adapter, tmp_path / "adapter"))
    rewrite(folder / "adapter_config.json", lambda config: config["target_modules"].reverse())
    before, after = (Encoder.load(f, base_model=minicpm_base, device="cpu") for f in (minicpm_adapter, folder))
    assert before.fingerprint == after.fingerprint


def test_an_index_that_names_a_fingerprint_of_before_opens_with_its_model_and_no_other(
    folder: Path, tmp_path: Path
) -> None:
    encoder, corpus = Encoder.load(folder, device="cpu"), [Document("a", "wing"), Document("b", "heat")]
    index = build(corpus, encoder, tmp_path / "index").folder
    for manifest in (index / "manifest.json", index / "embeddings" / "manifest.json"):
        rewrite(manifest, lambda values: values["encoder"].update(fingerprint=encoder.former_fingerprints[0]))
    assert SearchEngine.open(index).search("wing")[0].id == "a"
    assert build(corpus, encoder, tmp_path / "again", embeddings=index).reused == 2
    add(index, [Document("c", "flutter")])
    assert len(SearchEngine.open(index, encoder=encoder).search("flutter")) == 3
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DebaterError, match="was made by"):
        SearchEngine.open(index).search("wing")
