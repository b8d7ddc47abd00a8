"""The paper's ablations on any config, at any size: which part of the method is worth what, and how deep to think.

    python benchmarks/ablation.py configs/debater-small.yaml --tasks data/cranfield SCIFACT XQUAD_EN VASWANI \
        --seeds 42 1 2 --sample 300 --output ablation --beside models/bge-small-en-v1.5

Each run is the config with a few overrides; without thinking there are no steps to teach or to keep apart. Finished
runs are reused and killed ones go on when the same command runs again. Scores lie in SCORES (OUTPUT/scores), a JSON
file a run, with the hash of the settings that it was trained by: these files alone are enough to go on elsewhere.
OUTPUT/ablation.md is written anew after every run, and the picture ablation.png at the end. Beside the last step it
shows all steps as a document of several vectors, which cost nothing more in search: by the best step (max), by the mean
over the steps, and the oracle (the best step of each query). Where the config measures while it trains (`eval`),
curves.png shows how each variant learned. `--beside`: models as they are.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from ablation_pictures import draw_bars, draw_curves
from ablation_tables import METRIC, PARTS, WAYS, Scores, Summary, Variant, depths, parts, report

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.evaluation import RetrievalTask, evaluate, load_task, opened
from debater_search.evaluation.evaluate import judged_queries
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.thinking import search_steps
from debater_search.reports.training import read_metrics
from debater_search.training import TrainingSettings, load_config, train
from debater_search.training.development import SampledTask


def run(variant: Variant, seed: int, options: argparse.Namespace) -> Scores:
    """Train a variant and score it on every task, as far as that has not been done."""
    teachers = settings_for(options).loss.step_teachers
    changed = [*variant.overrides(teachers), f"seed={seed}"]

    def trained() -> Encoder:
        folder = folder_of(variant, seed, options)
        begun = folder.is_dir() and any(folder.iterdir())
        settings = settings_for(options, changed)
        checkpoint = train(settings, output=folder, resume=begun, device=options.device, progress=True)
        return Encoder.load(checkpoint, device=options.device)

    return scored(f"{variant.key}-seed{seed}", made_by(options, changed), trained, options)


def as_it_is(model: str, options: argparse.Namespace) -> Scores:
    """Score a model that this does not train, on documents as long as the variants'."""
    lengths = settings_for(options).max_length
    encoder = Encoder.load(model, device=options.device, max_length=lengths.search or lengths.document)
    return scored(Path(model).name, encoder.fingerprint, lambda: encoder, options)


def scored(name: str, made: str, load: Callable[[], Encoder], options: argparse.Namespace) -> Scores:
    """nDCG@10 of every query of every task: what is saved of a model made so, and the rest measured and saved."""
    saved = options.scores / f"{name}.json"
    scores = load_scores(saved, made)
    searched = "" if options.sample is None else f", {options.sample} others"
    keys = {task: Path(task).name + searched for task in options.tasks}
    if missing := [task for task, key in keys.items() if key not in scores]:
        model = load()
        for task in missing:
            print(f"{name}: evaluating {task}", flush=True)
            scores[keys[task]] = of_steps(measured(task, options.sample), model)
            save_scores(saved, made, scores)
    return {task: scores[key] for task, key in keys.items()}


def load_scores(saved: Path, made: str) -> Scores:
    """The scores in a file, if they are of a model that was made so."""
    known = json.loads(saved.read_text(encoding="utf-8")) if saved.is_file() else {}
    if known.get("made") != made:
        return {}
    return {
        task: {way: dict(zip(found["queries"], values, strict=True)) for way, values in found["scores"].items()}
        for task, found in known["tasks"].items()
    }


def save_scores(saved: Path, made: str, scores: Scores) -> None:
    """Write scores; the ids of a task's queries stand there once."""
    tasks = {
        task: {
            "queries": list(next(iter(ways.values()))),
            "scores": {way: list(values.values()) for way, values in ways.items()},
        }
        for task, ways in scores.items()
    }
    saved.parent.mkdir(parents=True, exist_ok=True)
    saved.write_text(json.dumps({"made": made, "tasks": tasks}) + "\n", encoding="utf-8")


def made_by(options: argparse.Namespace, changed: Sequence[str]) -> str:
    """A hash of what trained a model: the config and the overrides, but not where its files lie."""
    config = yaml.safe_load(Path(options.config).read_text(encoding="utf-8"))
    length = [f"max_steps={options.max_steps}"] if options.max_steps else []
    told = json.dumps([config, options.overrides, length, changed], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def of_steps(task: RetrievalTask, model: Encoder) -> dict[str, dict[str, float]]:
    """nDCG@10 of every query in every way: by the last step alone, and by all steps if the model has any."""
    thinks = model.spec.deliberates
    with opened(task, model, all_steps=thinks, progress=True) as (engine, _):
        found = {"last": _by_query(evaluate(task, engine).per_query)}
        if not thinks:
            return found
        qrels = task.qrels("test")
        queries = judged_queries(task, "test", qrels)
        asked = model.encode_queries([query.text for query in queries])
        runs = search_steps([query.id for query in queries], asked, engine.store, together=True)
        *steps, best, mean = (_by_query(score_run(run, qrels).per_query) for run in runs)
    return found | {"max": best, "mean": mean, "oracle": {id: max(step[id] for step in steps) for id in best}}


def _by_query(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {query: round(values[METRIC], 4) for query, values in sorted(scores.items())}


def folder_of(variant: Variant, seed: int, options: argparse.Namespace) -> Path:
    """Where a run is trained."""
    return Path(options.output) / "runs" / f"{variant.key}-seed{seed}"


def _log(variant: Variant, seed: int, options: argparse.Namespace) -> Path:
    return folder_of(variant, seed, options) / "metrics.jsonl"


def measured(task: str, sample: int | None) -> RetrievalTask:
    """A task, whole or with its judged documents and `sample` others."""
    whole = load_task(task)
    return whole if sample is None else SampledTask(whole, sample, seed=0)


def settings_for(options: argparse.Namespace, more: Sequence[str] = ()) -> TrainingSettings:
    """The config under the command's own overrides, and a variant's on top."""
    size = [f"max_steps={options.max_steps}"] if options.max_steps else []
    return load_config(options.config, [*options.overrides, *size, *more])


def draw(options: argparse.Namespace, settings: TrainingSettings, done: dict[str, Summary]) -> None:
    """ablation.png: means with intervals and each seed, of parts, depths, and of ways to score; and curves.png."""
    named, deep = parts(settings.thinking_steps, options.parts), depths(options.depths)
    panels = {"Parts of the method": {v.name: v for v in named}, "Thinking steps": {str(v.steps): v for v in deep}}
    reached = {
        title: {label: done[v.key].reached for label, v in panel.items()} for title, panel in panels.items() if panel
    }
    both = done.get(parts(settings.thinking_steps)[-1].key)
    if both is not None and both.deliberates:
        reached["Steps of both, scored by"] = {way: both.by(way).reached for way in WAYS}
    draw_bars(reached, options.output / "ablation.png")
    if settings.eval is not None:
        once = {v.key: v for v in [*deep, *named]}  # a depth may be one of the parts
        logs = {
            v.name: [read_metrics(log) for seed in options.seeds if (log := _log(v, seed, options)).is_file()]
            for v in once.values()
        }
        draw_curves(logs, options.output / "curves.png")


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
    parser.add_argument("--scores", type=Path, help="default: OUTPUT/scores")
    options = parser.parse_args(arguments)
    options.scores = options.scores or options.output / "scores"
    return options


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
