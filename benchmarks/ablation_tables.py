"""The variants of ablation.py, their scores over seeds, and the tables of them."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from debater_search.training import TrainingSettings

METRIC = "ndcg@10"
RESAMPLES, LEVEL = 1000, 0.95

WAYS = ("last", "max", "mean", "oracle")
"""How a document is scored by its steps; of models without thinking only the first is known."""

Scores = dict[str, dict[str, dict[str, float]]]
"""Of one run: task → way → query → nDCG@10."""


@dataclass(frozen=True)
class Variant:
    """The config with some of its settings replaced; two of the same settings are one and the same run."""

    name: str
    steps: int
    contrast: str
    distill: bool
    published: str = ""
    """nDCG@10 in the paper's Table 4: MiniCPM-2.4B, average of 11 BEIR sets."""

    def overrides(self, teachers: Sequence[str]) -> list[str]:
        """`teachers` are the config's own of the steps. The last step always learns from all; a single one beside no
        other."""
        given = [f"thinking_steps={self.steps}", f"loss.contrast={self.contrast}",
                 f"loss.distill={str(self.distill).lower()}"]  # fmt: skip
        if self.steps == 1:
            return [*given, "loss.step_teachers=[]", "thinking.diversity=0"]
        own = [*islice(cycle(teachers), self.steps - 1), "all"] if teachers else []
        return [*given, f"loss.step_teachers={json.dumps(own)}"]

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
    way: str = WAYS[0]

    def by(self, way: str) -> "Summary":
        """The same runs, scored in another way."""
        return Summary(self.scores, way)

    @property
    def deliberates(self) -> bool:
        return all(way in ways for way in WAYS for ways in self.scores[0].values())

    def _of(self, scores: Scores, task: str) -> list[float]:
        return list(scores[task][self.way].values())

    @property
    def tasks(self) -> dict[str, float]:
        return {task: float(np.mean([self._of(s, task) for s in self.scores])) for task in self.scores[0]}

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.tasks.values())))

    @property
    def of_seeds(self) -> list[float]:
        return [float(np.mean([np.mean(self._of(s, task)) for task in s])) for s in self.scores]

    @property
    def reached(self) -> tuple[float, tuple[float, float], list[float]]:
        """What a picture shows."""
        return self.mean, self.interval(), self.of_seeds

    @cached_property
    def resampled(self) -> np.ndarray:
        """The mean over random draws of seeds and of queries; the same draws for all variants of equal seeds."""
        rng = np.random.default_rng(0)
        seeds = _draws(rng, len(self.scores))
        tables = [np.array([self._of(s, task) for s in self.scores]) for task in self.scores[0]]
        return np.mean([((seeds @ table) * _draws(rng, table.shape[1])).sum(1) for table in tables], axis=0)

    def interval(self, other: "Summary | None" = None) -> tuple[float, float]:
        """95% interval of the mean, or of its difference to another variant's on the same seeds and queries."""
        means = self.resampled - (other.resampled if other is not None else 0)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def _draws(rng: np.random.Generator, count: int) -> np.ndarray:
    """How much each of `count` things weighs in a draw of as many with replacement: [RESAMPLES, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count


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
    variants = [*parts(settings.thinking_steps, options.parts), *depths(options.depths)]
    return "\n".join([*lines, *together(names, variants, done)])


def together(names: Sequence[str], variants: Sequence[Variant], done: dict[str, Summary]) -> list[str]:
    """Lines of the table of all steps as several vectors."""
    known = {v.key: (v.name, done[v.key]) for v in variants if v.key in done and done[v.key].deliberates}
    if not known:
        return []
    lines = ["## All steps of a document as its vectors", ""]
    lines += [f"| variant | scored by | {' | '.join(names)} | mean | against the last step |"]
    lines += ["|--|--|" + "--:|" * (len(names) + 2)]
    for name, summary in known.values():
        lines += [f"| {_cells(f'{name} | {way}', summary.by(way), summary)} |" for way in WAYS[1:]]
    return [*lines, "", "The oracle takes the best step of each query, which a search does not know.", ""]


def _cells(name: str, summary: Summary, vanilla: Summary | None) -> str:
    scores = [_short(value) for value in summary.tasks.values()]
    mean = _with_interval(summary.mean, summary.interval())
    return " | ".join([name, *scores, mean, _difference(summary, vanilla)])


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{_short(value)} ({_short(interval[0])} … {_short(interval[1])})"


def _difference(summary: Summary, vanilla: Summary | None) -> str:
    """Over the seeds that both have run; they run in one order."""
    if vanilla is None or summary is vanilla:
        return ""
    shared = min(len(summary.scores), len(vanilla.scores))
    ours, theirs = (Summary(each.scores[:shared], each.way) for each in (summary, vanilla))
    low, high = ours.interval(theirs)
    return f"{ours.mean - theirs.mean:+.3f} ({low:+.3f} … {high:+.3f})"
