"""A folder for sentence-transformers: of its modules where they give the same vectors, else with a module of ours."""

import json
import logging
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from debater_search.encoder.encoder import Encoder
from debater_search.encoder.export.huggingface import write_huggingface
from debater_search.encoder.export.source import PROBES, TOLERANCE, require_one_pass, require_same_vectors
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.files import write_json
from debater_search.encoder.loading.sentence_transformer import POOLING_KEYS
from debater_search.encoder.spec import DECLARABLE_POOLINGS, EncoderSpec
from debater_search.extras import require

log = logging.getLogger(__name__)

MODULE = "modeling_debater"
MARK = "query: "
"""The prompt that tells the module beside the weights that a text is a query; it is not read."""
_FLOAT32 = {"dtype": torch.float32}
_STOCK = "sentence_transformers.models."
_WRITTEN = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling")


def write_sentence_transformer(encoder: Encoder, folder: Path, int8: bool = False) -> None:
    """Write the folder of `write_huggingface` and what sentence-transformers reads beside it.

    Raises:
        InvalidError: queries or documents have other vectors there than with `Encoder.load`.

    """
    require_one_pass(encoder)
    library = require("sentence_transformers", extra="rerank")
    write_huggingface(encoder, folder)
    reference = Encoder.load(folder, device="cpu", dtype="float32")  # in 16 bits its weights are rounded
    expected = [reference.encode_queries(PROBES), reference.encode_documents(PROBES)]
    if _is_expressible(encoder.spec):
        _write_stock(encoder.spec, reference.dim, folder)
        if _stock_gives(expected, folder):
            return
        for name in _WRITTEN:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    _write_module(folder)
    from debater_search.encoder.export.modeling_debater import Debater  # the file that was written, from this package

    with quiet_transformers():
        module = Debater.load(str(folder), model_kwargs=_FLOAT32, local_files_only=True)
        model = library.SentenceTransformer(modules=[module], device="cpu")
    queries, documents = model.encode(list(PROBES), prompt=MARK), model.encode(list(PROBES))
    require_same_vectors(queries, expected[0], "sentence-transformers")
    require_same_vectors(documents, expected[1], "sentence-transformers")


def _is_expressible(spec: EncoderSpec) -> bool:
    """Whether Transformer, Pooling and Normalize may do; whether the tokenizer agrees, only a comparison says."""
    return (
        not spec.deliberates
        and spec.query_pooling == spec.document_pooling
        and spec.document_pooling in DECLARABLE_POOLINGS
        and spec.query_length == spec.document_length
        and not spec.template.prompt
    )


def _stock_gives(expected: list[np.ndarray], folder: Path) -> bool:
    """Whether sentence-transformers' own modules give these vectors of queries and documents."""
    from sentence_transformers import SentenceTransformer

    try:
        with quiet_transformers():
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs=_FLOAT32)
            found = [np.asarray(encode(list(PROBES))) for encode in (model.encode_query, model.encode_document)]
    except Exception as error:  # many kinds, such as a tokenizer that cannot pad
        log.debug("sentence-transformers' own modules cannot read %s: %s", folder, error)
        return False
    return all(np.abs(one - other).max() <= TOLERANCE for one, other in zip(found, expected, strict=True))


def _write_stock(spec: EncoderSpec, dim: int, folder: Path) -> None:
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    _write_modules(folder, [{"path": path, "type": f"{_STOCK}{kind}"} for kind, path in kinds])
    modes = {key: mode == spec.document_pooling for key, mode in POOLING_KEYS.items()}
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": dim, **modes, "include_prompt": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": spec.document_length, "do_lower_case": False})
    _write_settings(folder, spec.template.query_prompt, spec.template.document_prompt)


def _write_module(folder: Path) -> None:
    shutil.copyfile(Path(__file__).with_name(f"{MODULE}.py"), folder / f"{MODULE}.py")
    _write_modules(folder, [{"path": "", "type": f"{MODULE}.Debater"}])
    _write_settings(folder, MARK, "")


def _write_modules(folder: Path, modules: list[dict[str, Any]]) -> None:
    numbered = [{"idx": number, "name": str(number), **module} for number, module in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(numbered, indent=2) + "\n", encoding="utf-8")


def _write_settings(folder: Path, query: str, document: str) -> None:
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": {"query": query, "document": document},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
        "__version__": {"sentence_transformers": version("sentence-transformers")},
    }
    write_json(folder / "config_sentence_transformers.json", settings)
