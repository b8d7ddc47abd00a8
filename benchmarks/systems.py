"""BM25, two models and hybrid search: `python benchmarks/systems.py FOLDER… --baseline MODEL [--model MODEL] [--steps]`

Each FOLDER is a collection in BEIR layout. nDCG@10 with 95% bootstrap intervals of BM25 (the index's own), of the
baseline, of the model, and of the model's hybrid search; what the model gains over the baseline, query by query, with
the p values of randomisation tests, as they are and corrected by Holm over the collections. `--steps`: each thinking
step alone, and how alike they are.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from debater_search.cli.options import DEFAULT_MODEL
from debater_search.encoder import Encoder
from debater_search.evaluation import Result, evaluate, evaluate_steps, load_task, opened, step_cosines
from debater_search.evaluation.metrics import bootstrap
from debater_search.evaluation.significance import holm, randomisation_test

METRIC = "ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--baseline", required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--max-length", type=int, help="tokens of a document, of which the baseline reads as many")
    parser.add_argument("--steps", action="store_true")
    options = parser.parse_args()
    model = Encoder.load(options.model)
    base = Encoder.load(options.baseline, max_length=options.max_length)
    found: dict[str, list[Result]] = {}
    for folder in options.folders:
        began = time.monotonic()
        task = load_task(folder)
        with opened(task, model, all_steps=options.steps, progress=True) as (engine, _):
            ours = [evaluate(task, engine, mode=mode) for mode in ("lexical", "dense", "hybrid")]
            if options.steps:
                alone = [metrics[METRIC] for metrics in evaluate_steps(task, engine)]
                print(f"{task.name}: steps alone {' '.join(f'{score:.4f}' for score in alone)}")
                print(f"cosines of steps to the last: {np.round(step_cosines(engine.store)[-1], 3).tolist()}")
        found[task.name] = [ours[0], evaluate(task, base, progress=True), ours[1], ours[2]]
        print(f"{task.name}: {time.monotonic() - began:.0f} s", flush=True)
    print(table(found, Path(options.baseline).name, Path(options.model).name))


def table(found: dict[str, list[Result]], base: str, model: str) -> str:
    """A row per collection: systems with intervals, the model's gain over the baseline and its p values."""
    lines = [f"| collection | queries | BM25 | {base} | {model} | hybrid | {model} less {base} | p | corrected |"]
    lines += ["|--|" + "--:|" * 8]
    gains = [values(results[2]) - values(results[1]) for results in found.values()]
    chances = [float(randomisation_test(gain[:, None])[0]) for gain in gains]
    for (name, results), gain, p, corrected in zip(found.items(), gains, chances, holm(np.array(chances)), strict=True):
        cells = [
            f"{r.metrics[METRIC]:.4f} ({r.intervals[METRIC][0]:.3f} … {r.intervals[METRIC][1]:.3f})" for r in results
        ]
        low, high = (float(bound[0]) for bound in bootstrap(gain[:, None], seed=42))
        difference = f"{gain.mean():+.4f} ({low:+.4f} … {high:+.4f})"
        lines.append(f"| {name} | {len(gain)} | {' | '.join(cells)} | {difference} | {p:.4f} | {corrected:.4f} |")
    means = [mean([r.metrics[METRIC] for r in column]) for column in zip(*found.values(), strict=True)]
    lines.append(f"| mean | | {' | '.join(f'{m:.4f}' for m in means)} | {means[2] - means[1]:+.4f} | | |")
    return "\n".join(lines)


def values(result: Result) -> np.ndarray:
    """The metric of every query, in one order."""
    return np.array([result.per_query[query][METRIC] for query in sorted(result.per_query)])


def mean(numbers: Sequence[float]) -> float:
    return float(np.mean(numbers))


if __name__ == "__main__":
    main()
