"""The paper's ablations on any config, at any size: which part of the method is worth what, and how deep to think.

    python benchmarks/ablation.py configs/demo.yaml batch_size=16 --tasks data/cranfield data/heldout \
        --seeds 1 2 3 --max-steps 20 --output ablation

Each run is the config with a few overrides. Finished runs are reused and killed ones go on when the same command runs
again; OUTPUT/ablation.md is written anew after every run, and the picture ablation.png at the end. Where the config
measures while it trains (`eval`), curves.png shows how each variant learned. `--beside`: models as they are.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ablation_pictures import draw_bars, draw_curves

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.evaluation import RetrievalTask, evaluate, load_task
from debater_search.reports.training import read_metrics
from debater_search.training import TrainingSettings, load_config, train
from debater_search.training.development import SampledTask

METRIC = "ndcg@10"
RESAMPLES, LEVEL = 1000, 0.95

Scores = dict[str, dict[str, float]]
"""Of one run: task → query → nDCG@10."""


@dataclass(frozen=True)
class Variant:
    """The config with some of its settings replaced; two of the same settings are one and the same run."""

    name: str
    steps: int
    contrast: str
    distill: bool
    published: str = ""
    """nDCG@10 in the paper's Table 4: MiniCPM-2.4B, average of 11 BEIR sets."""

    @property
    def overrides(self) -> list[str]:
        distill = str(self.distill).lower()
        return [f"thinking_steps={self.steps}", f"loss.contrast={self.contrast}", f"loss.distill={distill}"]

    @property
    def key(self) -> str:
        return f"steps{self.steps}-{self.contrast}-{'distill' if self.distill else 'plain'}"


PARTS = ("vanilla", "distillation", "deliberation", "both")


def parts(steps: int, chosen: Sequence[str] = PARTS) -> list[Variant]:
    """The method's two parts, apart and together. Self-distillation alone (the paper does not spell it out) is read as
    contrast on the last step, which the best step teaches."""
    variants = [
        Variant("vanilla", 1, "last", False, ".504"),
        Variant("self-distillation only", steps, "last", True, ".507"),
        Variant("Chain-of-Deliberation only", steps, "max", False, ".516"),
        Variant("both", steps, "max", True, ".522"),
    ]
    return [variant for name, variant in zip(PARTS, variants, strict=True) if name in chosen]


def depths(counts: Sequence[int]) -> list[Variant]:
    """The whole method at several depths; with one step there is nothing to deliberate or distill: vanilla."""
    return [
        Variant(f"{n} steps", n, "max", True) if n > 1 else Variant("1 step (vanilla)", 1, "last", False)
        for n in sorted(set(counts))
    ]


@dataclass(frozen=True)
class Summary:
    """A variant over its seeds: the mean over tasks of the mean over queries, and its interval."""

    scores: list[Scores]  # one a seed

    @property
    def tasks(self) -> dict[str, float]:
        return {task: float(np.mean([list(s[task].values()) for s in self.scores])) for task in self.scores[0]}

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.tasks.values())))

    @property
    def of_seeds(self) -> list[float]:
        return [float(np.mean([np.mean(list(queries.values())) for queries in s.values()])) for s in self.scores]

    @cached_property
    def resampled(self) -> np.ndarray:
        """The mean over random draws of seeds and of queries; the same draws for all variants of equal seeds."""
        rng = np.random.default_rng(0)
        seeds = _draws(rng, len(self.scores))
        tables = [np.array([list(s[task].values()) for s in self.scores]) for task in self.scores[0]]
        return np.mean([((seeds @ table) * _draws(rng, table.shape[1])).sum(1) for table in tables], axis=0)

    def interval(self, other: "Summary | None" = None) -> tuple[float, float]:
        """95% interval of the mean, or of its difference to another variant's on the same seeds and queries."""
        means = self.resampled - (other.resampled if other is not None else 0)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def _draws(rng: np.random.Generator, count: int) -> np.ndarray:
    """How much each of `count` things weighs in a draw of as many with replacement: [RESAMPLES, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count


def run(variant: Variant, seed: int, options: argparse.Namespace) -> Scores:
    """Train a variant and score it on every task, as far as that has not been done."""
    folder = folder_of(variant, seed, options)
    settings = settings_for(options, [*variant.overrides, f"seed={seed}"])
    if not (folder / "debater.json").is_file():
        folder.with_suffix(".json").unlink(missing_ok=True)  # scores of a run that is no more
    begun = folder.is_dir() and any(folder.iterdir())
    checkpoint = train(settings, output=folder, resume=begun, device=options.device, progress=True)
    return scored(checkpoint, folder.with_suffix(".json"), options)


def as_it_is(model: str, options: argparse.Namespace) -> Scores:
    """Score a model that this does not train, on documents as long as the variants'."""
    lengths = settings_for(options).max_length
    encoder = Encoder.load(model, device=options.device, max_length=lengths.search or lengths.document)
    saved = options.output / "runs" / f"{Path(model).name}-{encoder.fingerprint[:8]}.json"
    return scored(encoder, saved, options)


def scored(model: Path | Encoder, saved: Path, options: argparse.Namespace) -> Scores:
    """nDCG@10 of every query of every task: what `saved` holds of them, and the rest measured and saved."""
    scores: Scores = json.loads(saved.read_text(encoding="utf-8")) if saved.is_file() else {}
    searched = "" if options.sample is None else f", {options.sample} others"
    for task in options.tasks:
        if task + searched not in scores:
            print(f"{saved.stem}: evaluating {task}", flush=True)
            result = evaluate(measured(task, options.sample), model, progress=True)
            scores[task + searched] = {query: values[METRIC] for query, values in sorted(result.per_query.items())}
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_text(json.dumps(scores), encoding="utf-8")
    return {task: scores[task + searched] for task in options.tasks}


def folder_of(variant: Variant, seed: int, options: argparse.Namespace) -> Path:
    """Where a run is trained."""
    return Path(options.output) / "runs" / f"{variant.key}-seed{seed}"


def measured(task: str, sample: int | None) -> RetrievalTask:
    """A task, whole or with its judged documents and `sample` others."""
    whole = load_task(task)
    return whole if sample is None else SampledTask(whole, sample, seed=0)


def settings_for(options: argparse.Namespace, more: Sequence[str] = ()) -> TrainingSettings:
    """The config under the command's own overrides, and a variant's on top."""
    size = [f"max_steps={options.max_steps}"] if options.max_steps else []
    return load_config(options.config, [*options.overrides, *size, *more])


def report(
    options: argparse.Namespace, settings: TrainingSettings, done: dict[str, Summary], beside: dict[str, Scores]
) -> str:
    """What is known so far as Markdown; `beside`: the scores of models as they are."""
    vanilla = done.get(parts(1)[0].key)
    names = [Path(task).name for task in options.tasks]
    lines = [
        f"# Ablation of {Path(options.config).name}",
        "",
        f"{Path(settings.model).name}, {settings.max_steps} steps of {settings.batch_size} queries, seeds "
        f"{', '.join(map(str, options.seeds))}. nDCG@10 with 95% intervals over seeds and queries"
        f"{'' if len(options.seeds) > 1 else ' (one seed: over queries alone)'}; differences are paired."
        + (f" Searched are each task's judged documents and {options.sample:,} others." if options.sample else ""),
        "",
    ]
    wide = " | ".join(names)
    for title, variants, published in (
        ("Parts of the method", parts(settings.thinking_steps, options.parts), True),
        ("Depth", depths(options.depths), False),
    ):
        known = [variant for variant in variants if variant.key in done]
        if not known:
            continue
        lines += [f"## {title}", ""]
        lines += [
            f"| variant | {wide} | mean | against vanilla | seeds |{' published (2.4B, BEIR) |' if published else ''}"
        ]
        lines += ["|--|" + "--:|" * (len(names) + 3 + published)]
        if published:
            for name, scores in beside.items():  # the same for every seed
                same = Summary([scores] * len(options.seeds))
                lines.append(f"| {_cells(f'{name} as it is', same, vanilla)} | | |")
        for variant in known:
            summary = done[variant.key]
            cells = [str(len(summary.scores)), *([variant.published] if published else [])]
            lines.append(f"| {_cells(variant.name, summary, vanilla)} | {' | '.join(cells)} |")
        if published and "distillation" in options.parts:
            lines += ["", "Self-distillation only: contrast on the last step, which the best step teaches."]
        lines.append("")
    return "\n".join(lines)


def _cells(name: str, summary: Summary, vanilla: Summary | None) -> str:
    scores = [_short(value) for value in summary.tasks.values()]
    mean = _with_interval(summary.mean, summary.interval())
    return " | ".join([name, *scores, mean, _difference(summary, vanilla)])


def draw(options: argparse.Namespace, settings: TrainingSettings, done: dict[str, Summary]) -> None:
    """ablation.png: means with intervals and each seed, parts on the left, depth on the right; and curves.png."""
    named, deep = parts(settings.thinking_steps, options.parts), depths(options.depths)
    panels = {"Parts of the method": {v.name: v for v in named}, "Thinking steps": {str(v.steps): v for v in deep}}
    reached = {
        title: {label: (done[v.key].mean, done[v.key].interval(), done[v.key].of_seeds) for label, v in panel.items()}
        for title, panel in panels.items()
        if panel
    }
    draw_bars(reached, options.output / "ablation.png")
    if settings.eval is not None:
        once = {v.key: v for v in [*deep, *named]}  # a depth may be one of the parts
        logs = {
            v.name: [read_metrics(folder_of(v, seed, options) / "metrics.jsonl") for seed in options.seeds]
            for v in once.values()
        }
        draw_curves(logs, options.output / "curves.png")


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{_short(value)} ({_short(interval[0])} … {_short(interval[1])})"


def _difference(summary: Summary, vanilla: Summary | None) -> str:
    """Over the seeds that both have run; they run in one order."""
    if vanilla is None or summary is vanilla:
        return ""
    shared = min(len(summary.scores), len(vanilla.scores))
    ours, theirs = Summary(summary.scores[:shared]), Summary(vanilla.scores[:shared])
    low, high = ours.interval(theirs)
    return f"{ours.mean - theirs.mean:+.3f} ({low:+.3f} … {high:+.3f})"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a training config")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings for all runs")
    parser.add_argument("--tasks", nargs="+", required=True, help="folders in BEIR layout, or names of tasks")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--depths", nargs="*", type=int, default=[1, 2, 4, 8, 12])
    parser.add_argument("--max-steps", type=int, help="default: the config's own")
    parser.add_argument("--sample", type=int, metavar="N", help="search among judged documents and N others of a task")
    parser.add_argument("--beside", nargs="*", default=[], metavar="MODEL", help="models to score as they are")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path("ablation"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    settings = settings_for(options)
    chosen = [*parts(settings.thinking_steps, options.parts), *depths(options.depths)]
    variants = {variant.key: variant for variant in chosen}
    done: dict[str, Summary] = {}
    total = len(options.seeds) * len(variants)
    options.output.mkdir(parents=True, exist_ok=True)
    beside = {Path(model).name: as_it_is(model, options) for model in options.beside}
    for number, (seed, variant) in enumerate([(s, v) for s in options.seeds for v in variants.values()], start=1):
        print(f"[{number}/{total}] {variant.key}, seed {seed}", flush=True)
        before = done[variant.key].scores if variant.key in done else []
        done[variant.key] = Summary([*before, run(variant, seed, options)])
        (options.output / "ablation.md").write_text(report(options, settings, done, beside), encoding="utf-8")
    draw(options, settings, done)
    print((options.output / "ablation.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        main()
    except DebaterError as error:
        raise SystemExit(str(error)) from error
