"""The encoder that every stage uses: texts in, L2-normalised float32 vectors out."""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from debater_search.encoder.backbone import is_causal
from debater_search.encoder.batching import pad
from debater_search.encoder.fingerprint import tensors_sha256, unusual_scales, weights_sha256
from debater_search.encoder.hardware import (
    INT8,
    TOKENS_PER_BATCH,
    choose_attention,
    choose_device,
    choose_dtype,
    keep_freed_memory,
)
from debater_search.encoder.hub import findable, locate
from debater_search.encoder.layouts import Parts, Request, load_parts, require_positions, with_document_length
from debater_search.encoder.linear import lay_out
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.pipeline import Pipeline, calibrate, encode_all
from debater_search.encoder.saving import save_checkpoint
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.texts import Texts, contents, encodable
from debater_search.errors import DebaterError
from debater_search.progress import Progress

log = logging.getLogger(__name__)


class Encoder:
    """A model, its template and its pooling. Made by `Encoder.load`.

    All vectors are L2-normalised float32, in input order, finite, and do not depend on what else is in the batch
    (≤ 1e-5 in float32). `progress` shows a line on stderr, or advances a line that the caller shows.
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
    ) -> None:
        self.parts = parts
        self.spec: EncoderSpec = parts.spec
        self.tokenizer = parts.tokenizer
        self.model = DeliberationModel(parts.backbone, causal=is_causal(parts.backbone.config), head=parts.head)
        self.model.to(device).eval()
        self.module: torch.nn.Module = self.model
        """What is called: the model, or what training has wrapped around it."""
        self.device = device
        self.name = name
        """What the user called the model."""
        self.in_training = False
        """Set while weights change: the fingerprint then follows the weights in memory, not their files."""
        self.recipe = recipe
        """Arguments of `Encoder.load` that make this encoder again; plain JSON types."""
        self.int8 = int8
        """Whether linear layers compute in 8-bit integers."""
        if int8:
            lay_out(self.model.backbone, int8=True)
        self._cut_at = dim
        if dim is not None and not 1 <= dim <= self.full_dim:
            raise DebaterError(
                f"dim={dim} is not possible: the vectors of {name} have {self.full_dim} dimensions.",
                f"Use 1 to {self.full_dim}; it should be one that the model was trained for (Matryoshka).",
            )

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
        weights: bool = True,
    ) -> "Encoder":
        """Load a folder, a hub id or an alias (debater-mini, minilm, debater-2b, debater-4b, smollm2-135m).

        Args:
            model: our checkpoint, a PEFT adapter of the published layout, a sentence-transformers folder or a plain
                Hugging Face model; safetensors only, no remote code.
            base_model: the model below an adapter, where it is not the one the adapter names.
            device: auto, cpu, cuda, cuda:N, mps.
            dtype: auto, float32, bfloat16, float16; int8: linear layers in 8-bit integers on a CPU, up to twice as
                fast, vectors close to those of float32 (mean cosine .998 for MiniLM).
            attention: auto, sdpa, eager, flash_attention_2.
            thinking_steps: on a model made for deliberation, read it out after that many steps; on a plain model,
                more than 1 makes an untrained DEBATER start.
            max_length: tokens of a document, thinking tokens included.
            dim: keep the first `dim` numbers of every vector, normalised again; for Matryoshka models.
            weights: False: shapes and tokenizer only, to know a model without loading it; it tokenizes, but does
                not encode.

        Raises:
            DebaterError: no such model, no or damaged weights, a pickle, an impossible argument.
        """
        where = choose_device(device)
        number_type = choose_dtype(dtype, where)
        source = locate(model, weights=weights)
        base = str(base_model) if base_model is not None else None
        kernel = choose_attention(attention, where, number_type)
        request = Request(source, base, thinking_steps, number_type, kernel, weights)
        parts = load_parts(request)
        if max_length is not None:
            parts.spec = with_document_length(parts, max_length)
        if not weights:
            where = torch.device("meta")
        elif hasattr(parts.backbone, "merge_adapter") and number_type == torch.float32:
            parts.backbone.merge_adapter()  # same values, no extra multiplications
        recipe = {
            "model": findable(str(model)),
            "base_model": findable(base) if base is not None else None,
            "thinking_steps": thinking_steps,
            "max_length": max_length,
            "dim": dim,
        }
        recipe = {k: v for k, v in recipe.items() if v is not None}
        return cls(parts, name=str(model), recipe=recipe, device=where, dim=dim, int8=dtype == INT8)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._cut_at or self.full_dim

    @property
    def full_dim(self) -> int:
        """Length of a vector as the model gives it, before it is cut to `dim`."""
        if self.model.head is not None:
            return int(list(self.model.head.parameters())[-1].shape[0])
        return int(self.model.backbone.config.hidden_size)

    @property
    def thinking_steps(self) -> int:
        """Views of a document; 1 for models that do not deliberate."""
        return self.spec.thinking_steps

    @property
    def dtype(self) -> str:
        """What it computes in, as `load` takes it."""
        return INT8 if self.int8 else str(self.model.backbone.dtype).removeprefix("torch.")

    @property
    def batch_tokens(self) -> int:
        """Padded tokens of a forward pass where nothing else is asked for."""
        return TOKENS_PER_BATCH[self.device.type]

    @property
    def cacheable(self) -> bool:
        """Whether vectors may be cached under the fingerprint: not while weights change."""
        return not self.in_training

    @property
    def document_length(self) -> int:
        """The longest document in tokens, the model's own tokens included."""
        return self.spec.document_length

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def trained_with_instructions(self) -> bool:
        """Whether queries were preceded by instructions in training."""
        return self.spec.trained_with_instructions

    @property
    def instruction(self) -> str:
        """What goes before its queries where nothing else is asked for; "" for nothing."""
        return self.spec.template.query_prompt.strip()

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, scales of an adapter, templates, pooling, lengths: equal ones make equal vectors."""
        weights = [tensors_sha256(self.model)] if self.in_training else self._file_hashes
        identity: dict[str, Any] = {"spec": self.spec.as_dict(), "weights": weights}
        if scales := unusual_scales(self.model.backbone):
            identity["scales"] = scales
        if self.dim < self.full_dim:
            identity["dim"] = self.dim
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _file_hashes(self) -> list[str]:
        return [weights_sha256(path) for path in self.parts.weights]

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        batch_tokens: int | None = None,
        progress: bool | Progress = False,
    ) -> np.ndarray:
        """Vectors of queries, float32 [n, dim]. `instruction` None is the model's own default, "" none."""
        if not self.leaves_room(instruction):
            log.warning(
                "The instruction fills the %d tokens of a query: nothing of it is read.", self.spec.query_length
            )
        return encode_all(self, contents(texts), "query", batch_tokens, progress, instruction)[:, -1]

    def encode_documents(
        self, texts_or_documents: Texts, *, batch_tokens: int | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """Vectors of documents (the last thinking step), float32 [n, dim]."""
        return self.deliberate(texts_or_documents, batch_tokens=batch_tokens, progress=progress)[:, -1]

    def deliberate(
        self, texts_or_documents: Texts, *, batch_tokens: int | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """Every thinking step of every document, float32 [n, thinking_steps, dim]."""
        return encode_all(self, contents(texts_or_documents), "document", batch_tokens, progress)

    def deliberate_windows(
        self, windows: Iterable[Texts], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        """Every thinking step of documents that come in windows: float32 [n, thinking_steps, dim] a window.

        The next window is taken and tokenized, in a thread, while the model computes this one.
        """
        pipeline = Pipeline(self, "document", batch_tokens or self.batch_tokens, progress)
        return pipeline.run(contents(window) for window in windows)

    def set_lengths(self, *, query: int, document: int) -> None:
        """Change the longest query and document, in tokens. Raises DebaterError beyond the model's positions."""
        require_positions(self.parts, query)
        self.spec = replace(with_document_length(self.parts, document), query_length=query)
        self.parts.spec = self.spec

    def set_instruction(self, instruction: str, *, trained_with_instructions: bool) -> None:
        """Make `instruction` the default before a query."""
        prompt = f"{instruction} " if instruction else self.spec.template.query_prompt
        template = replace(self.spec.template, query_prompt=prompt)
        self.spec = replace(self.spec, template=template, trained_with_instructions=trained_with_instructions)
        self.parts.spec = self.spec

    def read_beside_mean(self, thinking_weight: float = 1.0) -> None:
        """Make each view a thinking token's state beside the mean over the text, and queries that mean alone.

        The mean is without special tokens and of length 1, the state of length `thinking_weight`.

        Raises:
            DebaterError: the model was not made for mean pooling.

        """
        if self.model.causal or self.spec.query_pooling not in ("mean", "body"):
            raise DebaterError(
                f"{self.name} does not pool by mean, so its views cannot stand beside one.", "Use readout: null."
            )
        documents = "residual" if self.spec.deliberates else "body"
        self.spec = replace(
            self.spec, query_pooling="body", document_pooling=documents, thinking_weight=thinking_weight
        )
        self.parts.spec = self.spec

    def leaves_room(self, instruction: str | None) -> bool:
        """Whether a query has room behind an instruction (None: the model's default)."""
        [ids] = self.spec.template.query_ids(self.tokenizer, [""], sys.maxsize, instruction)
        return len(ids) < self.spec.query_length

    def token_ids(self, texts: Sequence[str], kind: str, instruction: str | None = None) -> list[list[int]]:
        """Texts of `kind` query or document as token ids, cut to the model's lengths."""
        texts = encodable(texts)
        template, spec = self.spec.template, self.spec
        if kind == "query":
            return template.query_ids(self.tokenizer, texts, spec.query_length, instruction)
        return template.document_ids(self.tokenizer, texts, spec.document_length)

    def token_offsets(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Where the tokens of each bare text begin and end, in characters: int64 [tokens, 2]; nothing is cut."""
        found = self.tokenizer.encode_batch(encodable(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in found]

    def views(self, sequences: Sequence[Sequence[int]], kind: str) -> Tensor:
        """One forward pass: token ids of `kind` → unnormalised views, float32 [n, views, dim], with gradients."""
        ids, lengths = pad(sequences, max(0, self.model.backbone.config.pad_token_id or 0))  # -1 says: none
        return self.module(
            torch.from_numpy(ids).to(self.device), torch.from_numpy(lengths).to(self.device), **self.reading(kind)
        )

    def reading(self, kind: str) -> dict[str, Any]:
        """How the model reads texts of `kind`: keyword arguments of `DeliberationModel.forward`."""
        template = self.spec.template
        if kind == "query":
            edges = len(template.prefix), len(template.query_suffix)
            return {"pooling": self.spec.query_pooling, "views": 1, "thinking": 0, "edges": edges}
        steps = self.spec.thinking_steps
        thinking = steps if self.spec.deliberates else 0
        edges = len(template.prefix), len(template.document_suffix)
        pooling = {"pooling": self.spec.document_pooling, "thinking_weight": self.spec.thinking_weight}
        return {**pooling, "views": steps, "thinking": thinking, "edges": edges}

    def expect_many(self) -> None:
        """Spend some memory and milliseconds to encode many texts faster, on a CPU."""
        if self.device.type == "cpu" and not self.in_training:
            keep_freed_memory()
            lay_out(self.model.backbone)

    def calibrate(self, texts_or_documents: Texts) -> int:
        """The batch_tokens that encode documents like these fastest on this machine; takes about two seconds.

        In training the usual ones: there processes may have to run the same forward passes in step.
        """
        if self.in_training:
            return self.batch_tokens
        self.expect_many()
        return calibrate(self, self.token_ids(contents(texts_or_documents), "document"))

    def save(
        self,
        folder: str | Path,
        *,
        provenance: dict[str, Any] | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        """Write a checkpoint: adapter or full weights (safetensors), tokenizer, `debater.json`.

        Loads with `Encoder.load`, and in plain peft or transformers. `weights` are the backbone's, where they do not
        lie in this process alone.

        Raises:
            DebaterError: a dense layer of sentence-transformers stands behind the model.

        """
        save_checkpoint(self.model, self.parts, Path(folder), provenance, weights)
