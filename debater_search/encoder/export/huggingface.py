"""A plain Hugging Face folder that keeps the encoder's fingerprint: an index of the model accepts it."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from debater_search.encoder.encoder import Encoder
from debater_search.encoder.export.source import (
    PROBES,
    merged,
    require_close_vectors,
    require_same_vectors,
    stored_dtype,
)
from debater_search.encoder.families import is_causal
from debater_search.encoder.fingerprint import unusual_scales, weights_sha256
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.files import read_json, write_json
from debater_search.encoder.loading.origin import Origin, hashes_of
from debater_search.encoder.saving import save_tokenizer
from debater_search.encoder.spec import CHECKPOINT_FILE


def write_huggingface(encoder: Encoder, folder: Path, int8: bool = False) -> None:
    """Write merged weights, tokenizer and `debater.json` to a folder, and compare vectors.

    Raises:
        InvalidError: the folder gives other vectors than the encoder in float32.

    """
    if int8:
        encoder.save(folder, int8=True)
        rounded = Encoder.load(folder, device="cpu", dtype="float32")
        require_close_vectors(rounded.encode_documents(PROBES), encoder.encode_documents(PROBES), "The exported folder")
        return
    dtype, parts = stored_dtype(encoder), encoder.parts
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers' own, of its own attributes
        merged(encoder.model.backbone, dtype).save_pretrained(folder)
    _write_tokenizer(encoder, folder)
    described = {
        "format": encoder.spec.format(),
        "base_model": parts.base.name,
        "base_revision": parts.base.revision,
        **parts.spec.as_dict(),
        "causal": is_causal(encoder.model.backbone.config),
        "provenance": parts.provenance,
    }
    write_json(folder / CHECKPOINT_FILE, {**described, "exported_from": _origin(encoder, folder).as_dict()})
    require_same_folder(encoder, folder, dtype)


def _write_tokenizer(encoder: Encoder, folder: Path) -> None:
    """The tokenizer as it is; its settings name the token of the padding, without which others cannot batch."""
    parts, config = encoder.parts, encoder.model.backbone.config
    save_tokenizer(parts, folder)
    settings = folder / "tokenizer_config.json"
    declared = read_json(settings) if settings.is_file() else {"tokenizer_class": "PreTrainedTokenizerFast"}
    pad = config.pad_token_id
    if not declared.get("pad_token") and pad is not None and pad >= 0:
        write_json(settings, {**declared, "pad_token": parts.tokenizer.id_to_token(pad)})


def require_same_folder(encoder: Encoder, folder: Path, dtype: torch.dtype) -> None:
    """Raise InvalidError if a folder has another fingerprint than the encoder, or other vectors.

    Weights of 16 bits are rounded: their vectors are close.
    """
    again = Encoder.load(folder, device="cpu", dtype="float32")
    assert again.fingerprint == encoder.fingerprint
    compare = require_same_vectors if dtype == torch.float32 else require_close_vectors
    compare(again.encode_queries(PROBES), encoder.encode_queries(PROBES), "The exported folder")
    if dtype == torch.float32:
        compare(again.deliberate(PROBES), encoder.deliberate(PROBES), "The exported folder")
    else:
        compare(again.encode_documents(PROBES), encoder.encode_documents(PROBES), "The exported folder")


def _origin(encoder: Encoder, folder: Path) -> Origin:
    """The model that was exported to a folder; of an exported one its own origin."""
    files = hashes_of(folder)
    if (known := encoder.parts.origin) is not None:
        return replace(known, files=files)
    weights = [weights_sha256(path) for path in encoder.parts.weights]
    return Origin(encoder.name, weights, unusual_scales(encoder.model.backbone), encoder.definition, files)
