"""From token ids to views: the module that training wraps and encoding calls.

Shape letters: B sequences, L longest sequence, D hidden size, M views (thinking steps; 1 for the other poolings).
"""

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import normalize, pad
from transformers import DynamicCache, PreTrainedModel

from debater_search.encoder.spec import Reading
from debater_search.encoder.speed.attention import FLASH, PACKED
from debater_search.encoder.speed.pruning import POOLED_AT, prune_last_layer, rows
from debater_search.encoder.speed.tricks import is_on

WINDOWED = ("modernbert",)
"""Encoders some of whose layers see only the tokens near by: they take a mask for each kind of layer."""
SINGLE_POSITIONS = ("last", "cls")
"""Poolings that read the states of single tokens, not of all."""


class DeliberationModel(nn.Module):
    """A backbone read out at its pooled positions (Chain-of-Deliberation, arXiv 2502.12974, section 3)."""

    def __init__(self, backbone: PreTrainedModel, *, causal: bool, head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone: PreTrainedModel = backbone
        self.head = head
        """Layers behind the pooling (sentence-transformers)."""
        self.causal = causal
        self._prunable = prune_last_layer(backbone)
        flash = backbone.config._attn_implementation == FLASH
        self.packs = is_on("packing") and causal and flash and backbone.config.model_type in PACKED
        """Whether sequences can be laid end to end, without padding: FlashAttention takes their lengths."""

    def packs_read(self, reading: Reading) -> bool:
        """Whether sequences that are read so are laid end to end: only where single positions are read in one pass."""
        return self.packs and not reading.states and reading.pooling in SINGLE_POSITIONS

    def forward(self, ids: Tensor, lengths: Tensor, reading: Reading) -> Tensor:
        """Unnormalised views of right-padded sequences.

        Args:
            ids: token ids, int64 [B, L], right-padded.
            lengths: tokens in each row, int64 [B].
            reading: how the rows are read.

        Returns:
            float32 [B, M, D], M being `reading.views`.
        """
        mask, at = self._mask(ids, lengths, reading.thinking), pooled_positions(lengths, reading.pooling, reading.views)
        if reading.states:
            pooled = self._by_states(ids, lengths, reading.views)
        elif at is not None and self.packs_read(reading):
            pooled = self._packed(ids, lengths, at)
        elif at is not None and self._prunes():
            pooled = self.backbone(input_ids=ids, attention_mask=mask, **{POOLED_AT: at}).last_hidden_state
        else:
            hidden = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
            if at is not None:
                pooled = rows(hidden, at)
            elif reading.pooling in ("body", "residual"):
                pooled = body_mean(hidden, lengths - reading.thinking, reading.edges)
                if reading.pooling == "residual":
                    steps = rows(hidden, last_positions(lengths, reading.views)).float()
                    pooled = normalize(pooled, dim=-1) + reading.thinking_weight * normalize(steps, dim=-1)
            else:
                pooled = pool(hidden, lengths, reading.pooling)
        return self.head(pooled.float()) if self.head is not None else pooled.float()

    def _by_states(self, ids: Tensor, lengths: Tensor, views: int) -> Tensor:
        """Hidden states [B, M, D] of thinking steps that read the state of the step before: a pass for each.

        The text and the first thinking token are read at once; keys and values are kept from pass to pass.
        """
        kept = DynamicCache(config=self.backbone.config)
        read = lengths - (views - 1)
        width = ids.shape[1] - (views - 1)
        seen = torch.arange(width, device=ids.device) < read[:, None]
        hidden = self.backbone(
            input_ids=ids[:, :width], attention_mask=seen.long(), past_key_values=kept, use_cache=True
        ).last_hidden_state
        found = [rows(hidden, read[:, None] - 1)]
        table = self.backbone.get_input_embeddings().weight
        for step in range(views - 1):
            seen = pad(seen, (0, 1), value=True)
            hidden = self.backbone(
                inputs_embeds=found[-1].to(table.dtype), attention_mask=seen.long(),
                position_ids=(read + step)[:, None], past_key_values=kept, use_cache=True,
            ).last_hidden_state  # fmt: skip
            found.append(hidden)
        return torch.cat(found, 1)

    def _packed(self, ids: Tensor, lengths: Tensor, at: Tensor) -> Tensor:
        """Hidden states [B, M, D] at positions `at` of each row; nothing that the model multiplies is padding."""
        position = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        real = position < lengths[:, None]
        ends = lengths.cumsum(0)
        borders = pad(ends, (1, 0)).int()
        longest = ids.shape[1]  # an upper limit will do, and asking a GPU for the longest would wait for it
        hidden = self.backbone(
            input_ids=ids[real][None], position_ids=position[real][None],
            cu_seq_lens_q=borders, cu_seq_lens_k=borders, max_length_q=longest, max_length_k=longest,
        ).last_hidden_state[0]  # fmt: skip
        first = ends - lengths
        return hidden[first[:, None] + at]

    def _prunes(self) -> bool:
        """Whether the last layer may be entered twice.

        Not if its parameters are sharded (FSDP2: processes whose batches are pooled unlike each other fell out of step
        in the backward pass), and not in training if it is checkpointed (such layers take no cache).
        """
        if not self._prunable or isinstance(self, FSDPModule):
            return False
        modules = self.backbone.modules() if self.training else ()
        return not any(getattr(module, "gradient_checkpointing", False) for module in modules)

    def _mask(self, ids: Tensor, lengths: Tensor, thinking: int) -> Tensor | dict[str, Tensor] | None:
        if self.causal:
            return None  # pads stand after the text: no token of a causal model sees them
        real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        if not thinking:
            return real.long()
        seen = prefix_mask(real, lengths, thinking)
        if self.backbone.config.model_type not in WINDOWED:
            return self._as_attention_takes_it(seen)
        position = torch.arange(ids.shape[1], device=ids.device)
        near = (position[:, None] - position).abs() <= self.backbone.config.sliding_window
        kinds = {"full_attention": seen, "sliding_attention": seen & near}
        return {kind: self._as_attention_takes_it(mask) for kind, mask in kinds.items()}

    def _as_attention_takes_it(self, seen: Tensor) -> Tensor:
        if self.backbone.config._attn_implementation == "eager":  # adds the mask to the scores instead of selecting
            return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, torch.finfo(torch.float32).min)
        return seen


def prefix_mask(real: Tensor, lengths: Tensor, thinking: int) -> Tensor:
    """Which token sees which under a bidirectional model: text sees text, thinking token i sees text and steps 1…i.

    Without it all thinking tokens see each other and become one view.

    Args:
        real: bool [B, L], False at padding.
        lengths: int64 [B].
        thinking: number of thinking tokens at the end of each row.

    Returns:
        bool [B, 1, L, L] (query position, key position).
    """
    position = torch.arange(real.shape[1], device=real.device)
    text = position < (lengths - thinking)[:, None]
    earlier = position[None, :] <= position[:, None]
    return (text[:, None, :] | (earlier & real[:, None, :]))[:, None]


def pooled_positions(lengths: Tensor, pooling: str, views: int) -> Tensor | None:
    """The positions [B, M] that are the views, int64; None for poolings over all tokens."""
    if pooling not in SINGLE_POSITIONS:
        return None
    return last_positions(lengths, views) if pooling == "last" else torch.zeros_like(lengths)[:, None]


def last_positions(lengths: Tensor, views: int) -> Tensor:
    """The positions of the last `views` tokens of each row, int64 [B, M]."""
    back = torch.arange(views, 0, -1, device=lengths.device)
    return (lengths[:, None] - back).clamp(min=0)


def body_mean(hidden: Tensor, lengths: Tensor, edges: tuple[int, int]) -> Tensor:
    """Mean [B, 1, D] of the states [B, L, D] of the text alone, without the special tokens around it.

    An empty text has nothing else: there the special tokens count.
    """
    before, after = edges
    position = torch.arange(hidden.shape[1], device=hidden.device)
    whole = position < lengths[:, None]
    body = (position >= before) & (position < (lengths - after)[:, None])
    counted = (body | (whole & (lengths <= before + after)[:, None]))[..., None]  # ONNX has no `where` of bools
    return (hidden.float() * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True)


def pool(hidden: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """One view [B, 1, D] over all tokens of the hidden states [B, L, D]: the poolings that read no single position."""
    hidden = hidden.float()
    position = torch.arange(hidden.shape[1], device=hidden.device)
    real = (position < lengths[:, None])[..., None]
    if pooling == "max":
        return hidden.masked_fill(~real, float("-inf")).amax(1, keepdim=True)
    if pooling == "weightedmean":
        weights = real * (position[:, None] + 1)
        return (hidden * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
    count = lengths[:, None, None].to(hidden.dtype).clamp(min=1)
    total = (hidden * real).sum(1, keepdim=True)
    return total / (count.sqrt() if pooling == "mean_sqrt_len" else count)
