"""Speed of evaluation, side by side in one run: `python benchmarks/evaluate.py [--queries N] [--task FOLDER]`

Scoring and significance: ours, ranx (`pip install ranx`; without it its rows are missing) and mteb's own scorer, on the
same two synthetic runs of 1,000 hits a query, held as dictionaries. All do a small run first: imports and ranx's
compilation are not timed. Seconds are of the processor.
With --task, a collection in BEIR layout: MiniLM evaluated twice, the second time with another index type or metric, by
`evaluate` and, through sentence-transformers, by `mteb.evaluate`.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.evaluation import FolderTask, Judged, Result, compare, evaluate, scored
from debater_search.evaluation.metrics import bootstrap
from debater_search.evaluation.significance import PERMUTATIONS, randomisation_test, t_test
from debater_search.types import Qrels, Run

HITS = 1000
DOCUMENTS = 1_000_000
RANX_METRICS = ["ndcg@10", "ndcg@100", "mrr@10", "map@100", "recall@10", "recall@100", "precision@10"]
MTEB_CUTS = (1, 3, 5, 10, 20, 100, 1000)
COMPARED = ["ndcg@10", "mrr@10", "map@100", "recall@100"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--task", type=Path)
    arguments = parser.parse_args()
    scoring(arguments.queries)
    if arguments.task is not None:
        end_to_end(arguments.task)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()  # other jobs on the same cores do not count
    answer = work()
    return time.process_time() - start, answer


def synthetic(queries: int, seed: int, quality: float) -> tuple[Run, Qrels]:
    """A run best first and judgements of which it finds more, the greater its quality; judged alike for every seed."""
    judging, answering = np.random.default_rng(0), np.random.default_rng(seed)
    run: Run = {}
    qrels: Qrels = {}
    for number in range(queries):
        judged = [f"d{document}" for document in judging.choice(DOCUMENTS, 10, replace=False)]
        qrels[f"q{number}"] = {document: int(judging.integers(0, 4)) for document in judged} | {judged[0]: 1}
        found = [document for document in judged if answering.random() < quality]
        others = [f"d{document}" for document in answering.choice(DOCUMENTS, HITS, replace=False)]
        places = answering.integers(0, 60, size=len(found))
        for place, document in zip(places, found, strict=True):
            others.insert(place, document)
        ids = list(dict.fromkeys(others))[:HITS]
        scores = -np.sort(-answering.random(len(ids)))
        run[f"q{number}"] = dict(zip(ids, scores.tolist(), strict=True))
    return run, qrels


def scoring(queries: int) -> None:
    (run, qrels), (other, _) = synthetic(queries, 1, 0.6), synthetic(queries, 2, 0.59)
    small, judged = synthetic(5, 3, 0.6)
    warm = scored("warm", "system", small, judged)
    compare(warm, [warm], Judged("warm", judged, {}))
    rows: list[list[str]] = []
    seconds, result = timed(lambda: scored("toy", "system", run, qrels))
    baseline: Result = scored("toy", "baseline", other, qrels)
    values = np.array([list(row.values()) for row in result.per_query.values()])
    interval, _ = timed(lambda: bootstrap(values))
    differences = np.array(
        [[result.per_query[q][name] - baseline.per_query[q][name] for name in COMPARED] for q in result.per_query]
    )
    randomisation, p = timed(lambda: randomisation_test(differences))
    student, _ = timed(lambda: t_test(differences))
    whole, _ = timed(lambda: compare(result, [baseline], Judged("toy", qrels, {})))
    rows.append([f"debater: {len(result.metrics)} metrics of a run, with intervals", f"{seconds:.2f}"])
    rows.append([f"debater: of it the intervals of all {len(result.metrics)} means", f"{interval:.2f}"])
    tests = f"{PERMUTATIONS:,} sign flips of {len(COMPARED)} metrics"
    rows.append([f"debater: {tests}", f"{randomisation:.2f}"])
    rows.append([f"debater: t-test of {len(COMPARED)} metrics", f"{student:.3f}"])
    rows.append(
        ["debater: a comparison whole: both tests, Holm, intervals, the queries that changed most", f"{whole:.2f}"]
    )
    if importlib.util.find_spec("ranx"):
        rows += with_ranx(run, other, qrels, result, seconds, p)
    rows.append(with_mteb(run, qrels, result))

    print(f"{queries:,} queries × {HITS:,} hits\n\n| what | CPU seconds |\n|--|--:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def with_ranx(run: Run, other: Run, qrels: Qrels, result: Result, ours: float, p: np.ndarray) -> list[list[str]]:
    import ranx

    small, judged = synthetic(5, 3, 0.6)
    warm = ranx.Qrels(judged), [ranx.Run(small, name="a"), ranx.Run(small, name="b")]
    ranx.evaluate(warm[0], warm[1][0], RANX_METRICS)
    ranx.compare(warm[0], warm[1], metrics=COMPARED, stat_test="fisher", n_permutations=10)

    loading, (judgements, system) = timed(lambda: (ranx.Qrels(qrels), ranx.Run(run, name="a")))
    kernel, found = timed(lambda: ranx.evaluate(judgements, system, RANX_METRICS))
    for name, value in found.items():
        assert abs(value - result.metrics[name]) < 1e-6, (name, value, result.metrics[name])
    baseline = ranx.Run(other, name="b")
    again, _ = timed(
        lambda: [ranx.evaluate(judgements, one, COMPARED, return_mean=False) for one in (system, baseline)]
    )
    compared, _ = timed(
        lambda: ranx.compare(
            judgements, [system, baseline], metrics=COMPARED, stat_test="fisher", n_permutations=PERMUTATIONS
        )
    )
    return [
        [f"ranx: {len(RANX_METRICS)} metrics of a run, from the same dictionaries", f"{loading + kernel:.2f}"],
        ["ranx: of it the metrics, once its own structures are there", f"{kernel:.2f}"],
        [
            f"ranx: compare(fisher), {PERMUTATIONS:,} permutations of {len(COMPARED)} metrics, less scoring",
            f"{compared - again:.2f}",
        ],
        ["ratio to ranx from dictionaries: metrics", f"{(loading + kernel) / ours:.2f} ×"],
        ["ratio to ranx once its structures are there: metrics", f"{kernel / ours:.2f} ×"],
    ]


def with_mteb(run: Run, qrels: Qrels, result: Result) -> list[str]:
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    seconds, found = timed(lambda: calculate_retrieval_scores(run, qrels, MTEB_CUTS))
    value = found.ndcg["NDCG@10"]
    assert abs(value - result.metrics["ndcg@10"]) < 1e-4, (value, result.metrics["ndcg@10"])
    return [f"mteb: its scores at {len(MTEB_CUTS)} cuts", f"{seconds:.2f}"]


def end_to_end(folder: Path) -> None:
    from debater_search.encoder import Encoder

    task, encoder = FolderTask(folder), Encoder.load("minilm")
    print(f"\n{task.name}, MiniLM\n\n| what | ndcg@10 | CPU seconds |\n|--|--:|--:|")
    ours = []
    for index_type in ("flat", "hnsw"):
        seconds, result = timed(lambda index_type=index_type: evaluate(task, encoder, index_type=index_type))
        ours.append(seconds)
        print(f"| debater: evaluate, {index_type} | {result.metrics['ndcg@10']:.5f} | {seconds:.1f} |", flush=True)
    theirs = mteb_twice(task)
    print(f"| ratio: both, and the second alone | | {sum(theirs) / sum(ours):.1f} ×, {theirs[1] / ours[1]:.1f} × |")


def mteb_twice(folder: FolderTask) -> list[float]:
    """Seconds of two evaluations by mteb and sentence-transformers, the second with another metric as its main one."""
    import mteb
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from sentence_transformers import SentenceTransformer

    from debater_search.encoder.loading.hub import locate

    class Local(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="Local",
            description="A folder in BEIR layout.",
            dataset={"path": "local/local", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, **_: Any) -> None:
            qrels = folder.qrels()
            documents = [{"id": d.id, "title": d.title, "text": d.text} for d in folder.corpus()]
            queries = [{"id": query.id, "text": query.text} for query in folder.queries() if query.id in qrels]
            data = {
                "corpus": Dataset.from_list(documents),
                "queries": Dataset.from_list(queries),
                "relevant_docs": qrels,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    model = SentenceTransformer(str(locate("minilm").folder), device="cpu")
    took = []
    for main_score in ("ndcg_at_10", "recall_at_100"):
        Local.metadata.main_score = main_score
        with tempfile.TemporaryDirectory() as cache:
            seconds, result = timed(
                lambda cache=cache: mteb.evaluate(
                    model, Local(), cache=mteb.ResultCache(cache), overwrite_strategy="always", co2_tracker=False
                )
            )
        took.append(seconds)
        score = result.task_results[0].scores["test"][0]["ndcg_at_10"]
        print(f"| mteb.evaluate, main score {main_score} | {score:.5f} | {seconds:.1f} |", flush=True)
    return took


if __name__ == "__main__":
    main()
