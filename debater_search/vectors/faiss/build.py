"""Build an index file from vectors that arrive in chunks: on disk first, then trained, added, tuned and measured."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.errors import InvalidError
from debater_search.vectors.base import VectorSettings
from debater_search.vectors.faiss.gpu_build import assigner, cagra_graph, train
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import gpu_count, has_cuvs, import_faiss, read_mapped
from debater_search.vectors.faiss.planner import CAGRA, POINTS_A_LIST, Plan, make_plan
from debater_search.vectors.faiss.tuning import tune
from debater_search.vectors.recall import DEPTHS, RecallTest

_CHUNK = 8192  # vectors that are added at once
_CONSTRUCTION = 100  # efConstruction of graphs
_TRAINING = 50_000  # vectors to train on, more where there are many lists
_LEAST_TRAINING = 256  # vectors; what 8-bit codes need, repeated where there are fewer
_FLOATS_SUFFIX = ".floats"


class TooFewVectorsError(InvalidError):
    """The type can be built, from more vectors."""


@dataclass(frozen=True)
class Built:
    """What was built: the plan, vectors, search parameters, recall per depth, and whether recall@10 is the target."""

    plan: Plan
    rows: int
    parameters: dict[str, float]
    recall: dict[int, float]
    reached: bool


def build_index(chunks: Iterable[np.ndarray], dim: int, settings: VectorSettings, path: Path) -> Built:
    """Build the index of all chunks, float32 [n, dim] each, in the file `path`.

    The floats go to disk as they come, into a file beside `path`, and are mapped from there; a flat index is this
    file. Memory holds the index without what it can map, one chunk, and the training sample. The result is
    deterministic, except for graphs that several threads build.

    Raises:
        TooFewVectorsError: the factory string needs more training vectors than there are.

    """
    staged = path.with_name(path.name + _FLOATS_SUFFIX)
    try:
        rows = write_floats(staged, chunks, dim)
        plan = make_plan(
            settings.type, len(rows), dim, memory=settings.memory, recall=settings.recall, gpus=gpu_count()
        )
        if plan.factory == "Flat":
            staged.replace(path)
            return Built(plan, len(rows), {}, dict.fromkeys(DEPTHS, 1.0), True)
        index = FaissIndex.of(_with_floats(_fill(plan, rows), staged))
        test = RecallTest.sample(rows, FaissIndex.load(staged))
        reached = tune(index, test, settings.recall)
        measured = {depth: test.recall(index, depth) for depth in DEPTHS}
        index.save(path)
        return Built(plan, len(rows), index.parameters, measured, reached)
    finally:
        staged.unlink(missing_ok=True)


def write_floats(path: Path, chunks: Iterable[np.ndarray], dim: int) -> np.ndarray:
    """Write a flat index without holding it in memory; returns its rows [n, dim], mapped.

    FAISS's file of a flat index is a header, which holds the number of vectors and of floats, and then the floats.
    """
    faiss = import_faiss()
    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dim)))
    count = 0
    with path.open("wb") as file:
        file.write(header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype=np.float32).data)
            count += len(chunk)
        header[8:16] = struct.pack("<q", count)
        header[-8:] = struct.pack("<Q", count * dim)
        file.seek(0)
        file.write(header)
    return read_floats(path, dim)


def read_floats(path: Path, dim: int) -> np.ndarray:
    """The rows of a flat index file [n, dim], mapped."""
    faiss = import_faiss()
    header = len(faiss.serialize_index(faiss.IndexFlatIP(dim)))
    count = (path.stat().st_size - header) // (4 * dim)
    if count == 0:
        return np.empty((0, dim), np.float32)
    return np.memmap(path, np.float32, "r", offset=header, shape=(count, dim))


def _fill(plan: Plan, rows: np.ndarray) -> Any:
    """The FAISS index of a plan, trained and with all rows."""
    faiss = import_faiss()
    if plan.type == CAGRA and has_cuvs():  # without it, as where a copy is compacted, a CPU builds the graph
        return cagra_graph(rows)
    index = faiss.index_factory(rows.shape[1], plan.factory, faiss.METRIC_INNER_PRODUCT)
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efConstruction = _CONSTRUCTION
    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if isinstance(inner, faiss.IndexIVF):
        inner.cp.min_points_per_centroid = 1  # what is few was planned so, and need not be warned of
        if hasattr(inner, "pq"):
            inner.pq.cp.min_points_per_centroid = 1
    codes = faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner
    if isinstance(codes, faiss.IndexPQ):
        codes.do_polysemous_training = False  # takes minutes, for a kind of search that is not used here
    if not index.is_trained:
        _train(index, inner, _sample(rows, getattr(inner, "nlist", 0), _least_training(index, plan)), plan)
    if isinstance(index, faiss.IndexIVF) and _plain_lists(index):
        _add_to_lists(index, rows)
        return index
    _reserve(index, len(rows))
    for chunk in _chunks(rows):
        index.add(chunk)
    return index


def _least_training(index: Any, plan: Plan) -> int:
    """How many vectors the training must have, repeated ones included."""
    faiss = import_faiss()
    if isinstance(index, faiss.IndexPreTransform):
        chain = (faiss.downcast_VectorTransform(index.chain.at(number)) for number in range(index.chain.size()))
        if any(isinstance(transform, faiss.OPQMatrix) for transform in chain):
            return int(index.d)  # with fewer, FAISS corrupts the memory
    return 0 if plan.type == plan.factory else _LEAST_TRAINING  # what the user asks for says itself what it needs


def _sample(rows: np.ndarray, lists: int, least: int) -> np.ndarray:
    """Random rows to train on, repeated if there are fewer than `least`."""
    wanted = min(len(rows), max(POINTS_A_LIST * lists, _TRAINING))
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), wanted, replace=False))
    sample = _aligned(rows[chosen])
    return sample if wanted >= least else np.resize(sample, (least, rows.shape[1]))


def _train(index: Any, inner: Any, sample: np.ndarray, plan: Plan) -> None:
    try:
        train(index, inner, sample)
    except RuntimeError as error:
        hint = "Choose a type with fewer lists or shorter codes, or type auto; the embeddings are kept."
        if "training points" in str(error):
            raise TooFewVectorsError(
                f"The index type {plan.factory} cannot be trained on {len(sample):,} vectors: it needs more.", hint
            ) from None
        reason = str(error).strip().splitlines()[-1]
        raise InvalidError(f"FAISS cannot train the index type {plan.factory}: {reason}", hint) from None


def _add_to_lists(index: Any, rows: np.ndarray) -> None:
    """Add to inverted lists that have their final size from the start: growing ones would hold up to twice that."""
    faiss = import_faiss()
    assign = assigner(index.quantizer)
    lists = np.concatenate([assign(chunk) for chunk in _chunks(rows)])
    for number, size in enumerate(np.bincount(lists[lists >= 0], minlength=index.nlist)):
        index.invlists.resize(number, int(size))
        index.invlists.resize(number, 0)  # keeps what it has reserved
    start = 0
    for chunk in _chunks(rows):
        to = np.ascontiguousarray(lists[start : start + len(chunk)])
        index.add_core(len(chunk), faiss.swig_ptr(chunk), None, faiss.swig_ptr(to))
        start += len(chunk)


def _plain_lists(index: Any) -> bool:
    faiss = import_faiss()
    return isinstance(faiss.downcast_InvertedLists(index.invlists), faiss.ArrayInvertedLists)


def _reserve(index: Any, rows: int) -> None:
    """Give a graph's vectors their room at once."""
    faiss = import_faiss()
    codes = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if isinstance(codes, faiss.IndexFlatCodes):
        codes.codes.resize(rows * codes.code_size)
        codes.codes.resize(0)


def _with_floats(index: Any, staged: Path) -> Any:
    """An index whose hits are rescored with the float vectors, unless it has those itself and can scan them all."""
    faiss = import_faiss()
    if type(index) in (faiss.IndexHNSWFlat, faiss.IndexHNSWCagra) or (
        type(index) is faiss.IndexIVFFlat and isinstance(faiss.downcast_index(index.quantizer), faiss.IndexFlat)
    ):
        return index
    return faiss.IndexRefine(index, read_mapped(staged))


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _CHUNK):
        yield _aligned(rows[start : start + _CHUNK])


def _aligned(rows: np.ndarray) -> np.ndarray:
    return np.require(rows, np.float32, ["C", "A"])
