"""Training files larger than memory should be. `make test-slow`."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

GIGABYTE = 10**9

READ_AT_RANDOM = """
import random, resource, sys, time
from debater_search.data import open_training_set

start = time.perf_counter()
rows = open_training_set(sys.argv[1])
opened = time.perf_counter()
for row in random.Random(0).sample(range(len(rows)), 200_000):
    assert rows.example(row).query.startswith(f"{row} ")
read = time.perf_counter()
print(len(rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(f"opened in {opened - start:.0f} s, {200_000 / (read - opened):,.0f} random rows/s", file=sys.stderr)
"""


def write_triples(path: Path, size: int) -> int:
    """Write triples of about a kilobyte until `size` bytes are reached; returns their number."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyzäé", k=rng.randint(2, 10))) for _ in range(20_000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(40, 120))) for _ in range(5_000)]
    rows = written = 0
    with path.open("wb") as file:
        while written < size:
            row = {"query": f"{rows} {words[rows % 20_000]}", "positive": rng.choice(texts)}
            row["negative"] = f"{rng.choice(texts)} {rows}"
            written += file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            rows += 1
    return rows


def test_five_gigabytes_of_triples_are_used_within_one_gigabyte_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "triples.jsonl"
    rows = write_triples(path, 5 * GIGABYTE)
    try:
        # a process of its own: what counts is the most that it ever had resident
        ran = subprocess.run(
            [sys.executable, "-c", READ_AT_RANDOM, str(path)], check=True, capture_output=True, text=True
        )
    finally:
        path.unlink()
    print(ran.stdout, ran.stderr)
    found, peak = map(int, ran.stdout.split())
    assert found == rows
    assert peak < GIGABYTE
