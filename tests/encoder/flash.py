"""A stand-in for the package flash-attn on a CPU: its functions' signatures and preconditions, computed in float32."""

import sys
from typing import Any

import pytest
import torch
import transformers.modeling_flash_attention_utils as flash_utils
from torch import Tensor

LARGEST_HEAD = 256


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers believe that FlashAttention 2 is installed and works on this device."""
    functions = (flash_attn_func, flash_attn_varlen_func, None, flash_utils._pad_input, flash_utils._unpad_input)
    monkeypatch.setattr(flash_utils, "_lazy_imports", lambda *_, **__: functions)
    monkeypatch.setattr(flash_utils, "_loaded_implementation", None)
    monkeypatch.setattr(flash_utils, "is_flash_attn_2_available", lambda **_: True)
    for check in ("general_availability_check", "pkg_availability_check"):
        monkeypatch.setitem(flash_utils.FLASH_ATTENTION_COMPATIBILITY_MATRIX[2], check, lambda: True)
    for name, module in list(sys.modules.items()):  # some import it only where the package is installed
        if name.startswith("transformers.models.") and ".modeling_" in name:
            monkeypatch.setattr(module, "_flash_attention_forward", flash_utils._flash_attention_forward, raising=False)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    **_: Any,
) -> Tensor:
    """Attention over [batch, tokens, heads, size], no padding."""
    rows = zip(q, k, v, strict=True)
    return torch.stack([_attend(*row, softmax_scale, causal, window_size, softcap) for row in rows])


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    **_: Any,
) -> Tensor:
    """Attention over sequences that lie end to end, [tokens, heads, size]."""
    for borders, longest, rows in ((cu_seqlens_q, max_seqlen_q, q), (cu_seqlens_k, max_seqlen_k, k)):
        assert borders.dtype == torch.int32
        assert borders[0] == 0
        assert borders[-1] == len(rows)
        assert borders.diff().max() <= longest
    parts = [rows.tensor_split(cu_seqlens_q[1:-1].tolist()) for rows in (q, k, v)]
    each = zip(*parts, strict=True)
    return torch.cat([_attend(*part, softmax_scale, causal, window_size, softcap) for part in each])


def _attend(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool, window: tuple[int, int], softcap: float
) -> Tensor:
    assert q.shape[-1] == k.shape[-1] == v.shape[-1] <= LARGEST_HEAD
    assert q.dtype == k.dtype == v.dtype
    k, v = (rows.repeat_interleave(q.shape[1] // k.shape[1], 1) for rows in (k, v))
    scores = torch.einsum("ihd,jhd->hij", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    back = torch.arange(len(k) - len(q), len(k))[:, None] - torch.arange(len(k))[None]
    hidden = (back < 0) if causal else torch.zeros_like(back, dtype=torch.bool)
    if window[0] >= 0:
        hidden = hidden | (back > window[0])
    if window[1] >= 0:
        hidden = hidden | (-back > window[1])
    return torch.einsum("hij,jhd->ihd", scores.masked_fill(hidden, float("-inf")).softmax(-1), v)
