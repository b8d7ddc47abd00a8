"""A model in training: what changes while it learns, which an `Encoder` never does."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from debater_search.encoder import Encoder
from debater_search.encoder.base import TorchEncoder
from debater_search.encoder.fingerprint import encoder_sha256, unusual_scales
from debater_search.encoder.loading.parts import Parts
from debater_search.encoder.saving import save_checkpoint
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import InvalidError


class Student(TorchEncoder):
    """The model of a training run: its weights change, and a wrapper such as DDP may stand around it.

    It takes over the model of the `Encoder` that it is made of, which must not be used any more. It fulfils
    `TextEncoder`, so that it is measured by the code that measures every encoder: with the fingerprint of its weights
    as they are in memory, and without what would keep a copy of them or let processes fall out of step.
    """

    cacheable = False
    """Each step makes another model of it: nothing may be cached under its fingerprint."""

    def __init__(self, start: Encoder, parts: Parts | None = None, *, compute: torch.dtype = torch.float32) -> None:
        """`parts` are those of `start` with another spec; None keeps the spec.

        `compute` is what float32 weights are multiplied in, by autocast.
        """
        super().__init__(parts or start.parts, start.model, name=start.name, recipe=start.recipe, device=start.device)
        self.compute = compute
        self._wrapped: nn.Module | None = None

    def views(self, sequences: Sequence[Sequence[int]], kind: str) -> Tensor:
        """As any encoder's, under autocast in half precision."""
        if self.compute == torch.float32:
            return super().views(sequences, kind)
        with torch.autocast(self.device.type, dtype=self.compute):
            return super().views(sequences, kind)

    @property
    def fingerprint(self) -> str:
        """sha256 as an `Encoder`'s, over the weights as they are in memory now."""
        weights = [tensors_sha256(self.model)]
        return encoder_sha256(self.spec.as_dict(), weights, unusual_scales(self.model.backbone))

    def wrap(self, module: nn.Module) -> None:
        """Make forward passes go through `module`, which wraps the model."""
        self._wrapped = module

    @contextmanager
    def unwrapped(self) -> Iterator[None]:
        """Inside, forward passes are this process's own."""
        wrapped, self._wrapped = self._wrapped, None
        try:
            yield
        finally:
            self._wrapped = wrapped

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Inside, the model is in evaluation mode: without dropout."""
        self.model.eval()
        try:
            yield
        finally:
            self.model.train()

    def save(
        self, folder: Path, *, provenance: dict[str, Any] | None = None, weights: dict[str, Tensor] | None = None
    ) -> None:
        """Write a checkpoint, as `Encoder.save`; `weights` are the backbone's if processes share them."""
        save_checkpoint(self.model, self.parts, folder, provenance, weights)

    @property
    def _module(self) -> nn.Module:
        return self._wrapped or self.model


def read_beside_mean(start: Encoder, thinking_weight: float = 1.0) -> EncoderSpec:
    """The spec of `start` for `readout: residual`: a view is a thinking token's state beside the mean over the text.

    The mean is without special tokens and of length 1, the state of length `thinking_weight`. Queries are that mean.

    Raises InvalidError if the model was not made for mean pooling.
    """
    spec = start.spec
    if start.model.causal or spec.query_pooling not in ("mean", "body"):
        raise InvalidError(
            f"{start.name} does not pool by mean, so its views cannot stand beside one.", "Use readout: null."
        )
    documents = "residual" if spec.deliberates else "body"
    return replace(spec, query_pooling="body", document_pooling=documents, thinking_weight=thinking_weight)


def with_instruction(spec: EncoderSpec, instruction: str, *, trained_with_instructions: bool) -> EncoderSpec:
    """The spec with `instruction` as the default before a query; "" keeps the model's own."""
    prompt = f"{instruction} " if instruction else spec.template.query_prompt
    template = replace(spec.template, query_prompt=prompt)
    return replace(spec, template=template, trained_with_instructions=trained_with_instructions)


def tensors_sha256(model: nn.Module) -> str:
    """The sha256 of a model's parameters as they are in memory, whatever their device and number type, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # processes may share it
        digest.update(whole.detach().to(torch.float32).cpu().numpy().tobytes())
    return digest.hexdigest()
