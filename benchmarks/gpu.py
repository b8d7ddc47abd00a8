"""Encoding, building, searching and a training step on an NVIDIA GPU: `python benchmarks/gpu.py [--vectors N]`

Prints Markdown tables; without a GPU it says so and ends with exit code 2. Encoding: MiniLM and a decoder of
SmolLM2-135M's shape with random weights, texts of 8 to 400 words. Building and searching: synthetic vectors of 384
dimensions as in `search.py`, the same types with FAISS's GPUs and with them hidden; CAGRA where FAISS has cuVS.
Training: full weights, 64 questions with a negative each, cached and not. `--device cpu` tries it without a GPU.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from encode import save_decoder
from search import DIM, Mixture, share_found
from train import rows

from debater_search.encoder import Encoder
from debater_search.encoder.loading.hub import locate
from debater_search.errors import DebaterError
from debater_search.training import train
from debater_search.training.settings import TrainingSettings
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import gpu_count, has_cuvs

SEARCH = Path(__file__).parent / "search.py"
BATCH = 1000  # queries
STEPS = 12
SKIPPED = 2  # steps while kernels are chosen


def table(title: str, columns: list[str]) -> None:
    print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|--|" + "--:|" * (len(columns) - 1))


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def texts(count: int) -> list[str]:
    chosen = random.Random(0)
    words = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(2, 9))) for _ in range(20_000)]
    return [" ".join(chosen.choices(words, k=round(8 * 50 ** chosen.random()))) for _ in range(count)]


def peak_memory(device: str) -> str:
    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if device.startswith("cuda") else "–"


def timed(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def encoding(device: str, documents: int, folder: Path) -> None:
    table("Encoding", ["model", "number type", "batch, tokens", "documents/s", "tokens/s", "peak memory, GB"])
    given = texts(documents)
    decoder = save_decoder(folder / "decoder", locate("minilm").folder)
    for name, model in (("MiniLM", "minilm"), ("decoder, 135M", str(decoder))):
        for dtype in ("float32", "bfloat16") if device.startswith("cuda") else ("float32",):
            encoder = Encoder.load(model, device=device, dtype=dtype)
            batch = encoder.calibrate(given[:512])
            encoder.encode_documents(given[:512], batch_tokens=batch)
            seconds = timed(lambda: encoder.encode_documents(given, batch_tokens=batch), device)  # noqa: B023
            tokens = sum(map(len, encoder.token_ids(given, "document")))
            rates = f"{documents / seconds:,.0f}", f"{tokens / seconds:,.0f}"
            row(name, dtype, f"{batch:,}", *rates, peak_memory(device))


def built(vectors: Path, type: str, path: Path, *, hidden: bool) -> dict[str, float]:
    """Build in a process of its own, with the GPUs or with them hidden."""
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})
    command = [sys.executable, str(SEARCH), "--build", str(vectors), type, str(path)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout))


def indexes(device: str, count: int, folder: Path) -> None:
    mixture = Mixture()
    queries = next(mixture.chunks(BATCH, seed=1))
    path = folder / "rows.npy"
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (count, DIM))
    start = 0
    for chunk in mixture.chunks(count, seed=0):
        vectors[start : start + len(chunk)] = chunk
        start += len(chunk)
    vectors.flush()
    measures = ("build s", "ms a query of 1,000", "ms of one query", "recall@10")
    columns = [f"{measure}, {side}" for measure in measures for side in ("GPU", "CPU")]
    table(f"{count:,} vectors of {DIM} dimensions", ["type", *columns])
    exact = np.empty((0, 10))
    for type in ("flat", "ivf", "sq8", *(("cagra", "hnsw") if has_cuvs() else ("hnsw",))):
        index_path = folder / type
        with_gpus = built(vectors=path, type=type, path=index_path, hidden=False)["seconds"] if gpu_count() else None
        without = built(vectors=path, type=type, path=folder / "cpu", hidden=True)["seconds"]
        index = FaissIndex.load(index_path if gpu_count() else folder / "cpu")
        sides = [list(measured(index, queries))]
        if type == "flat":
            exact = index.search(queries, 10)[1]
        recalls = [f"{share_found(index.search(queries, 10)[1], exact):.3f}"]
        try:
            index.to_gpus(device)
            sides.insert(0, list(measured(index, queries)))
            recalls.insert(0, f"{share_found(index.search(queries, 10)[1], exact):.3f}")
        except DebaterError as error:
            print(f"{type}: {error.message}", file=sys.stderr)
            sides.insert(0, ["–", "–"])
            recalls.insert(0, "–")
        (many, one), (many_cpu, one_cpu) = sides
        row(type, seconds(with_gpus), seconds(without), many, many_cpu, one, one_cpu, *recalls)
    if not has_cuvs():
        print("\nCAGRA was not measured: this FAISS has no cuVS (pip install faiss-gpu-cuvs).")


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def measured(index: FaissIndex, queries: np.ndarray) -> Iterator[str]:
    """Milliseconds a query: of a batch, and alone (median)."""
    index.search(queries, 10)
    start = time.perf_counter()
    index.search(queries, 10)
    yield f"{1000 * (time.perf_counter() - start) / len(queries):.3f}"
    alone = []
    for query in queries[:200]:
        start = time.perf_counter()
        index.search(query[None], 10)
        alone.append(1000 * (time.perf_counter() - start))
    yield f"{statistics.median(alone):.3f}"


def training(device: str, batch: int, folder: Path) -> None:
    table("A training step", ["model", "gradients", "batch", "step, ms", "tokens/s", "peak memory, GB"])
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(example) + "\n" for example in rows(batch * STEPS)), encoding="utf-8")
    for name, model in (("MiniLM", "minilm"), ("decoder, 135M", str(folder / "decoder"))):
        for cached in (False, True):
            settings = TrainingSettings.model_validate(
                {
                    "model": model,
                    "data": [{"path": str(path)}],
                    "lora": None,
                    "max_length": {"query": 64, "document": 256},
                    "batch_size": batch,
                    "gradient_cache": 16384 if cached else False,
                    "warmup_steps": 0,
                    "max_steps": STEPS,
                    "save_steps": 10**6,
                    "report_to": [],
                    "thinking_steps": 1,
                    "loss": {"distill": False},
                    "output": str(folder / "run"),
                }
            )
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            train(settings, device=device, processes=1, force=True)
            lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            steps = [json.loads(line) for line in lines][SKIPPED:]
            took = statistics.median(batch / step["examples/s"] for step in steps)
            rate = statistics.median(step["tokens/s"] for step in steps)
            kind = "cached" if cached else "in one"
            row(name, kind, batch, f"{1000 * took:.0f}", f"{rate:,.0f}", peak_memory(device))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--vectors", type=int, default=10**6)
    parser.add_argument("--batch", type=int, default=64)
    asked = parser.parse_args()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no NVIDIA GPU that PyTorch can use: nothing was measured.", file=sys.stderr)
        sys.exit(2)
    named = torch.cuda.get_device_name() if asked.device.startswith("cuda") else "no GPU"
    print(f"{named}, torch {torch.__version__}, FAISS with {gpu_count()} GPUs{' and cuVS' if has_cuvs() else ''}")
    with tempfile.TemporaryDirectory() as folder:
        encoding(asked.device, asked.documents, Path(folder))
        indexes(asked.device, asked.vectors, Path(folder))
        training(asked.device, asked.batch, Path(folder))


if __name__ == "__main__":
    main()
