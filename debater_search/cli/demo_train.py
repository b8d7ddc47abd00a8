"""`debater demo --train`: everything at work in a few minutes, on data that comes with the repository.

Train, index, search, compare. What an earlier run has finished with the same config is used again.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cli.demo import QUESTIONS, answer, indexed, made_by, say
from debater_search.cli.options import load_encoder
from debater_search.cli.output import Output
from debater_search.data.bundled import cranfield
from debater_search.errors import DebaterError
from debater_search.progress import duration

if TYPE_CHECKING:
    from debater_search.evaluation import Result
    from debater_search.search import SearchEngine
    from debater_search.training import TrainingSettings

CONFIG = Path("configs/demo.yaml")
HELD_OUT = Path("data/heldout")
METRICS = ("ndcg@10", "mrr@10", "recall@100")
MINUTES_EXPECTED = 7.0
"""Of the whole demo on two CPU cores; each finished part then corrects what is said to be left."""


@dataclass
class Clock:
    """Says at every part of the demo how long the rest will take."""

    shares: dict[str, float]
    """Expected share of the time, by part, in order."""
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, out: Output, name: str, sentence: str) -> Iterator[None]:
        """Announce a part, with the time left, and time it."""
        number, left = len(self.seconds) + 1, duration(self.left())
        say(out, f"\n[{number}/{len(self.shares)}] {sentence} (about {left} left)")
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def left(self) -> float:
        """Expected seconds until the end, from the pace so far."""
        done = sum(self.shares[name] for name in self.seconds)
        whole = sum(self.seconds.values()) / done if done else MINUTES_EXPECTED * 60
        return whole * (sum(self.shares.values()) - done)


def train_demo(out: Output, output: Path, *, force: bool, device: str) -> None:
    """Train, index, search and compare; the index and `results.json` go to `output`."""
    config, tasks = repository_file(CONFIG), [cranfield(), repository_file(HELD_OUT)]
    there = None if force else made_by(output)
    clock = Clock({"train": 0.50, "index": 0.08, "search": 0.02, "compare": 0.40})

    with clock.part(out, "train", "Training a DEBATER encoder on MiniLM: a warm start, then contrast and distillation"):
        settings, checkpoint = trained(config, force=force, device=device)
    with clock.part(out, "index", "Encoding and indexing Cranfield, 1,400 abstracts on aeronautics"):
        engine = indexed(out, load_encoder(str(checkpoint), None, device), output, there)
    with clock.part(out, "search", "Three questions"):
        answers = [answer(out, engine, question) for question in QUESTIONS]
    with clock.part(out, "compare", "Comparing BM25, MiniLM as published, and DEBATER before and after training"):
        rows = [row for task in tasks for row in compared(task, settings, engine, is_indexed=task == tasks[0])]
    engine.close()

    results = {"checkpoint": str(checkpoint), "index": str(output), "seconds": clock.seconds, "results": rows}
    (output / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if out.as_json:
        return out.json(results | {"answers": answers})
    show_comparison(out, rows)
    out.show(
        f"\nDone in {duration(sum(clock.seconds.values()))}. The figures are in {output / 'results.json'}, the loss "
        f"plot in {checkpoint / 'training.png'}."
    )
    return out.next(
        f'debater search "your question" --index {output}', f"debater index YOUR_CORPUS --model {checkpoint}"
    )


def repository_file(path: Path) -> Path:
    """A file of the repository, from inside it or from elsewhere. Raises DebaterError where there is no repository."""
    for root in (Path(), Path(__file__).resolve().parents[2]):
        if (root / path).exists():
            return root / path
    raise DebaterError(
        f"Training the demo needs {path} of the repository.",
        "Run it in a clone of the repository, or leave --train out.",
    )


def trained(config: Path, *, force: bool, device: str) -> "tuple[TrainingSettings, Path]":
    """The demo's checkpoint: trained now, gone on with, or as a finished run of the same config left it."""
    from debater_search.training import load_config, run_config, train

    settings = load_config(config)
    folder = Path(settings.output)
    same = run_config(folder) == settings.model_dump(mode="json")
    return settings, train(settings, resume=same and not force, force=force or not same, device=device, progress=True)


def compared(
    task: Path, settings: "TrainingSettings", engine: "SearchEngine", *, is_indexed: bool
) -> list[dict[str, Any]]:
    """Every system on one task: BM25, the base model as published, the untrained start, the checkpoint, each step."""
    from debater_search.encoder import Encoder
    from debater_search.encoder.protocol import device_of
    from debater_search.evaluation import evaluate, evaluate_steps, load_task, opened
    from debater_search.training.starting import load_start

    folder, steps, encoder = load_task(task), settings.thinking_steps, engine.encoder
    device = device_of(encoder)
    with opened(folder, engine if is_indexed else encoder, all_steps=True, progress=True) as (ours, _):
        bm25 = evaluate(folder, ours, mode="lexical")
        last = evaluate(folder, ours)
        alone = evaluate_steps(folder, ours)
    published = evaluate(folder, Encoder.load(settings.model, device=device), progress=True)
    before = evaluate(folder, load_start(settings, device), progress=True)
    named = [
        ("BM25", bm25),
        (f"{settings.model} as published", published),
        ("DEBATER, untrained", before),
        (f"DEBATER, trained: step {steps}, used for search", last),
    ]
    rows = [row_of(name, result) for name, result in named]
    return rows + [{"task": folder.name, "system": f"  step {n} alone", "metrics": m} for n, m in enumerate(alone, 1)]


def row_of(name: str, result: "Result") -> dict[str, Any]:
    """One line of the comparison in JSON types."""
    return {
        "task": result.task,
        "system": name,
        "metrics": result.metrics,
        "intervals": {metric: list(interval) for metric, interval in result.intervals.items()},
        "queries": len(result.per_query),
    }


def show_comparison(out: Output, rows: Sequence[dict[str, Any]]) -> None:
    """The table: systems down, three metrics of each task across."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    systems = list(dict.fromkeys(row["system"] for row in rows))
    of = {(row["task"], row["system"]): row["metrics"] for row in rows}
    columns = ["system", *(f"{task} {metric}" for task in tasks for metric in METRICS)]
    lines = [[s, *(f"{of[t, s][metric]:.3f}" for t in tasks for metric in METRICS)] for s in systems]
    out.show("")
    out.table("", columns, lines)
