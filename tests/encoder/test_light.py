"""Queries without torch: as `Encoder` encodes them, for models that it is made for and for no others."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.encoder import Encoder
from debater_search.encoder.light import load_light
from debater_search.encoder.speed.tricks import OFF
from debater_search.identity import EncoderInfo
from debater_search.training.adapter import make_trainable
from debater_search.training.sections import Lora
from debater_search.training.student import Student

QUERIES = ["lift of a wing", "", "drag " * 40, "Ångström 漢字 🛩", "a\ud800b"]


@pytest.fixture
def start(tiny_model: Callable[..., Path]) -> Encoder:
    return Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=4)


def assert_same_queries(folder: Path, **recipe: Any) -> None:
    encoder = Encoder.load(folder, device="cpu", **recipe)
    light = load_light(EncoderInfo.of(encoder))
    assert light is not None
    for instruction in (None, "", "find what answers"):
        wanted = encoder.encode_queries(QUERIES, instruction=instruction)
        found = light.encode_queries(QUERIES, instruction=instruction)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("int8", [False, True])
def test_queries_are_those_of_the_encoder(
    tiny_model: Callable[..., Path], tmp_path: Path, pooling: str, int8: bool
) -> None:
    Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=3, pooling=pooling).save(tmp_path / "m", int8=int8)
    assert_same_queries(tmp_path / "m")


@pytest.mark.parametrize("recipe", [{"thinking_steps": 2}, {"max_length": 20}, {"dim": 8}])
def test_what_an_index_records_of_a_model_is_followed(start: Encoder, tmp_path: Path, recipe: dict[str, Any]) -> None:
    start.save(tmp_path / "m")
    assert_same_queries(tmp_path / "m", **recipe)


def test_the_default_model_is_one_of_them() -> None:
    light = load_light(EncoderInfo.of(encoder := Encoder.load("debater-small", device="cpu")))
    assert light is not None
    queries = ["how do wings stall at low speed", "boundary layer " * 80]
    np.testing.assert_allclose(light.encode_queries(queries), encoder.encode_queries(queries), atol=2e-6)


def test_no_queries_are_no_vectors(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "m")
    light = load_light(EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu")))
    assert light is not None
    assert light.encode_queries([]).shape == (0, 32)


def test_an_instruction_that_leaves_no_room_is_told(
    start: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start.save(tmp_path / "m")
    light = load_light(EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu")))
    assert light is not None
    light.encode_queries(["wing"], instruction="so many words " * 30)
    assert "the query itself is not read" in caplog.text


def test_another_model_is_left_to_the_encoder(start: Encoder, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    make_trainable(student := Student(start), Lora(r=2, dropout=0.0), gradient_checkpointing=False)
    student.save(tmp_path / "adapter")
    for model in (tiny_model("bert"), tmp_path / "adapter"):
        assert load_light(EncoderInfo.of(Encoder.load(model, device="cpu"))) is None
    Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=2).save(tmp_path / "decoder")
    assert load_light(EncoderInfo.of(Encoder.load(tmp_path / "decoder", device="cpu"))) is None


@pytest.mark.parametrize(
    "setting", [{"hidden_act": "relu"}, {"is_decoder": True}, {"position_embedding_type": "relative_key"}]
)
def test_another_kind_of_bert_is_left_to_the_encoder(start: Encoder, tmp_path: Path, setting: dict[str, Any]) -> None:
    start.save(tmp_path / "m")
    info = EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu"))
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | setting))
    assert load_light(info.model_copy(update={"fingerprint": "any"})) is None
    assert load_light(info) is None


def test_a_model_that_changed_or_is_damaged_or_gone_is_left_to_the_encoder(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "m")
    info = EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu"))
    weights = tmp_path / "m" / "model.safetensors"
    content = weights.read_bytes()
    for changed in (content[:-4] + b"\0\0\0\1", content[:-4], b""):
        weights.write_bytes(changed)
        assert load_light(info) is None
    weights.unlink()
    assert load_light(info) is None
    assert load_light(info.model_copy(update={"recipe": {"model": "owner/name"}})) is None
    assert load_light(info.model_copy(update={"recipe": {"model": str(tmp_path / "gone")}})) is None


def test_it_can_be_turned_off(start: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start.save(tmp_path / "m")
    info = EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu"))
    assert load_light(info) is not None
    monkeypatch.setenv(OFF, "light")
    assert load_light(info) is None


def test_it_imports_no_torch() -> None:
    code = (
        "import sys, debater_search.encoder.light; assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
