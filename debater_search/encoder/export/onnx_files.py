"""ONNX files of an encoder, one for queries and one for documents, and what another program needs to feed them."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from debater_search.encoder.batching import pad
from debater_search.encoder.encoder import Encoder
from debater_search.encoder.export.source import PROBES, require_close_vectors, require_one_pass, require_same_vectors
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.files import write_json
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import Reading
from debater_search.encoder.template import token_ids
from debater_search.errors import InvalidError
from debater_search.extras import require

log = logging.getLogger(__name__)

KINDS = ("query", "document")
INPUTS, EMBEDDING, VIEWS = ["input_ids", "attention_mask"], "sentence_embedding", "views"
LARGE = 1_500_000_000
"""Bytes of weights from which on they go into a file beside the .onnx, which holds at most 2 GB."""


def write_onnx(encoder: Encoder, folder: Path, int8: bool = False) -> None:
    """Write `query.onnx`, `document.onnx`, `tokenizer.json` and `template.json`, and compare vectors in onnxruntime.

    Raises:
        InvalidError: a file gives other vectors than the encoder, or with `int8` vectors that are not close.
        UnavailableError: onnx, onnxscript or onnxruntime is not installed.

    """
    require_one_pass(encoder)
    for library in ("onnx", "onnxscript", "onnxruntime"):
        require(library, extra="onnx")
    model = encoder.model
    model._prunable = False  # its trick of two passes through a layer cannot be written as a graph
    for kind in KINDS:
        path = folder / f"{kind}.onnx"
        _write(_Reader(model, encoder.spec.reading(kind)), encoder, kind, path)
        if int8:
            _quantise(path)
        _require_same(encoder, kind, path, int8)
    encoder.tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "template.json", template_of(encoder) | {"int8": int8})


def template_of(encoder: Encoder) -> dict[str, Any]:
    """How texts become token ids: prefix_ids + tokens(lead + text, cut to fit, + tail) + suffix_ids."""
    template, spec, tokenizer = encoder.spec.template, encoder.spec, encoder.tokenizer
    prefix = token_ids(tokenizer, template.prefix)
    return {
        "format": 1,
        "model": encoder.name,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "thinking_steps": spec.thinking_steps,
        "pad_id": _pad_id(encoder),
        "cuts_left": template.cuts_left,
        "query": {
            "prefix_ids": prefix,
            "lead": template.query_prompt,
            "tail": "",
            "suffix_ids": token_ids(tokenizer, template.query_suffix),
            "max_length": spec.query_length,
        },
        "document": {
            "prefix_ids": prefix,
            "lead": template.document_prompt,
            "tail": template.prompt,
            "strip": bool(template.prompt),
            "suffix_ids": token_ids(tokenizer, template.document_suffix + template.thinking_tokens),
            "max_length": spec.document_length,
        },
    }


class _Reader(nn.Module):
    """Token ids and their mask [B, L] to unit vectors [B, D] and, of documents, to every view [B, M, D]."""

    def __init__(self, model: DeliberationModel, reading: Reading) -> None:
        super().__init__()
        self.model, self.reading = model, reading

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        views = normalize(self.model(input_ids, attention_mask.sum(1), self.reading), dim=-1)
        return (views[:, -1], views) if self.reading.thinking else (views[:, -1],)


def _write(reader: _Reader, encoder: Encoder, kind: str, path: Path) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    shapes = {name: {0: batch, 1: length} for name in INPUTS}
    large = sum(parameter.nbytes for parameter in encoder.model.parameters()) > LARGE
    example = tuple(torch.from_numpy(array) for array in _inputs(encoder, kind, PROBES[:2]).values())
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                reader.eval(),
                example,
                path,
                dynamo=True,
                input_names=INPUTS,
                output_names=[EMBEDDING, VIEWS] if reader.reading.thinking else [EMBEDDING],
                dynamic_shapes=shapes,
                external_data=large,
                verbose=False,
            )
    except Exception as error:  # torch.onnx raises many kinds
        raise InvalidError(
            f"{encoder.name} cannot be written as ONNX ({type(error).__name__}).", "Export it in another format."
        ) from error


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_suffix(".float32.onnx")
    path.rename(whole)
    with _quiet():
        quantize_dynamic(whole, path, weight_type=QuantType.QInt8)
    whole.unlink()


def _require_same(encoder: Encoder, kind: str, path: Path, int8: bool) -> None:
    """Raise InvalidError if the file gives other vectors, for the probes together or one of them alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = encoder.encode_queries(PROBES) if kind == "query" else encoder.encode_documents(PROBES)
    for texts, wanted in ((PROBES, expected), (PROBES[:1], expected[:1])):
        found = session.run([EMBEDDING], _inputs(encoder, kind, texts))[0]
        if not int8:
            require_same_vectors(found, wanted, path.name)
    if int8:
        require_close_vectors(session.run([EMBEDDING], _inputs(encoder, kind, PROBES))[0], expected, path.name)


def _inputs(encoder: Encoder, kind: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
    ids, lengths = pad(encoder.token_ids(list(texts), kind), _pad_id(encoder))
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    return dict(zip(INPUTS, (ids, mask), strict=True))


def _pad_id(encoder: Encoder) -> int:
    return max(0, encoder.model.backbone.config.pad_token_id or 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that tracing and quantising print; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
