"""Twelve one-word topics, and what a run on them wrote."""

import json
from pathlib import Path

WORDS = ["wing", "lift", "drag", "heat", "flow", "jet", "shock", "wake", "mach", "rotor", "blade", "skin"]


def metrics(folder: Path, phase: str = "training") -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["phase"] == phase]
