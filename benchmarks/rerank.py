"""nDCG@10 with and without a reranker: `python benchmarks/rerank.py RERANKER OUTPUT FOLDER[:QUERIES]…`

Each FOLDER is a collection in BEIR layout; with `:200`, 200 of its judged queries are asked, drawn with a fixed seed.
First stages are BM25, the default model, and both (`--first lexical dense hybrid`); the reranker reads their best
`--depth` (20) documents. Results are kept in OUTPUT and pair scores in the cache, so that a killed run goes on where it
was; the table at the end is of all that is in OUTPUT. A CPU takes about 0.1 seconds per pair.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from debater_search.evaluation import Campaign, FolderTask, read_results
from debater_search.search import Mode
from debater_search.types import Document, Qrels, Query

MODEL, METRIC = "debater-small", "ndcg@10"
FIRST: tuple[Mode, ...] = ("lexical", "dense", "hybrid")


class SampledTask:
    """A folder's task with some of its judged queries, the same at every call."""

    def __init__(self, folder: Path, queries: int | None) -> None:
        self._task, self._limit = FolderTask(folder), queries
        self.name, self.instruction, self.ignore_identical_ids = folder.name, None, False

    def corpus(self, split: str = "test") -> Iterable[Document]:
        return self._task.corpus(split)

    def queries(self, split: str = "test") -> list[Query]:
        judged = self._task.qrels(split)
        asked = [query for query in self._task.queries(split) if max(judged.get(query.id, {"": 0}).values()) > 0]
        drawn = np.random.default_rng(0).permutation(len(asked))[: self._limit]
        return [asked[n] for n in np.sort(drawn)]

    def qrels(self, split: str = "test") -> Qrels:
        judged = self._task.qrels(split)
        return {query.id: judged[query.id] for query in self.queries(split)}


def table(output: Path) -> str:
    """A row per collection and first stage, with the difference and its p value after Holm correction."""
    head = "| collection | queries | first stage | without | with | difference (95%) | p | ceiling |"
    lines = [head, "|--|--:|--|--:|--:|--:|--:|--:|"]
    for folder in sorted(output.glob("*/*"), key=lambda folder: (folder.parent.name, FIRST.index(folder.name))):
        saved = read_results(folder)
        for entry in saved["comparisons"]:
            result = next(found for found in saved["results"] if found["model"] == entry["system"])
            [(name, share)] = result["ceiling"].items()
            found = entry["metrics"][METRIC]
            low, high = found["interval"]
            values = [f"{found['baseline']:.4f}", f"{found['system']:.4f}"]
            values += [f"{found['difference']:+.4f} ({low:+.3f} … {high:+.3f})", f"{found['p_randomisation_holm']:.4f}"]
            cells = [entry["task"], f"{result['queries']}", entry["baseline"], *values, f"{name} {share:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reranker", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", nargs="*", metavar="FOLDER[:QUERIES]")
    parser.add_argument("--first", nargs="+", default=FIRST, choices=FIRST)
    parser.add_argument("--depth", type=int, default=20)
    options = parser.parse_args()
    for named in options.folders:
        path, _, queries = named.partition(":")
        task = SampledTask(Path(path), int(queries) if queries else None)
        for mode in options.first:
            model = None if mode == "lexical" else MODEL
            folder = options.output / task.name / mode
            campaign = Campaign(
                [task], model, mode=mode, rerank=options.reranker, rerank_depth=options.depth, output=folder
            )
            for outcome in campaign:
                print(mode, [(r.model, r.metrics[METRIC], r.ceiling) for r in outcome.results], flush=True)
    print(table(options.output))


if __name__ == "__main__":
    main()
