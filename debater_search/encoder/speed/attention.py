"""Which attention kernel a model gets, chosen once its config is known."""

import logging

import torch
from transformers import MODEL_MAPPING, PretrainedConfig
from transformers.utils import is_flash_attn_2_available

from debater_search.encoder.arguments import FLASH
from debater_search.encoder.families import is_causal
from debater_search.errors import InvalidError

log = logging.getLogger(__name__)

_LARGEST_HEAD = 256
"""What FlashAttention 2 takes."""

PACKED = (
    "gemma", "gemma2", "gemma3_text", "glm", "gpt_neox", "granite", "llama", "minicpm3", "mistral", "mixtral", "olmo2",
    "phi", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2",
)  # fmt: skip
"""Families that keep sequences apart when they are laid end to end: each is in the tests. Others are padded."""


def choose_attention(asked: str, config: PretrainedConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """The kernel for a model: the one asked for; for `auto` FlashAttention 2 where it can work, else None.

    None leaves the choice to transformers: PyTorch's SDPA where the model's class can, else eager (MPNet, Gemma 2).

    Raises InvalidError for a kernel that cannot read this model here.
    """
    why = _why_not(asked, config, device, dtype)
    if asked != "auto":
        if why is not None:
            raise InvalidError(f"The attention {asked} is not possible: {why}.", "Use attention auto.")
        return asked
    if why is None:
        return FLASH
    if device.type == "cuda" and is_flash_attn_2_available():
        log.info("FlashAttention is not used: %s.", why)
    return None


def _why_not(kernel: str, config: PretrainedConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """What keeps a kernel (`auto`: FlashAttention 2) from reading a model; None if nothing does."""
    family = config.model_type
    if kernel == "eager":
        return None
    if kernel == "sdpa":
        return None if _supports(config, "_supports_sdpa") else f"models of type {family!r} do not have it"
    if device.type != "cuda":
        return f"it needs an NVIDIA GPU, and the model is on {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it computes in bfloat16 and float16, not {str(dtype).removeprefix('torch.')}"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        return f"it needs compute capability 8.0, and this GPU has {capability[0]}.{capability[1]}"
    if not is_flash_attn_2_available():
        return "the package flash-attn (2.3.3 or newer) is not installed"
    if not is_causal(config):
        return "the model reads in both directions, by a mask that FlashAttention does not take"
    if not _supports(config, "_supports_flash_attn"):
        return f"models of type {family!r} do not have it"
    if (head := _head_size(config)) > _LARGEST_HEAD:
        return f"attention heads of {head} dimensions are above its {_LARGEST_HEAD}"
    return None


def _supports(config: PretrainedConfig, kernel: str) -> bool:
    classes = MODEL_MAPPING.get(type(config), ())
    return all(getattr(model, kernel, False) for model in (classes if isinstance(classes, tuple) else (classes,)))


def _head_size(config: PretrainedConfig) -> int:
    if low_rank := getattr(config, "qk_nope_head_dim", None):
        return int(low_rank + config.qk_rope_head_dim)
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
