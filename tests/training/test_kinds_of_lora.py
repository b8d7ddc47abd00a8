"""rsLoRA, DoRA and LoRA on weights of 4 bits."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from debater_search.encoder import Encoder
from debater_search.encoder.loading import backbone as loading
from debater_search.encoder.loading import four_bits
from debater_search.errors import DebaterError, InvalidError, UnavailableError
from debater_search.training import plan, train
from debater_search.training.adapter import make_trainable
from debater_search.training.checks import require_libraries
from debater_search.training.memory import FOUR_BITS
from debater_search.training.sections import Lora
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from debater_search.training.student import Student


def student(folder: Path, **lora: Any) -> Student:
    made = Student(Encoder.load(folder, device="cpu", merged=False))
    make_trainable(made, Lora(r=4, alpha=8, **lora), gradient_checkpointing=False)
    return made


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2"])
@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_what_they_learned_is_what_they_encode_once_it_is_merged(
    tiny_model: Callable[..., Path], tmp_path: Path, family: str, kind: str
) -> None:
    made = student(tiny_model(family), **{kind: True})
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))
    with made.measured():
        wanted = made.encode_documents(["lift", "drag and flow"])
    made.save(tmp_path)
    for merged in (True, False):
        loaded = Encoder.load(tmp_path, device="cpu", merged=merged)
        assert np.allclose(loaded.encode_documents(["lift", "drag and flow"]), wanted, atol=1e-5)
    plain = student(tiny_model(family))
    scales = [
        {s for m in s_.model.modules() if hasattr(m, "lora_A") for s in m.scaling.values()} for s_ in (made, plain)
    ]
    assert scales == ([{4.0}, {2.0}] if kind == "rslora" else [{2.0}, {2.0}])
    assert any("magnitude" in name for name, _ in made.model.named_parameters()) == (kind == "dora")


def test_a_run_with_dora_resumes_exactly(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    lora = {"r": 2, "alpha": 4, "dora": True, "rslora": True, "targets": ["query"]}
    settings = config(lora=lora, thinking_steps=1, max_steps=2, save_steps=1, batch_size=4)
    whole = train(settings, output=tmp_path / "whole")
    (tmp_path / "whole" / "checkpoint-1").rename(tmp_path / "kept")
    (tmp_path / "again").mkdir()
    (tmp_path / "kept").rename(tmp_path / "again" / "checkpoint-1")
    again = train(settings, output=tmp_path / "again", resume=True)
    assert (whole / "adapter_model.safetensors").read_bytes() == (again / "adapter_model.safetensors").read_bytes()


def test_an_adapter_of_another_kind_is_trained_on_as_it_is(
    tiny_model: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    student(tiny_model("llama"), dora=True).save(tmp_path)
    student(tmp_path)
    assert "with dora True, not what lora asks for" in caplog.text


@pytest.mark.parametrize("more", [{"lora": None}, {"parallel": "fsdp"}])
def test_four_bits_that_cannot_learn_or_be_shared_are_refused(
    config: Callable[..., TrainingSettings], more: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="quantize"):
        config(quantize="4bit", **more)


def test_four_bits_without_their_library_or_a_card_are_refused(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(quantize="4bit")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UnavailableError, match="bitsandbytes"):
        require_libraries(settings)
    with pytest.raises(UnavailableError, match="need an NVIDIA GPU, and the model is on cpu"):
        load_start(settings, "cpu")


@pytest.mark.parametrize("more", [{"quantize": "4bit"}, {"quantize": "3bit", "merged": False}])
def test_what_is_no_quantization_is_refused(tiny_model: Callable[..., Path], more: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Encoder.load(tiny_model("bert"), device="cpu", **more)


def test_on_a_card_weights_are_read_in_four_bits(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    four_bits.require_quantization("4bit", torch.device("cuda", 0), merged=False)
    asked: dict[str, Any] = {}

    class Read(Exception):  # noqa: N818
        pass

    def read(*_: Any, **arguments: Any) -> None:
        asked.update(arguments)
        raise Read

    monkeypatch.setattr("transformers.utils.quantization_config.BitsAndBytesConfig.post_init", lambda self: None)
    monkeypatch.setattr(loading.AutoModel, "from_pretrained", read)
    card, half = torch.device("cuda", 0), torch.bfloat16
    with pytest.raises(DebaterError):
        loading.load_backbone(tiny_model("llama"), dtype=half, attention="eager", device=card, quantize="4bit")
    assert asked["device_map"] == {"": card}
    assert asked["quantization_config"].bnb_4bit_quant_type == "nf4"
    assert asked["quantization_config"].bnb_4bit_compute_dtype == half


@pytest.mark.parametrize("targets", [None, ["q_proj"]])
def test_a_dry_run_counts_half_a_byte_for_each_weight_of_all_linear_layers(
    config: Callable[..., TrainingSettings], targets: list[str] | None
) -> None:
    lora = {"r": 4, "targets": targets}
    memory = [
        plan(config("llama", quantize=kind, lora=lora), device="cpu").facts["memory_per_device"]
        for kind in (None, "4bit")
    ]
    layers = [m for m in load_start(config("llama"), "cpu").model.modules() if isinstance(m, torch.nn.Linear)]
    assert memory[0] - memory[1] == sum(round(m.weight.numel() * (4 - FOUR_BITS)) for m in layers)
