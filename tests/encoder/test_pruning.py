"""The pruned last layer: the same views and gradients as the whole one, for every family that is pruned."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from debater_search.encoder.families import is_causal, native_config
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import Reading
from debater_search.encoder.speed.pruning import LAYERS, prune_last_layer

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4,
         "vocab_size": 300, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 7},
    "gemma3_text": {"head_dim": 8, "sliding_window": 7},
    "gptj": {"rotary_dim": 8},
    "granite": {"residual_multiplier": 0.3},
    "minicpm3": {"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
                 "qk_rope_head_dim": 8, "v_head_dim": 8},
    "mistral": {"sliding_window": 7},
    "phi3": {"sliding_window": 7},
    "qwen3": {"head_dim": 8},
}  # fmt: skip
IDS = torch.randint(5, 300, (5, 40), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([40, 4, 17, 8, 40])
IDS[torch.arange(40) >= LENGTHS[:, None]] = 0


def random_model(family: str, attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    config = native_config({"model_type": family, "num_key_value_heads": 2, **SMALL, **OWN.get(family, {})})
    model = AutoModel.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def views_and_gradients(
    model: DeliberationModel, pooling: str, views: int, *, pruned: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    prunable, model._prunable = model._prunable, pruned
    thinking = 0 if model.causal or views == 1 else views
    found = model(IDS, LENGTHS, Reading(pooling, views, thinking))
    model._prunable = prunable
    (found * torch.randn(found.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return found.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_pruning_changes_nothing(model: DeliberationModel, pooling: str, views: int) -> None:
    whole, whole_gradients = views_and_gradients(model, pooling, views, pruned=False)
    pruned, pruned_gradients = views_and_gradients(model, pooling, views, pruned=True)
    assert pruned.shape == (5, views, 32)
    assert abs(pruned - whole).max() < 1e-5
    assert pruned_gradients.keys() == whole_gradients.keys()
    largest = max(gradient.abs().max() for gradient in whole_gradients.values())
    for name, gradient in whole_gradients.items():
        assert abs(pruned_gradients[name] - gradient).max() < 1e-5 * largest, name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", LAYERS)
def test_views_and_gradients_are_those_of_the_whole_layer(family: str, attention: str) -> None:
    if family == "gemma2" and attention == "sdpa":
        pytest.skip("its class has no SDPA")
    backbone = random_model(family, attention)
    model = DeliberationModel(backbone, causal=is_causal(backbone.config))
    assert model._prunable
    for pooling, views in (("last", 1), ("last", 3), ("cls", 1)):
        assert_pruning_changes_nothing(model, pooling, views)


@pytest.mark.parametrize("family", ["llama", "granite", "bert"])
def test_an_adapter_may_come_before_or_after_and_be_live_or_merged(family: str) -> None:
    settings = LoraConfig(target_modules="all-linear", r=4, init_lora_weights=False)
    adapted = get_peft_model(random_model(family), settings).eval()
    model = DeliberationModel(adapted, causal=is_causal(adapted.config))
    assert_pruning_changes_nothing(model, "last", 3)
    adapted.merge_adapter()
    adapted.requires_grad_(True)
    assert_pruning_changes_nothing(model, "last", 3)

    plain = random_model(family)
    model = DeliberationModel(plain, causal=is_causal(plain.config))
    model.backbone = get_peft_model(plain, settings).eval()  # as training does it
    assert_pruning_changes_nothing(model, "last", 3)


@pytest.mark.parametrize(("family", "feed_forward"), [("llama", "layers.1.mlp"), ("bert", "encoder.layer.1.output")])
def test_the_last_feed_forward_sees_the_pooled_positions_only(family: str, feed_forward: str) -> None:
    backbone = random_model(family)
    seen: list[int] = []
    module = backbone.get_submodule(feed_forward)
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    model = DeliberationModel(backbone, causal=is_causal(backbone.config))
    model(IDS, LENGTHS, Reading("last", 3))
    model(IDS, LENGTHS, Reading("mean"))
    assert seen == [3, 40]


def test_checkpointed_layers_are_computed_whole_in_training() -> None:
    backbone = random_model("llama")
    backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = DeliberationModel(backbone, causal=True).train()
    assert_pruning_changes_nothing(model, "last", 3)


def test_unknown_families_and_kernels_are_left_alone() -> None:
    backbone = random_model("llama")
    backbone.config._attn_implementation = "flash_attention_2"
    assert not prune_last_layer(backbone)
    assert not prune_last_layer(AutoModel.from_config(native_config({**SMALL, "model_type": "mpnet"})))
