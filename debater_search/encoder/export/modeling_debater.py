"""Texts to vectors of a debater encoder, for sentence-transformers 6 and later; it needs no debater.

`encode` and `encode_document` read documents; `encode_query`, `encode(..., task="query")` and the prompt `"query: "`,
which is a mark and not read, read queries. With `task="query"` another prompt is the instruction before them.

Shape letters: B texts, L longest text in tokens, D hidden size, T thinking tokens.
"""

import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel

SETTINGS, MARK = "debater.json", "query: "
FILES = (SETTINGS, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class Debater(InputModule):
    """A transformer with the template and the pooling of its `debater.json`."""

    config_file_name = SETTINGS

    def __init__(self, model: Any, tokenizer: Tokenizer, settings: dict[str, Any], folder: str) -> None:
        super().__init__()
        self.model, self.tokenizer, self.settings, self.folder = model, tokenizer, settings, folder
        self.max_seq_length = settings["document_length"]
        self.causal = settings["causal"]

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return self.model.config.hidden_size

    def get_sentence_embedding_dimension(self) -> int:
        """Length of a vector."""
        return self.get_embedding_dimension()

    def preprocess(
        self, inputs: Sequence[str], prompt: str | None = None, task: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Token ids of queries or documents, padded on the right. Raises ValueError for an unknown prompt."""
        query = task == "query" or prompt == MARK
        if prompt and prompt != MARK and task != "query":
            raise ValueError(f'The prompt {prompt!r} is unknown: use "{MARK}", or task="query" with an instruction.')
        rows = self._token_ids(list(inputs), query, prompt if prompt != MARK else None)
        longest = max(map(len, rows))
        pad = max(0, self.model.config.pad_token_id or 0)
        return {
            "input_ids": torch.tensor([row + [pad] * (longest - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
            "task": "query" if query else "document",
        }

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, float32 [B, D], each of length 1."""
        ids, lengths = features["input_ids"], features["attention_mask"].sum(1)
        query = features["task"] == "query"
        thinking = 0 if query else len(self.settings["template"]["thinking_tokens"])
        hidden = self.model(input_ids=ids, attention_mask=self._mask(ids, lengths, thinking)).last_hidden_state.float()
        pooling = self.settings["query_pooling" if query else "document_pooling"]
        features["sentence_embedding"] = normalize(self._pooled(hidden, lengths, pooling, query, thinking), dim=-1)
        return features

    def _token_ids(self, texts: list[str], query: bool, instruction: str | None) -> list[list[int]]:
        """Prefix, text cut to fit, suffix; of a document also its prompt and the thinking tokens."""
        template = self.settings["template"]
        lead, tail, suffix = template["document_prompt"], template["prompt"], template["document_suffix"]
        suffix = [*suffix, *template["thinking_tokens"]]
        if query:
            lead, tail, suffix = template["query_prompt"], "", template["query_suffix"]
            lead = lead if instruction is None else instruction
        elif tail:
            texts = [text.strip() for text in texts]
        vocabulary = self.tokenizer.get_vocab()
        head, end = [vocabulary[token] for token in template["prefix"]], [vocabulary[token] for token in suffix]
        room = self.settings["query_length" if query else "document_length"] - len(head) - len(end)
        rows = []
        texts = [lead + text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        for text, encoding in zip(
            texts, self.tokenizer.encode_batch([text + tail for text in texts], add_special_tokens=False), strict=True
        ):
            ids = encoding.ids
            tail_length = sum(start >= len(text) for start, _ in encoding.offsets) if tail else 0
            body = len(ids) - tail_length
            kept = min(body, room - tail_length)
            ids = ids[body - kept :] if template.get("cuts_left") else ids[:kept] + ids[body:]
            rows.append(head + ids + end)
        return rows

    def _mask(self, ids: Tensor, lengths: Tensor, thinking: int) -> Tensor | None:
        """None for a causal model; text sees text, thinking token i sees text and thinking tokens 1…i."""
        if self.causal:
            return None  # padding stands behind the text
        position = torch.arange(ids.shape[1], device=ids.device)
        real = position < lengths[:, None]
        if not thinking:
            return real.long()
        text = position < (lengths - thinking)[:, None]
        earlier = position[None, :] <= position[:, None]
        seen = (text[:, None, :] | (earlier & real[:, None, :]))[:, None]  # [B, 1, L, L]
        if self.model.config._attn_implementation != "eager":
            return seen
        lowest = torch.finfo(self.model.dtype).min
        return torch.zeros(seen.shape, device=ids.device, dtype=self.model.dtype).masked_fill(~seen, lowest)

    def _pooled(self, hidden: Tensor, lengths: Tensor, pooling: str, query: bool, thinking: int) -> Tensor:
        """Hidden states [B, L, D] to one vector per text [B, D]."""
        rows = torch.arange(len(hidden), device=hidden.device)
        if pooling == "cls":
            return hidden[:, 0]
        if pooling == "last":
            return hidden[rows, lengths - 1]
        position = torch.arange(hidden.shape[1], device=hidden.device)
        real = position < lengths[:, None]
        if pooling in ("body", "residual"):
            mean = self._body_mean(hidden, lengths - thinking, query)
            if pooling == "body":
                return mean
            weight = self.settings.get("thinking_weight", 1.0)
            return normalize(mean, dim=-1) + weight * normalize(hidden[rows, lengths - 1], dim=-1)
        if pooling == "max":
            return hidden.masked_fill(~real[..., None], float("-inf")).amax(1)
        weights = (real * (position + 1 if pooling == "weightedmean" else 1)).to(hidden.dtype)[..., None]
        total, count = (hidden * weights).sum(1), weights.sum(1).clamp(min=1)
        return total / (count.sqrt() if pooling == "mean_sqrt_len" else count)

    def _body_mean(self, hidden: Tensor, lengths: Tensor, query: bool) -> Tensor:
        """Mean of the text's states, without the special tokens around it unless there is nothing else."""
        template = self.settings["template"]
        before, after = len(template["prefix"]), len(template["query_suffix" if query else "document_suffix"])
        position = torch.arange(hidden.shape[1], device=hidden.device)
        whole = position < lengths[:, None]
        body = (position >= before) & (position < (lengths - after)[:, None])
        counted = torch.where((lengths > before + after)[:, None], body, whole)[..., None].to(hidden.dtype)
        return (hidden * counted).sum(1) / counted.sum(1)

    @classmethod
    def load(cls, model_name_or_path: str, model_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> "Debater":
        """The module of a folder or of a repository of the hub."""
        place = {name: kwargs.get(name) for name in ("token", "cache_folder", "revision", "local_files_only")}
        files = {name: cls.load_file_path(model_name_or_path, name, **place) for name in FILES}
        with open(files[SETTINGS], encoding="utf-8") as file:
            settings = json.load(file)
        given = model_kwargs or {}
        chosen: dict[str, Any] = {name: given[name] for name in ("dtype", "attn_implementation") if name in given}
        hub = {"token": place["token"], "cache_dir": place["cache_folder"], "revision": place["revision"]}
        chosen |= {"use_safetensors": True, "local_files_only": place["local_files_only"], **hub}
        try:  # without the pooler, which has no weights here and would be reported as missing
            model = AutoModel.from_pretrained(model_name_or_path, add_pooling_layer=False, **chosen)
        except TypeError:  # a model that has none
            model = AutoModel.from_pretrained(model_name_or_path, **chosen)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        tokenizer = Tokenizer.from_file(files["tokenizer.json"])
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(model.eval(), tokenizer, settings, os.path.dirname(files[SETTINGS]))

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write weights, tokenizer and settings."""
        self.model.save_pretrained(output_path)
        for name in FILES:
            source, target = os.path.join(self.folder, name), os.path.join(output_path, name)
            if os.path.exists(source) and os.path.realpath(source) != os.path.realpath(target):
                shutil.copyfile(source, target)
