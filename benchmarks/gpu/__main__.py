"""Whether all of it holds on an NVIDIA GPU, and how fast it is: `python benchmarks/gpu [--json FILE] [--minutes 9]`

Correctness first: attention kernels, packing, batches, precision, merged adapters, gradient caching, memory that runs
out, FAISS. Then tokens per second, peak memory and the share of the card's peak, encoding and training. Each section
runs in a process of its own, for a limited time: where one fails, the rest goes on. Prints Markdown tables; the exit
code is 1 if a check or a section failed. `--only NAME …` chooses sections; `--tiny` tries all of it without a GPU.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # a fork cannot use CUDA where its parent has begun to

import correct
import learning
import machine
import peft  # noqa: F401  (imported once, for all sections)
import processes
import speed
import vectors
from report import Section, Setting, run, show

SECTIONS = [
    Section("machine", machine.describe, 60),
    Section("attention", correct.attention, 60),
    Section("packing", correct.packing, 60),
    Section("batches", correct.batches, 45),
    Section("precision", correct.precision, 45),
    Section("adapters", correct.adapters, 45),
    Section("gradients", learning.gradients, 60),
    Section("memory", learning.memory, 90),
    Section("faiss", vectors.agree, 60),
    Section("encoding", speed.encoding, 90),
    Section("training", speed.training, 90),
    Section("default-model", speed.default_model, 60),
    Section("faiss-speed", vectors.speed, 75),
    Section("processes", processes.compare, 90),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for all results")
    parser.add_argument("--minutes", type=float, default=9, help="time for all sections together (default 9)")
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS], help="sections to run")
    parser.add_argument("--tiny", action="store_true", help="small shapes, on a CPU")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # libraries' advice to their programmers
    end = time.monotonic() + 60 * asked.minutes
    results = []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting("cpu" if asked.tiny else "cuda:0", asked.tiny, folder)
        for section in SECTIONS:
            if asked.only and section.name not in asked.only:
                continue
            result = run(section, setting, end - time.monotonic())
            results.append(result)
            show(result)
            if section.name == "machine" and result["error"]:
                return 2
    if asked.json:
        asked.json.write_text(json.dumps({"tiny": asked.tiny, "sections": results}, indent=1), encoding="utf-8")
    checks = [check for result in results for check in result["checks"]]
    failed = sum(not check["holds"] for check in checks) + sum(result["error"] is not None for result in results)
    print(f"\n{len(checks)} checks, {failed} failures.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
