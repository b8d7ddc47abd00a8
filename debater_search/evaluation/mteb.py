"""debater's models inside mteb's own evaluation, and debater's results as mteb result files."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.data.files import write_lines
from debater_search.encoder.protocol import TextEncoder, trained_with_instructions
from debater_search.errors import InvalidError
from debater_search.evaluation.evaluate import papers_instruction
from debater_search.evaluation.hub_tasks import MtebTask, documents_in, queries_in
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.opening import indexed
from debater_search.evaluation.results import Result
from debater_search.extras import require
from debater_search.files import atomic
from debater_search.search import Mode, SearchEngine
from debater_search.types import Run

Array = Any
"""A numpy array or a torch tensor."""


class DebaterModel:
    """A model for mteb: `mteb.evaluate(DebaterModel("checkpoints/demo"), mteb.get_tasks([...]))`.

    Retrieval goes through debater's engine (`index`, `search`), as in `evaluate`; other tasks, and retrieval by
    `mteb.models.SearchEncoderWrapper(model)`, go through `encode` and mteb's own search.
    """

    def __init__(
        self,
        model: TextEncoder | str | Path,
        *,
        device: str = "auto",
        instruction: str | None = None,
        mode: Mode = "dense",
        index_type: str = "flat",
    ) -> None:
        """`model` is an encoder or anything that `Encoder.load` takes; the other settings are those of `evaluate`."""
        if isinstance(model, str | Path):
            from debater_search.encoder import Encoder

            model = Encoder.load(model, device=device)
        self.encoder, self.instruction, self.mode, self.index_type = model, instruction, mode, index_type
        self._corpus: Any = None
        self._engine: SearchEngine | None = None
        self._index = ExitStack()

    @property
    def mteb_model_meta(self) -> Any:
        """The model's description; its revision is the fingerprint, so that mteb does not confuse weights."""
        return model_meta(self.encoder)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **options: Any,
    ) -> np.ndarray:
        """Vectors of the texts in mteb's batches, float32 [n, dim].

        Queries get the same instruction as in `evaluate`; texts that are neither queries nor documents, as in
        similarity tasks, are encoded as queries without an instruction.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        kind = getattr(prompt_type, "value", prompt_type)
        if kind == "document":
            return self.encoder.encode_documents(texts)
        instruction = self._instruction(task_metadata.name) if kind == "query" else ""
        return self.encoder.encode_queries(texts, instruction=instruction)

    def similarity(self, embeddings1: Array, embeddings2: Array) -> np.ndarray:
        """Cosines, [n, dim] and [m, dim] → [n, m]; all vectors have length 1."""
        return np.asarray(embeddings1) @ np.asarray(embeddings2).T

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> np.ndarray:
        """Cosines of the vectors of one row each, [n, dim] and [n, dim] → [n]."""
        return np.einsum("nd,nd->n", np.asarray(embeddings1), np.asarray(embeddings2))

    def index(self, corpus: Any, *, task_metadata: Any, **options: Any) -> None:
        """Build the index of an mteb corpus; it replaces the previous one."""
        self.close()
        self._corpus = corpus
        self._engine, _ = self._index.enter_context(
            indexed(documents_in(corpus), self.encoder, index_type=self.index_type)
        )

    def search(self, queries: Any, *, task_metadata: Any, top_k: int, top_ranked: Any = None, **options: Any) -> Run:
        """The `top_k` best documents per query in the last index, or only among `top_ranked` if given."""
        if self._engine is None:
            raise InvalidError("There is no index to search.", "Call index(corpus, …) first.")
        if top_ranked is not None:
            return self._rerank(queries, task_metadata=task_metadata, top_k=top_k, top_ranked=top_ranked, **options)
        asked = queries_in(queries)
        vectors = None
        if self.mode != "lexical":
            vectors = query_vectors(asked, self.encoder, self._instruction(task_metadata.name))
        return self._engine.search_batch(asked, top_k, mode=self.mode, vectors=vectors)

    def close(self) -> None:
        """Remove the index."""
        self._index.close()
        self._engine = None

    def _rerank(self, queries: Any, **options: Any) -> Run:
        wrapper = require("mteb.models", extra="eval").SearchEncoderWrapper(self)
        settings = {name: options.get(name) for name in ("task_metadata", "hf_split", "hf_subset", "encode_kwargs")}
        wrapper.index(self._corpus, **settings)
        found: Run = wrapper.search(queries, **options)
        return found

    def _instruction(self, task: str) -> str | None:
        return papers_instruction(task, self.encoder) if self.instruction is None else self.instruction


class _Answers:
    """A run in the form of an mteb model."""

    def __init__(self, run: Run, meta: Any) -> None:
        self.run, self.mteb_model_meta = run, meta

    def index(self, corpus: Any, **options: Any) -> None:
        """Does nothing: the run has all answers."""

    def search(self, queries: Any, **options: Any) -> Run:
        """The run's answers; empty for queries that it does not have."""
        return {str(query_id): dict(self.run.get(str(query_id), {})) for query_id in queries["id"]}


def model_meta(encoder: TextEncoder) -> Any:
    """mteb's description of a model, from local data only."""
    described = require("mteb.models.model_meta", extra="eval")
    return described.ModelMeta.create_empty(
        overwrites={
            "name": _model_name(encoder.name),
            "revision": encoder.fingerprint,
            "n_parameters": getattr(encoder, "parameters", None),
            "max_tokens": getattr(encoder, "document_length", None),
            "embed_dim": encoder.dim,
            "open_weights": True,
            "framework": ["PyTorch"] if hasattr(encoder, "device") else [],
            "similarity_fn_name": described.ScoringFunction.COSINE,
            "use_instructions": trained_with_instructions(encoder),
        }
    )


def save_mteb_result(task: MtebTask, result: Result, encoder: TextEncoder, folder: str | Path) -> Path:
    """Write a result in mteb's format, scored by mteb: `<model>/<revision>/<task>.json` and `model_meta.json`.

    Results of other languages and splits in the same file are kept. Returns the file.
    """
    task_result = require("mteb.results", extra="eval").TaskResult
    meta = model_meta(encoder)
    split = task.split_of(result.provenance["split"])
    scores = task.task.evaluate(_Answers(result.run, meta), split, subsets_to_run=[task.subset], encode_kwargs={})
    made = task_result.from_task_results(task.task, {split: scores}, evaluation_time=sum(result.timings.values()))
    place = Path(folder) / meta.model_name_as_path() / meta.revision
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"{task.task.metadata.name}.json"
    if file.exists():
        with suppress(ValueError):  # damaged, or of another revision of the data: replaced
            made = task_result.from_disk(file).merge(made)
    with atomic(file) as temporary:
        made.to_disk(temporary)
    write_lines(place / "model_meta.json", [json.dumps(meta.to_dict(), default=str, indent=4)])
    return file


def _model_name(name: str) -> str:
    """`owner/model`, as mteb needs it: the hub id, or debater/NAME for our own models and folders."""
    from debater_search.encoder.loading.hub import ALIASES

    if name in ALIASES:
        return ALIASES[name].hub_id or f"debater/{name}"
    folder = Path(name)
    return f"debater/{folder.resolve().name}" if folder.exists() or name.count("/") != 1 else name
