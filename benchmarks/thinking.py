"""What keeps thinking steps apart, and what it is worth: each kind of thinking trained alike, on any config.

    python benchmarks/thinking.py configs/smollm2-135m.yaml max_steps=60 --tasks data/heldout --output thinking

For each variant: nDCG@10 of the last step with its 95% bootstrap interval, the difference to `token` query by query,
nDCG@10 by MaxSim over all steps (a document is as near as its nearest step), and the spread of the steps: the mean
cosine between those of a document, 1 where they say the same. Finished runs are reused; OUTPUT/thinking.md is written
anew after every run.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.evaluation import RetrievalTask, load_task
from debater_search.evaluation.evaluate import choose_instruction, judged_queries
from debater_search.evaluation.metrics import bootstrap, score_run
from debater_search.training import load_config, train

METRIC, DEPTH = "ndcg@10", 1000
VARIANTS = {
    "token": [],
    "state": ["thinking.input=state"],
    "query": ["thinking.query=2"],
    "state, query": ["thinking.input=state", "thinking.query=2"],
    "diversity": ["thinking.diversity=0.3"],
    "state, diversity": ["thinking.input=state", "thinking.diversity=0.3"],
}
"""Name → overrides of the config."""
HEADER = "| thinking | task | nDCG@10 | less token | MaxSim | cosine of steps |\n|--|--|--:|--:|--:|--:|\n"


@dataclass(frozen=True)
class Measured:
    """One variant on one task."""

    last: np.ndarray
    """nDCG@10 of each query by the last step."""
    maxsim: np.ndarray
    """The same by the nearest step."""
    spread: float
    """Mean cosine between different steps of a document."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_intermixed_args(arguments)
    found: dict[str, list[Measured] | str] = {}
    for name in options.variants:
        folder = options.output / name.replace(", ", "-")
        try:
            settings = load_config(options.config, [*options.overrides, *VARIANTS[name]], output=folder)
            train(settings, resume=folder.is_dir(), device=options.device, progress=True)
            encoder = Encoder.load(folder, device=options.device)
            found[name] = [measure(load_task(task), encoder) for task in options.tasks]
        except DebaterError as error:  # a variant that this model cannot have is a row, too
            found[name] = error.message
        (options.output / "thinking.md").write_text(table(found, options.tasks), encoding="utf-8")
    print(table(found, options.tasks))


def measure(task: RetrievalTask, encoder: Encoder, split: str = "test") -> Measured:
    """Exact search of a small corpus by the last step and by the nearest."""
    qrels = task.qrels(split)
    queries = judged_queries(task, split, qrels)
    documents = list(task.corpus(split))
    steps = encoder.deliberate(documents)  # [n, M, D]
    instruction = choose_instruction(task, encoder, None)
    asked = encoder.encode_queries([query.text for query in queries], instruction=instruction)
    cosines = np.einsum("qd,nmd->qnm", asked, steps, optimize=True)
    ids, count = np.array([document.id for document in documents]), steps.shape[1]

    def scored(scores: np.ndarray) -> np.ndarray:
        best = np.argsort(-scores, 1)[:, :DEPTH]
        run = {
            query.id: dict(zip(ids[row].tolist(), scores[n, row].tolist(), strict=True))
            for n, (query, row) in enumerate(zip(queries, best, strict=True))
        }
        per_query = score_run(run, qrels).per_query
        return np.array([per_query[query][METRIC] for query in sorted(per_query)])

    among = np.einsum("nid,njd->ij", steps, steps) / len(steps)
    spread = (among.sum() - np.trace(among)) / max(1, count * (count - 1))
    return Measured(scored(cosines[..., -1]), scored(cosines.max(-1)), float(spread))


def table(found: dict[str, list[Measured] | str], tasks: Sequence[str]) -> str:
    """A row for each variant and task."""
    lines = []
    for name, each in found.items():
        if isinstance(each, str):
            lines.append(f"| {name} | {each} | | | | |\n")
            continue
        for number, (task, measured) in enumerate(zip(tasks, each, strict=True)):
            start = found.get("token")
            less = difference(measured.last - start[number].last) if isinstance(start, list) and name != "token" else ""
            low, high = interval(measured.last)
            lines.append(
                f"| {name} | {Path(task).name} | {measured.last.mean():.4f} ({low:.3f} … {high:.3f}) | {less} "
                f"| {measured.maxsim.mean():.4f} | {measured.spread:.4f} |\n"
            )
    return HEADER + "".join(lines)


def difference(gain: np.ndarray) -> str:
    low, high = interval(gain)
    return f"{gain.mean():+.4f} ({low:+.4f} … {high:+.4f})"


def interval(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(bound[0]) for bound in bootstrap(values[:, None], seed=42))
    return low, high


if __name__ == "__main__":
    main()
