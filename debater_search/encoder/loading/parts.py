"""The parts of an encoder, and the request that a layout makes them from."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from debater_search.encoder.families import positions
from debater_search.encoder.loading.backbone import load_backbone
from debater_search.encoder.loading.files import weight_files
from debater_search.encoder.loading.hub import Source, locate
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import InvalidError

if TYPE_CHECKING:
    from debater_search.encoder.loading.origin import Origin


@dataclass(frozen=True)
class Parts:
    """An encoder in parts, as a layout delivers it."""

    backbone: PreTrainedModel
    tokenizer: Tokenizer
    spec: EncoderSpec
    weights: list[Path]
    """Every file of weights; the fingerprint hashes them."""
    base: Source
    """The model below an adapter, or the model itself."""
    tokenizer_folder: Path
    head: nn.Module | None = None
    """Layers behind the pooling (sentence-transformers)."""
    provenance: dict[str, Any] = field(default_factory=dict)
    dim: int | None = None
    """How many numbers of a vector the folder asks to keep; None for all."""
    origin: "Origin | None" = None
    """The model that the folder was exported from; None if it is none's, or was changed since."""
    assumes_pooling: bool = False
    """Whether no file says how the model pools, and the caller did not either."""

    def with_lengths(self, *, query: int | None = None, document: int | None = None) -> "Parts":
        """The parts with another longest query or document, in tokens; None keeps it.

        Raises InvalidError beyond what the model has positions for.
        """
        limit = positions(self.backbone.config)
        for length in (query, document):
            if length is not None and (length < 1 or (limit is not None and length > limit)):
                raise InvalidError(
                    f"max_length={length} is not possible for this model.", f"Use 1 to {limit or 'any length'}."
                )
        spec = replace(
            self.spec,
            query_length=query or self.spec.query_length,
            document_length=document or self.spec.document_length,
        )
        return replace(self, spec=spec)


@dataclass(frozen=True)
class Request:
    """A model as the caller asks for it."""

    source: Source
    base_model: str | None
    thinking_steps: int | None
    dtype: torch.dtype
    attention: str
    device: torch.device
    weights: bool = True
    """False loads shapes and tokenizer only."""
    pooling: str | None = None
    """One of `DECLARABLE_POOLINGS` for a model that declares none."""
    merged: bool = True
    """Whether an adapter will be merged into its base model."""
    kept: torch.dtype | None = None
    """The number type of weights, if it is not `dtype`."""
    quantize: str | None = None
    """4bit, or None."""
    bidirectional: bool = False
    """Whether a decoder's tokens all see each other."""

    @property
    def folder(self) -> Path:
        """The model's files."""
        return self.source.folder

    def locate(self, model: str) -> Source:
        """Find another model that this one is made of."""
        return locate(model, weights=self.weights)

    def backbone(self, folder: Path, *, adapted: bool = False) -> PreTrainedModel:
        """The body of the model in a folder; one that an adapter is merged into is rounded only after that."""
        merges = adapted and self.merged and self.dtype != torch.float32
        return load_backbone(
            folder,
            dtype=self.dtype,
            attention=self.attention,
            device=self.device,
            weights=self.weights,
            kept="auto" if merges else self.kept,
            quantize=self.quantize,
            bidirectional=self.bidirectional,
        )

    def weight_files(self, folder: Path) -> list[Path]:
        """The files of weights in a folder; none if `weights` is False."""
        return weight_files(folder) if self.weights else []
