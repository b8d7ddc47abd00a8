"""Peak memory of one training step by global batch, with and without gradient caching: `python benchmarks/memory.py`.

MiniLM with 8 thinking tokens and LoRA, documents of 64 tokens; each row is a fresh process that trains one step.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LENGTH, CHUNK = 64, 4096
RUNS = [(False, 32), (False, 128), (CHUNK, 32), (CHUNK, 128), (CHUNK, 512)]
"""(gradient_cache, batch): 512 without a cache needs more than 12 GB."""


def child(cache: int, batch: int, folder: Path) -> None:
    from debater_search.training import train
    from debater_search.training.dry_run import plan
    from debater_search.training.settings import TrainingSettings

    settings = TrainingSettings.model_validate(
        {
            "model": "minilm",
            "data": [{"path": str(ROOT / "data" / "train" / "medquad.jsonl.gz")}],
            "lora": {"dropout": 0.0},
            "max_length": {"query": 32, "document": LENGTH},
            "batch_size": batch,
            "gradient_cache": cache or False,
            "max_steps": 1,
            "warmup_steps": 0,
            "report_to": [],
            "output": str(folder / f"{cache}-{batch}"),
        }
    )
    estimate = plan(settings).facts["memory_per_device"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the program itself, its libraries
    train(settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": peak / 1024, "added": (peak - before) / 1024, "estimate": estimate / 2**20}))


def main() -> None:
    print(
        "| gradients | batch | peak memory, MB | of that training, MB | estimate of `--dry-run`, MB |\n"
        "|--|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for cache, batch in RUNS:
            command = [sys.executable, __file__, "--child", str(int(cache)), str(batch), folder]
            environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            facts = json.loads(done.stdout.splitlines()[-1])
            way = f"cached, {cache:,} tokens a chunk" if cache else "in one"
            print(
                f"| {way} | {batch} | {facts['peak']:,.0f} | {facts['added']:,.0f} | {facts['estimate']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
