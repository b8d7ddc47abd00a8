"""Programs in groups of processes, and what they train."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LORA = {"r": 4, "alpha": 8, "dropout": 0.0}


def settings_of(way: dict[str, Any], rows: Path, model: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "thinking_steps": 3,
        "data": [{"path": str(rows)}],
        "lora": way["lora"],
        "max_length": {"query": 32, "document": 60},
        "batch_size": 10,
        "negatives": 2,
        "parallel": way["parallel"],
        "output": "unused",
        "report_to": [],
        **way.get("more", {}),
        **more,
    }


def torchrun(processes: int, *program: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A program in a group of processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, *program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done
