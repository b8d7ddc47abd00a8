"""What thinking steps find: `python benchmarks/small.py FOLDER… --models BASE MODEL… [--queries N] [--documents N]`

Each FOLDER is a collection in BEIR layout, each model what `Encoder.load` takes, the first one the baseline. Of large
collections a sample: N judged queries, and their documents among N in all. nDCG@10 of each thinking step alone, of all
steps together (`max`, `mean`: rescored by the best step, by their mean), the oracle (the best step per query), the gain
of the last step over the baseline with its 95% bootstrap interval, and the mean cosine of the first step to the last.
`--results FILE` keeps what was measured by the models' fingerprints, so that a model is measured once.
"""

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.data.corpus import read_corpus
from debater_search.data.qrels import read_qrels
from debater_search.data.queries import read_queries
from debater_search.encoder import Encoder
from debater_search.evaluation.metrics import bootstrap, score_run
from debater_search.types import Document, Qrels, Query

METRIC = "ndcg@10"


@dataclass(frozen=True)
class Sample:
    """Some queries of a collection, and the documents that are searched."""

    name: str
    queries: list[Query]
    documents: list[Document]
    qrels: Qrels

    @classmethod
    def of(cls, folder: Path, queries: int | None, documents: int | None) -> "Sample":
        """A sample of a BEIR folder, the same at every call; None takes all."""
        rng = np.random.default_rng(0)
        judged = {
            id: gains for id, gains in read_qrels(folder / "qrels" / "test.tsv").items() if max(gains.values()) > 0
        }
        asked = [query for query in read_queries(folder) if query.id in judged]
        asked = [asked[n] for n in np.sort(rng.permutation(len(asked))[:queries])]
        qrels = {query.id: judged[query.id] for query in asked}
        needed = {id for gains in qrels.values() for id in gains}
        corpus = list(read_corpus(folder))
        others = [n for n, document in enumerate(corpus) if document.id not in needed]
        room = len(others) if documents is None else max(0, documents - len(needed))
        kept = {*rng.permutation(others)[:room].tolist()}
        held = [document for n, document in enumerate(corpus) if n in kept or document.id in needed]
        return cls(folder.name, asked, held, qrels)

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query, from its scores of all documents [queries, documents]."""
        best = np.argsort(-scores, axis=1, kind="stable")[:, :100]
        run = {query.id: {self.documents[at].id: float(row[at]) for at in best[n]}
               for n, (query, row) in enumerate(zip(self.queries, scores, strict=True))}  # fmt: skip
        found = score_run(run, self.qrels).per_query
        return np.array([found[query.id][METRIC] for query in self.queries])


def measure(sample: Sample, encoder: Encoder, instruction: str | None) -> dict[str, Any]:
    """Per query: each step's nDCG@10, that of all together; and the cosine of the first step to the last."""
    asked = encoder.encode_queries([query.text for query in sample.queries], instruction=instruction)
    views = encoder.deliberate(sample.documents)
    scores = np.einsum("qd,nmd->mqn", asked, views)
    return {
        "steps": [sample.ndcg(step).tolist() for step in scores],
        "max": sample.ndcg(scores.max(0)).tolist(),
        "mean": sample.ndcg(scores.mean(0)).tolist(),
        "cosine": float((views[:, 0] * views[:, -1]).sum(-1).mean()),
    }


def table(names: list[str], found: dict[str, list[dict[str, Any]]]) -> str:
    """A row per model and collection."""
    lines = ["| collection | model | last step | gain (95%) | steps | max | mean | oracle | cosine first to last |"]
    lines += ["|--|--|" + "--:|" * 7]
    for collection, models in found.items():
        base = np.array(models[0]["steps"][-1])
        for name, measured in zip(names, models, strict=True):
            steps = np.array(measured["steps"])
            gain = steps[-1] - base
            low, high = (float(bound[0]) for bound in bootstrap(gain[:, None]))
            alone = " ".join(f"{score:.4f}" for score in steps.mean(1))
            lines.append(
                f"| {collection} | {name} | {steps[-1].mean():.4f} | {gain.mean():+.4f} ({low:+.4f} … {high:+.4f}) "
                f"| {alone} | {np.mean(measured['max']):.4f} | {np.mean(measured['mean']):.4f} "
                f"| {steps.max(0).mean():.4f} | {measured['cosine']:.4f} |"
            )
    for number, name in enumerate(names):
        column = [models[number] for models in found.values()]
        last = [np.mean(measured["steps"][-1]) for measured in column]
        gains = [value - np.mean(models[0]["steps"][-1]) for value, models in zip(last, found.values(), strict=True)]
        best = [np.array(measured["steps"]).max(0).mean() for measured in column]
        together = [np.mean([np.mean(measured[way]) for measured in column]) for way in ("max", "mean")]
        cosine = np.mean([measured["cosine"] for measured in column])
        steps = [np.mean(step) for step in zip(*([np.mean(s) for s in m["steps"]] for m in column), strict=True)]
        lines.append(
            f"| mean | {name} | {np.mean(last):.4f} | {np.mean(gains):+.4f} | {' '.join(f'{s:.4f}' for s in steps)} "
            f"| {together[0]:.4f} | {together[1]:.4f} | {np.mean(best):.4f} | {cosine:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a document's text")
    parser.add_argument(
        "--steps", type=int, help="thinking steps of a start without training, for models that have none"
    )
    parser.add_argument("--instruction", help="before every query; each model's own by default")
    parser.add_argument("--results", type=Path, help="what was measured before, and is measured now")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # peft's, of adapters on models without weights
    known = json.loads(options.results.read_text()) if options.results and options.results.exists() else {}
    samples = [Sample.of(folder, options.queries, options.documents) for folder in options.folders]
    found: dict[str, list[dict[str, Any]]] = {sample.name: [] for sample in samples}
    for name in options.models:
        encoder = load(name, options.max_length, options.steps)
        for sample in samples:
            size = f"{len(sample.queries)} {len(sample.documents)}"
            key = f"{encoder.fingerprint} {sample.name} {size} {options.instruction}"
            if key not in known:
                known[key] = measure(sample, encoder, options.instruction)
                if options.results:
                    options.results.write_text(json.dumps(known))
            found[sample.name].append(known[key])
    print(table([Path(name).name for name in options.models], found))


def load(name: str, length: int, steps: int | None) -> Encoder:
    """A model that reads `length` tokens of a text beside its thinking tokens; an untrained start where it has none."""
    shapes = Encoder.load(name, weights=False)
    thinking = steps if steps and not shapes.spec.deliberates else None
    count = thinking or (shapes.thinking_steps if shapes.spec.deliberates else 0)
    return Encoder.load(name, thinking_steps=thinking, max_length=length + count)


if __name__ == "__main__":
    main()
