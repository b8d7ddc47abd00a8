"""Our models inside mteb's own evaluation, and our results as mteb's result files."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from debater_search.data.files import write_lines
from debater_search.errors import DebaterError
from debater_search.evaluation.evaluate import indexed, papers_instruction
from debater_search.evaluation.hub_tasks import MtebTask, documents_in, queries_in
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.results import Result
from debater_search.extras import require
from debater_search.files import atomic
from debater_search.search import Mode, SearchEngine
from debater_search.types import Run

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

Array = Any
"""A numpy array or a torch tensor."""


class DebaterModel:
    """A model as mteb wants one: `mteb.evaluate(DebaterModel("checkpoints/demo"), mteb.get_tasks([...]))`.

    Retrieval goes through our own engine (`index`, `search`), as `debater eval` does it; other tasks, and retrieval by
    `mteb.models.SearchEncoderWrapper(model)`, through `encode` and mteb's own search.
    """

    def __init__(
        self,
        model: "Encoder | str | Path",
        *,
        device: str = "auto",
        instruction: str | None = None,
        mode: Mode = "dense",
        index_type: str = "flat",
    ) -> None:
        """`model` is an encoder or what `Encoder.load` takes; the other settings are those of `evaluate`."""
        if isinstance(model, str | Path):
            from debater_search.encoder import Encoder

            model = Encoder.load(model, device=device)
        self.encoder, self.instruction, self.mode, self.index_type = model, instruction, mode, index_type
        self._corpus: Any = None
        self._engine: SearchEngine | None = None
        self._index = ExitStack()

    @property
    def mteb_model_meta(self) -> Any:
        """Who the model is; its revision is the fingerprint, so that mteb takes no other weights for these."""
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

        Queries get the instruction that `debater eval` gives them; texts that are neither queries nor documents, as in
        tasks on similarity, are read as queries without one.
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
        """Build the index of a corpus of mteb's; it takes the place of the one before."""
        self.close()
        self._corpus = corpus
        self._engine, _ = self._index.enter_context(
            indexed(lambda: documents_in(corpus), self.encoder, index_type=self.index_type)
        )

    def search(self, queries: Any, *, task_metadata: Any, top_k: int, top_ranked: Any = None, **options: Any) -> Run:
        """The `top_k` best documents of each query, of the index made last; of `top_ranked` alone where it is given."""
        if self._engine is None:
            raise DebaterError("There is no index to search.", "Call index(corpus, …) before.")
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
    """A run, as a model that mteb can ask for it."""

    def __init__(self, run: Run, meta: Any) -> None:
        self.run, self.mteb_model_meta = run, meta

    def index(self, corpus: Any, **options: Any) -> None:
        """There is nothing to do."""

    def search(self, queries: Any, **options: Any) -> Run:
        """What the run answers; a query that it misses found nothing."""
        return {str(query_id): dict(self.run.get(str(query_id), {})) for query_id in queries["id"]}


def model_meta(encoder: "Encoder") -> Any:
    """mteb's description of a model: what is known of it without asking anybody."""
    described = require("mteb.models.model_meta", extra="eval")
    parameters = sum(parameter.numel() for parameter in encoder.model.parameters())
    return described.ModelMeta.create_empty(
        overwrites={
            "name": _model_name(encoder.name),
            "revision": encoder.fingerprint,
            "n_parameters": parameters,
            "max_tokens": encoder.spec.document_length,
            "embed_dim": encoder.dim,
            "open_weights": True,
            "framework": ["PyTorch"],
            "similarity_fn_name": described.ScoringFunction.COSINE,
            "use_instructions": encoder.trained_with_instructions,
        }
    )


def save_mteb_result(task: MtebTask, result: Result, encoder: "Encoder", folder: str | Path) -> Path:
    """Write a result as mteb does, scored by mteb: `<model>/<revision>/<task>.json` and `model_meta.json`.

    What stands there of other languages and splits of the task stays. Returns the file.
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
    """`owner/model`, as mteb wants it: a hub id as it is; of ours, and of a folder, the own name."""
    from debater_search.encoder.hub import ALIASES

    if name in ALIASES:
        return ALIASES[name].hub_id or f"debater/{name}"
    folder = Path(name)
    return f"debater/{folder.resolve().name}" if folder.exists() or name.count("/") != 1 else name
