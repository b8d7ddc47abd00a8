"""FAISS on GPUs beside FAISS on the CPU: the same hits, and how much sooner."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
from report import Report, Setting
from shapes import seconds

from debater_search.vectors import VectorSettings
from debater_search.vectors.faiss import gpu, gpu_build
from debater_search.vectors.faiss.build import build_index
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import gpu_count, has_cuvs

DIM = 384
SEARCHED = ("flat", "ivf", "sq8")
QUERIES = 1000


def agree(setting: Setting, report: Report) -> None:
    """Hits on GPUs are those on the CPU, one index has one copy, and a wide search stays on the CPU."""
    rows, queries = clustered(setting.sized(50_000, 3000)), clustered(setting.sized(200, 5), seed=1)
    for type in SEARCHED:
        path = Path(setting.folder) / f"agree-{type}"
        build_index([rows], DIM, VectorSettings(type), path)
        index, plain = FaissIndex.load(path), FaissIndex.load(path)
        if not gpu_count():
            same = share_of_same(plain.search(queries, 10)[1], index.search(queries, 10)[1])
            report.check(f"{type}: opened twice, other hits", 1 - same, 0)
            continue
        index.to_gpus("cuda", type)
        again = FaissIndex.load(path)
        again.to_gpus("cuda", type)
        report.check(f"{type}: copies of one index beside the first", float(again._copy is not index._copy), 0)
        for k in (10, 1000):
            found, expected = index.search(queries, k), plain.search(queries, k)
            report.check(f"{type}: other hits of {k} than on the CPU", 1 - share_of_same(found[1], expected[1]), 0.01)
            report.check(f"{type}: scores of {k}", float(np.abs(found[0] - expected[0]).max()), 1e-3)
        deep = share_of_same(index.search(queries, 3000)[1], plain.search(queries, 3000)[1])
        report.check(f"{type}: other hits of 3,000, by the CPU", 1 - deep, 0)
    if not gpu_count():
        report.note("FAISS finds no GPU here: only the CPU was searched.")


def speed(setting: Setting, report: Report) -> None:
    """Building and searching, with GPUs and with them hidden."""
    rows, queries = clustered(setting.sized(200_000, 3000)), clustered(QUERIES if not setting.tiny else 20, seed=1)
    exact = np.empty((0, 10))
    types = (*SEARCHED, *(("cagra",) if has_cuvs() else ()))
    for type in types:
        for where in ("GPU", "CPU") if gpu_count() else ("CPU",):
            if (type, where) == ("cagra", "CPU"):
                continue  # a CPU builds its graph for many minutes
            path = Path(setting.folder) / f"speed-{type}-{where}"
            hidden = (
                [patch.object(module, "gpu_count", lambda: 0) for module in (gpu, gpu_build)] if where == "CPU" else []
            )
            for each in hidden:
                each.start()
            took = seconds(lambda: build_index(np.array_split(rows, 50), DIM, VectorSettings(type), path), "cpu")  # noqa: B023
            for each in hidden:
                each.stop()
            index = FaissIndex.load(path)
            if where == "GPU" and type != "cagra":
                index.to_gpus("cuda")
            found = index.search(queries, 10)[1]
            exact = found if type == "flat" else exact
            many = seconds(lambda: index.search(queries, 10), "cpu", 3) / len(queries)  # noqa: B023
            one = seconds(lambda: index.search(queries[:1], 10), "cpu", 20)  # noqa: B023
            report.row(
                type=type, where=where, vectors=len(rows),
                **{"build, s": took, f"ms/query of {len(queries):,}": 1000 * many, "ms of one query": 1000 * one,
                   "recall@10": share_of_same(found, exact)},
            )  # fmt: skip


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """Vectors of length 1 around 1,000 centres: float32 [count, DIM]."""
    centres = np.random.default_rng(99).standard_normal((1000, DIM), np.float32)
    drawn = np.random.default_rng(seed)
    found = centres[drawn.integers(0, len(centres), count)] + drawn.standard_normal((count, DIM), np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def share_of_same(found: np.ndarray, expected: np.ndarray) -> float:
    same = [len({*a} & {*b}) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]
    return float(np.mean(same) / expected.shape[1])
