"""Results on disk for tests of the report, as evaluations leave them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from debater_search.evaluation import read_results, save_details, scored, write_results
from debater_search.types import Document, Qrels, Run

HOSTILE = "</script><img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"

QRELS: Qrels = {"q1": {"a": 2, "b": 1}, "q2": {"c": 1}, "q3": {"d": 1, "a": 0}}
TEXTS = {"q1": "wings that flutter", "q2": HOSTILE, "q3": "heat of the boundary layer"}
DOCUMENTS = [Document(name, f"The text of {name}. " * 50, f"Title {name.upper()}") for name in "abcd"]
DOCUMENTS[2] = Document("c", f"{HOSTILE} in a text", f"{HOSTILE} in a title")

GOOD: Run = {"q1": {"a": 3.0, "b": 2.0}, "q2": {"c": 1.0}, "q3": {"a": 2.0, "d": 1.0}}
POOR: Run = {"q1": {"d": 3.0, "b": 2.0}, "q2": {"a": 1.0}, "q3": {"d": 1.0}}


def save(folder: Path, runs: Mapping[str, Run], task: str = "flight", **more: Any) -> Path:
    """Save runs, by model, as results of a task, with all that belongs to them."""
    results = [scored(task, model, run, QRELS, **more) for model, run in runs.items()]
    for result in reversed(results):
        result.save(folder, baseline=result is not results[0])
    save_details(folder, results, QRELS, TEXTS, lambda ids: DOCUMENTS)
    return folder


def add(folder: Path, kind: str, entry: dict[str, Any]) -> None:
    """Add a comparison or an analysis to what a folder holds."""
    saved = read_results(folder)
    write_results(folder, saved | {kind: [*saved[kind], entry]})


def comparison(system: str, baseline: str, task: str = "flight") -> dict[str, Any]:
    """What a comparison of two models found."""
    found = {
        "baseline": 0.4, "system": 0.6, "difference": 0.2, "interval": [0.1, 0.3], "p_randomisation": 0.001,
        "p_t": 0.002, "p_randomisation_holm": 0.004, "p_t_holm": 0.008, "effect_size": 0.5,
        "wins": 2, "ties": 0, "losses": 1,
    }  # fmt: skip
    lost = [{"query": "q3", "text": "heat of the boundary layer", "baseline": 1.0, "system": 0.6}]
    return {
        "task": task, "baseline": baseline, "system": system, "metrics": {"ndcg@10": found}, "gained": [], "lost": lost
    }  # fmt: skip


def rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of a .jsonl by their id."""
    read = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {row["_id"]: row for row in read}
