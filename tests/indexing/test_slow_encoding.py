"""Encoding takes no more memory for a large corpus than for a small one. `make test-slow`."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ENCODE = """
import resource, sys
from debater_search.encoder import Encoder
from debater_search.indexing import build

encoder = Encoder.load(sys.argv[1], max_length=32, device="cpu")
build(sys.argv[2], encoder, sys.argv[3], encode_only=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write_corpus(path: Path, documents: int) -> Path:
    """Documents of 10 to 60 words out of 20,000, no two alike."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            text = " ".join(rng.choices(words, k=rng.randint(10, 60)))
            file.write(json.dumps({"_id": f"document-{number}", "title": words[number % 20_000], "text": text}) + "\n")
    return path


def test_ten_times_the_documents_take_no_more_memory(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    peaks = []
    for documents in (20_000, 200_000):
        corpus = write_corpus(tmp_path / f"{documents}.jsonl", documents)
        command = [sys.executable, "-c", ENCODE, str(tiny_model("bert")), str(corpus), str(tmp_path / f"{documents}")]
        peaks.append(int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    print(peaks, "MB")
    assert peaks[1] < 1.1 * peaks[0]
