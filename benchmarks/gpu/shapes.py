"""Models with random weights, made on the device in the shapes that matter; what they multiply; texts; time."""

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report import Setting
from torch import nn
from transformers import AutoModel, PreTrainedModel

from debater_search.encoder import Encoder
from debater_search.encoder.families import native_config
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.hub import Source
from debater_search.encoder.loading.layouts import plain_spec
from debater_search.encoder.loading.parts import Parts
from debater_search.encoder.loading.thinking import add_thinking_tokens
from debater_search.encoder.loading.tokenizer import load_tokenizer
from debater_search.encoder.speed.attention import FLASH, choose_attention
from debater_search.encoder.speed.hardware import choose_dtype
from debater_search.errors import InvalidError

BASE = Path(__file__).parents[2] / "tests" / "goldens" / "tiny_minicpm" / "base"
"""A config of MiniCPM's family and a tokenizer with its reserved tokens."""
MINICPM_2B = {
    "hidden_size": 2304, "num_hidden_layers": 40, "num_attention_heads": 36, "num_key_value_heads": 36,
    "intermediate_size": 5760, "vocab_size": 122753,
}  # fmt: skip
SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1156, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 16},
    "gemma3_text": {"head_dim": 16, "sliding_window": 16},
    "granite": {},
    "minicpm3": {
        "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
        "v_head_dim": 16,
    },
}  # fmt: skip
"""Decoders, and what their configs need beside `SMALL`."""


def body(values: dict[str, Any], device: str, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    """A model of these config values with random weights, the same at each call."""
    where, config = torch.device(device), native_config(values)
    kernel = attention if attention == "eager" else choose_attention(attention, config, where, dtype)
    torch.manual_seed(0)
    with quiet_transformers(), where:
        return AutoModel.from_config(config, dtype=dtype, attn_implementation=kernel).eval()


def decoder(
    setting: Setting, attention: str = "auto", *, steps: int = 1, sizes: dict[str, Any] | None = None
) -> Encoder:
    """An encoder of MiniCPM-2B's shape (or of other `sizes`; tiny where all is), in the number type of the device."""
    sizes = sizes or ({} if setting.tiny else MINICPM_2B)
    values = read_json(BASE / "config.json") | sizes
    backbone = body(values, setting.device, choose_dtype("auto", torch.device(setting.device)), attention)
    tokenizer = load_tokenizer(BASE)
    spec = plain_spec(BASE, tokenizer, backbone.config, "last")
    if steps > 1:
        spec = add_thinking_tokens(spec, steps, backbone, tokenizer, "minicpm")
    parts = Parts(
        backbone=backbone,
        tokenizer=tokenizer,
        spec=spec,
        weights=[],
        base=Source(BASE, "random"),
        tokenizer_folder=BASE,
    )
    return Encoder(parts, name="MiniCPM-2B's shape", recipe={"model": "random"}, device=torch.device(setting.device))


def kernels(setting: Setting) -> list[str]:
    """The kernels to compare: FlashAttention where it can read a decoder here."""
    found = ["sdpa"]
    try:
        config = native_config({"model_type": "llama", **SMALL})
        choose_attention(FLASH, config, torch.device(setting.device), torch.bfloat16)
    except InvalidError:
        return found
    return [*found, FLASH]


def multiplied(model: nn.Module, config: Any, lengths: list[int], passes: float = 1) -> float:
    """Floating-point operations of forward passes over sequences: weights but for embeddings, and causal attention.

    A backward pass through frozen weights to their inputs counts as one more pass, one to the weights as another.
    """
    weights = sum(p.numel() for name, p in model.named_parameters() if "embed" not in name)
    attention = 2 * config.num_hidden_layers * config.hidden_size * sum(length**2 for length in lengths)
    return passes * (2 * weights * sum(lengths) + attention)


def texts(count: int, seed: int = 0, words: tuple[int, int] = (8, 400)) -> list[str]:
    """Random words, as many texts of each order of magnitude of lengths."""
    chosen = random.Random(seed)
    known = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 9))) for _ in range(20_000)]
    low, high = words
    return [" ".join(chosen.choices(known, k=round(low * (high / low) ** chosen.random()))) for _ in range(count)]


def seconds(work: Callable[[], object], device: str, times: int = 1) -> float:
    """The median of the seconds that work takes."""
    took = []
    for _ in range(times):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> float | None:
    """GB that tensors took at most since `forget_peak`; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if device.startswith("cuda") else None
