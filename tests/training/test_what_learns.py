"""Which weights learn: what LoRA adapts, what an adapter has of its own, and what cannot be trained."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from debater_search.encoder import Encoder
from debater_search.errors import InvalidError
from debater_search.training import train
from debater_search.training.adapter import make_trainable
from debater_search.training.sections import Lora
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student


def student(folder: Path, lora: dict[str, Any] | None = None, *, checkpointing: bool = False, **more: Any) -> Student:
    """A model made trainable."""
    made = Student(Encoder.load(folder, device="cpu", merged=False, **more))
    make_trainable(made, Lora(**{"r": 2, **(lora or {})}), gradient_checkpointing=checkpointing)
    return made


def adapted(made: Student) -> set[str]:
    """Names of the layers that LoRA adapts."""
    return {name.removesuffix(".lora_A") for name, _ in made.model.named_modules() if name.endswith(".lora_A")}


def learning(made: Student) -> set[str]:
    return {name for name, parameter in made.model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_last_layers_of_a_decoder_can_be_adapted_alone(tiny_model: Callable[..., Path], family: str) -> None:
    layers = adapted(student(tiny_model(family), {"last_layers": 1}))
    assert layers
    assert all(".1." in name for name in layers)


def test_layers_of_gpt2_are_adapted_and_learn(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config("gpt2", max_steps=2, max_length={"query": 32, "document": 80}))
    weights = load_file(folder / "adapter_model.safetensors")
    learned = {name.split("h.")[1].split(".lora_B")[0] for name, tensor in weights.items() if "lora_B" in name}
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert learned == {f"{number}.{layer}" for number in (0, 1) for layer in layers}
    assert all(tensor.any() for tensor in weights.values())


@pytest.mark.parametrize("targets", [["q_proj"], ["self_attn.q_proj", "down_proj"], "all-linear", None])
def test_targets_choose_what_is_adapted(tiny_model: Callable[..., Path], targets: list[str] | str | None) -> None:
    found = {name.rpartition(".")[2] for name in adapted(student(tiny_model("llama"), {"targets": targets}))}
    every = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert found == ({name.rpartition(".")[2] for name in targets} if isinstance(targets, list) else every)


@pytest.mark.parametrize("target", ["embed_tokens", "query", "proj", ""])
def test_targets_that_the_model_lacks_are_refused_with_those_it_has(
    tiny_model: Callable[..., Path], target: str
) -> None:
    with pytest.raises(InvalidError, match=f"lora.targets names {target!r}") as told:
        student(tiny_model("llama"), {"targets": ["q_proj", target]})
    assert "down_proj, gate_proj" in told.value.hint


def test_no_targets_are_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(InvalidError, match="no linear layers"):
        student(tiny_model("llama"), {"targets": []})


def test_experts_that_stay_as_they_are_are_said(
    tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    made = student(tiny_model("qwen3_moe"))
    assert not any("experts" in name for name in learning(made))
    assert "The experts of this model stay as they are: LoRA adapts " in caplog.text
    caplog.clear()
    student(tiny_model("llama"))
    assert "experts" not in caplog.text


def test_activations_that_cannot_be_made_again_are_a_sentence(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(InvalidError, match="'mpnet' cannot make activations again"):
        student(tiny_model("mpnet"), checkpointing=True)


def test_activations_are_made_again_without_deprecated_names(tiny_model: Callable[..., Path]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*gradient_checkpointing_enable")
        made = student(tiny_model("llama"), checkpointing=True)
    assert any(getattr(module, "gradient_checkpointing", False) for module in made.model.modules())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_that_an_adapter_has_learns_in_float32(tiny_model: Callable[..., Path], tmp_path: Path, dtype: str) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    base = tiny_model("bert")
    settings = LoraConfig(
        r=2, target_modules=["query"], modules_to_save=["LayerNorm"], trainable_token_indices=[5], bias="lora_only"
    )
    get_peft_model(AutoModel.from_pretrained(base), settings).save_pretrained(tmp_path)
    made = student(tmp_path, base_model=base, dtype=dtype, pooling="mean")
    assert {p.dtype for p in made.model.parameters() if p.requires_grad} == {torch.float32}
    norms = [f"{norm}.LayerNorm.modules_to_save.default" for norm in ("attention.output", "output")]
    assert {name.partition("layer.0.")[2] for name in learning(made) if "layer.0." in name} == {
        "attention.self.query.base_layer.bias",
        "attention.self.query.lora_A.default.weight",
        "attention.self.query.lora_B.default.weight",
        *(f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")),
    }
    assert any("trainable_tokens" in name for name in learning(made))
    made.save(tmp_path / "saved")
    assert any("LayerNorm" in name for name in load_file(tmp_path / "saved" / "adapter_model.safetensors"))


def test_what_an_adapter_keeps_that_is_trained_on_is_said(
    tiny_model: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = student(tiny_model("bert"), {"last_layers": 1}, thinking_steps=2)
    start.save(tmp_path)
    assert "stay as they are" not in caplog.text
    student(tmp_path, {"targets": ["query"]})
    assert "The token embeddings of this adapter stay as they are" in caplog.text
    assert "last_layers 1, targets of its own, not what lora asks for" in caplog.text
    caplog.clear()
    again = student(tmp_path, {"last_layers": 1, "alpha": 32, "r": 2})
    assert not caplog.text
    assert not any("trainable_tokens" in name for name in learning(again))
