"""`Encoder`, the encoder that every stage uses by default: a transformer model from a folder, the hub or a package."""

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from debater_search.encoder.arguments import require_arguments
from debater_search.encoder.base import TorchEncoder
from debater_search.encoder.families import is_causal
from debater_search.encoder.fingerprint import definition_of, encoder_sha256, unusual_scales, weights_sha256
from debater_search.encoder.loading.adapter import merge
from debater_search.encoder.loading.four_bits import require_quantization
from debater_search.encoder.loading.hub import findable, locate
from debater_search.encoder.loading.layouts import load_parts
from debater_search.encoder.loading.parts import Parts, Request
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.pipeline import calibrate
from debater_search.encoder.saving import save_checkpoint
from debater_search.encoder.speed.hardware import choose_device, choose_dtype
from debater_search.encoder.speed.linear import lay_out
from debater_search.encoder.speed.memory import keep_freed_memory
from debater_search.encoder.texts import Texts, contents
from debater_search.errors import InvalidError
from debater_search.identity import INT8

log = logging.getLogger(__name__)


class Encoder(TorchEncoder):
    """A model, its template and its pooling, immutable once it is loaded. Made by `Encoder.load`.

    All vectors are L2-normalised float32, in input order, finite, and do not depend on the other texts of a batch
    (within 1e-5 in float32). It fulfils `TextEncoder`. Training starts from one and makes a `Student` of it.

    Examples:
        >>> from debater_search import Encoder
        >>> encoder = Encoder.load("debater-small")
        >>> encoder
        Encoder('debater-small', dim 384, 8 thinking steps, cpu, float32)
        >>> encoder.encode_queries(["what carries an aircraft?"]).shape
        (1, 384)
    """

    def __init__(
        self,
        parts: Parts,
        *,
        name: str,
        recipe: dict[str, Any],
        device: torch.device,
        dim: int | None = None,
        int8: bool = False,
        placed: bool = True,
    ) -> None:
        model = DeliberationModel(parts.backbone, causal=is_causal(parts.backbone.config), head=parts.head)
        model = model.to(device) if placed else model
        super().__init__(parts, model.eval(), name=name, recipe=recipe, device=device)
        if int8:
            lay_out(self.model.backbone, int8=True)
        self._int8 = int8
        self._dim = dim if dim is not None else min(parts.dim or self.full_dim, self.full_dim)
        self.definition = definition_of(parts)  # now: files may change
        """What its files say beside the weights, as the fingerprint counts it."""
        if dim is not None and not 1 <= dim <= self.full_dim:
            raise InvalidError(
                f"dim={dim} is not possible: the vectors of {name} have {self.full_dim} dimensions.",
                f"Use 1 to {self.full_dim}; it should be one that the model was trained for (Matryoshka).",
            )
        self._loaded = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_loaded" in vars(self):
            raise AttributeError(f"An Encoder is immutable: {name} cannot be set. Load it with other arguments.")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"An Encoder is immutable: {name} cannot be deleted.")

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        base_model: str | Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        attention: str = "auto",
        thinking_steps: int | None = None,
        max_length: int | None = None,
        dim: int | None = None,
        pooling: str | None = None,
        merged: bool = True,
        weights_dtype: str | None = None,
        weights: bool = True,
        placed: bool = True,
        quantize: str | None = None,
        bidirectional: bool = False,
    ) -> "Encoder":
        """Load a folder, a hub id or an alias (debater-small, minilm, debater-2b, debater-4b, smollm2-135m).

        Args:
            model: our checkpoint, a PEFT adapter of the published layout, a sentence-transformers folder or a plain
                Hugging Face model; safetensors only, no remote code.
            base_model: the model below an adapter, if it is not the one that the adapter names.
            device: auto, cpu, cuda, cuda:N, mps.
            dtype: auto, float32, bfloat16, float16; int8: linear layers in 8-bit integers on a CPU, up to twice as
                fast, vectors close to those of float32 (mean cosine .998 for MiniLM).
            attention: auto, sdpa, eager, flash_attention_2. auto: FlashAttention 2 for decoders on NVIDIA GPUs where it
                is installed, else what transformers chooses.
            thinking_steps: a model made for deliberation is read out after that many steps; a plain model becomes an
                untrained DEBATER start if it is above 1.
            max_length: tokens of a document, thinking tokens included.
            dim: keep the first `dim` numbers of every vector, normalised again; for Matryoshka models. None: as many as
                the folder declares.
            pooling: how a model is read whose folder does not say it: mean, cls, last, max, mean_sqrt_len or
                weightedmean. None: last for decoders, mean for encoders.
            merged: add an adapter's updates to the weights, in float32 before they are rounded to `dtype`; False leaves
                it beside its base model, as training needs it.
            weights_dtype: keeps weights in another number type than `dtype`: float32 where they learn under autocast.
            quantize: 4bit holds linear layers in 4 bits, as training of an adapter may (QLoRA); it needs an NVIDIA GPU
                and merged False.
            bidirectional: let all tokens of a decoder see each other (LLM2Vec). A plain decoder is then pooled by mean;
                folders that declare a pooling keep it. A checkpoint that was trained so says it itself.
            weights: False loads shapes and tokenizer only; such an encoder tokenizes but does not encode.
            placed: False leaves weights in memory, as they will compute on `device`, for a caller who spreads them.

        Raises:
            MissingError: there is no such model, or files of it are missing.
            DamagedError: a file of it cannot be read, or weights do not fit.
            InvalidError: a pickle, an unknown kind of model, an impossible argument.
            UnavailableError: the hub, a package or the device is not available.

        Examples:
            >>> Encoder.load("models/tiny", thinking_steps=4).thinking_steps
            4
        """
        counts = {"thinking_steps": thinking_steps, "max_length": max_length}
        require_arguments(device=device, dtype=dtype, attention=attention, pooling=pooling, **counts)
        where = choose_device(device)
        number_type = choose_dtype(dtype, where)
        source = locate(model, weights=weights)
        base = str(base_model) if base_model is not None else None
        require_quantization(quantize, where, merged=merged)
        kept = choose_dtype(weights_dtype, where) if weights_dtype is not None else None
        parts = load_parts(
            Request(
                source,
                base,
                thinking_steps,
                number_type,
                attention,
                where,
                weights,
                pooling,
                merged,
                kept,
                quantize,
                bidirectional,
            )
        )
        if parts.assumes_pooling:
            pooling = parts.spec.query_pooling
            if weights:
                choice = " Choose another with `pooling`." if merged else ""  # training has no such setting
                log.info("%s does not say how it pools: it is read by pooling %s.%s", model, pooling, choice)
        if max_length is not None:
            parts = parts.with_lengths(document=max_length)
        if not weights:
            where = torch.device("meta")
        elif hasattr(parts.backbone, "merge_adapter") and merged:
            merge(parts.backbone, number_type)
        recipe = {
            "model": findable(str(model)),
            "base_model": findable(base) if base is not None else None,
            "thinking_steps": thinking_steps,
            "max_length": max_length,
            "dim": dim,
            "pooling": pooling,
            "attention": attention if attention != "auto" else None,
            "bidirectional": bidirectional or None,
        }
        recipe = {k: v for k, v in recipe.items() if v is not None}
        return cls(parts, name=str(model), recipe=recipe, device=where, dim=dim, int8=dtype == INT8, placed=placed)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    @property
    def dtype(self) -> str:
        """The number type that it computes in, as `load` takes it."""
        return INT8 if self._int8 else super().dtype

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over weights, settings, tokenizer, template, pooling, lengths: equal ones make equal vectors."""
        return self._sha256(with_definition=True)

    @cached_property
    def former_fingerprints(self) -> tuple[str, ...]:
        """The fingerprint as version 0.1 has it, blind to tokenizer and settings: its indexes stay valid."""
        return (self._sha256(with_definition=False),)

    def _sha256(self, *, with_definition: bool) -> str:
        dim, origin = self.dim if self.dim < self.full_dim else None, self.parts.origin
        if origin is not None:
            weights, scales, definition = origin.weights, origin.scales, origin.definition
        else:
            weights = [weights_sha256(path) for path in self.parts.weights]
            scales, definition = unusual_scales(self.model.backbone), self.definition
        return encoder_sha256(self.spec.as_dict(), weights, scales, dim, definition if with_definition else None)

    def expect_many(self) -> None:
        """Spend some memory and milliseconds to encode many texts faster, on a CPU."""
        if self.device.type == "cpu":
            keep_freed_memory()
            lay_out(self.model.backbone)

    def calibrate(self, texts_or_documents: Texts) -> int:
        """The batch_tokens that encodes documents like these fastest on this machine; takes about two seconds.

        Examples:
            >>> texts = ["A wing carries an aircraft.", "Heat flows."]
            >>> tokens = encoder.calibrate(texts)
            >>> encoder.encode_documents(texts, batch_tokens=tokens).shape
            (2, 384)
        """
        self.expect_many()
        return calibrate(self, self.token_ids(contents(texts_or_documents), "document"))

    def save(self, folder: str | Path, *, provenance: dict[str, Any] | None = None, int8: bool = False) -> None:
        """Write a checkpoint: adapter or full weights (safetensors), tokenizer, `debater.json`.

        It loads with `Encoder.load`, and in plain peft or transformers. With `int8` it is the full weights, an adapter
        merged, in 8 bits with a scale for each output channel: a quarter of the size, and for `Encoder.load` alone,
        which makes float32 of them.

        Raises:
            InvalidError: the model has dense layers of sentence-transformers; for `int8`: it is not in float32, or the
                folder holds other weights.

        Examples:
            >>> Encoder.load("models/tiny", thinking_steps=4).save("checkpoints/start")
            >>> Encoder.load("checkpoints/start").thinking_steps
            4
        """
        save_checkpoint(self.model, self.parts, Path(folder), provenance, int8=int8)
