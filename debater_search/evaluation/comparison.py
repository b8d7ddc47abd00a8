"""One system beside others on the same queries: differences, whether they may be chance, which queries made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.data import read_run
from debater_search.errors import DebaterError
from debater_search.evaluation import significance
from debater_search.evaluation.evaluate import without_identical_ids
from debater_search.evaluation.metrics import best, bootstrap
from debater_search.evaluation.results import (
    RESULTS_NAME,
    Entry,
    Result,
    changed_results,
    read_results,
    scored,
)
from debater_search.files import file_in, sha256_file
from debater_search.types import Qrels

COMPARED = ("ndcg@10", "mrr@10", "map@100", "recall@100")
"""The metrics that are tested: each more makes the correction for their number harsher."""
EXTREME = 10  # queries shown that gained most, and that lost most


@dataclass(frozen=True)
class Judged:
    """What runs on one task are scored against, and the queries' texts, by id, as far as they are known."""

    task: str
    qrels: Qrels
    texts: Mapping[str, str]
    ignore_identical_ids: bool = False


@dataclass(frozen=True)
class SavedRun:
    """A run on disk to compare with."""

    name: str
    path: Path
    task: str | None = None
    """The task that it answers; None: whichever is evaluated."""


def find_runs(source: str | Path) -> list[SavedRun]:
    """What there is to compare with: a TREC run file, or all runs of a results.json or of a folder that holds one.

    Raises DebaterError if there is nothing, or a results.json that lacks a run.
    """
    path = Path(source)
    if path.is_dir() or path.name == RESULTS_NAME:
        folder = path if path.is_dir() else path.parent
        entries = read_results(folder)["results"]
        if not entries:
            raise DebaterError(f"There are no results in {folder}.", "Name a TREC run, or what eval --output wrote.")
        return [_saved_run(entry, folder) for entry in entries if "run" in entry]
    if not path.is_file():
        raise DebaterError(f"There is no file {source}.", "Name a TREC run, or what eval --output wrote.")
    return [SavedRun(run_name(path), path)]


def run_name(path: Path) -> str:
    """What the system behind a run file is called: the file's name without what follows a dot."""
    return path.name.split(".")[0] or path.name.strip(".")


def read_saved(saved: SavedRun, judged: Judged) -> Result:
    """A saved run, scored against the judgements of now. Raises DebaterError as `read_run` and `scored` do."""
    run = read_run(saved.path)
    if not judged.qrels.keys() & run.keys():
        raise DebaterError(
            f"{saved.path} answers none of the queries that are judged for {judged.task}.",
            "Do the two belong together?",
        )
    if judged.ignore_identical_ids:
        run = without_identical_ids(run)
    return scored(judged.task, saved.name, run, judged.qrels, provenance=run_provenance(saved.path))


def run_provenance(path: Path) -> dict[str, Any]:
    """What says where a run was, and which one it was."""
    return {"run": str(path)} | ({"sha256": sha256_file(path)} if path.is_file() else {})


def compare(system: Result, baselines: Sequence[Result], judged: Judged, *, seed: int = 42) -> list[Entry]:
    """The system beside each baseline on one task: an entry of `comparisons` in results.json for each.

    Differences are the system's values less the baseline's, query by query. p values are also given as corrected by
    Holm over all metrics and baselines of this call.
    """
    if not baselines:
        return []
    queries = list(system.per_query)
    differences = np.stack([_values(system, queries) - _values(other, queries) for other in baselines], axis=1)
    columns = differences.reshape(len(queries), -1)  # [queries, baselines * metrics]
    low, high = bootstrap(columns, seed=seed)
    randomisation, t = significance.randomisation_test(columns, seed=seed), significance.t_test(columns)
    statistics = {
        "difference": columns.mean(axis=0),
        "low": low,
        "high": high,
        "p_randomisation": randomisation,
        "p_t": t,
        "p_randomisation_holm": significance.holm(randomisation),
        "p_t_holm": significance.holm(t),
        "effect_size": significance.effect_size(columns),
        "wins": (columns > significance.TIE).sum(axis=0),
        "ties": (np.abs(columns) <= significance.TIE).sum(axis=0),
        "losses": (columns < -significance.TIE).sum(axis=0),
    }
    return [
        {
            "task": system.task,
            "baseline": other.model,
            "system": system.model,
            "metrics": {
                name: {"baseline": other.metrics[name], "system": system.metrics[name]}
                | _column(statistics, number * len(COMPARED) + metric)
                for metric, name in enumerate(COMPARED)
            },
            **_extremes(system, other, judged),
        }
        for number, other in enumerate(baselines)
    ]


def save_comparisons(folder: str | Path, comparisons: Sequence[Entry]) -> None:
    """Write comparisons into `results.json` of a folder, in place of earlier ones of the same task and models."""
    if not comparisons:
        return
    new = {_key(entry) for entry in comparisons}
    with changed_results(Path(folder)) as saved:
        saved["comparisons"] = [*comparisons, *(entry for entry in saved["comparisons"] if _key(entry) not in new)]


def _saved_run(entry: Entry, folder: Path) -> SavedRun:
    """Where an entry's run is; an entry is somebody's file, and must not lead out of its folder."""
    task, model, run = (entry.get(name) for name in ("task", "model", "run"))
    if not (isinstance(task, str) and isinstance(model, str) and isinstance(run, str)):
        raise DebaterError(f"{folder / RESULTS_NAME} does not hold results.", "Name what eval --output wrote.")
    if file_in(folder, run) is None:
        raise DebaterError(f"{folder / RESULTS_NAME} names the run {run}, which is not there.", "Evaluate it again.")
    return SavedRun(model, folder / run, task)


def _values(result: Result, queries: Sequence[str]) -> np.ndarray:
    """What is compared: float64 [queries, metrics]."""
    return np.array([[result.per_query[query][name] for name in COMPARED] for query in queries])


def _column(statistics: Mapping[str, np.ndarray], column: int) -> dict[str, Any]:
    """The statistics of one column in JSON's types; None for what is not a number."""
    values = {name: row[column].item() for name, row in statistics.items()}
    values = {name: None if value != value else value for name, value in values.items()}
    return {"difference": values.pop("difference"), "interval": [values.pop("low"), values.pop("high")], **values}


def _extremes(system: Result, other: Result, judged: Judged) -> dict[str, list[Entry]]:
    """The queries that gained and that lost most by the first metric, the greatest difference first."""
    metric = COMPARED[0]
    changes = {query: system.per_query[query][metric] - other.per_query[query][metric] for query in system.per_query}
    by_change = sorted(changes, key=lambda query: -changes[query])
    gained = [query for query in by_change[:EXTREME] if changes[query] > significance.TIE]
    lost = [query for query in by_change[: -EXTREME - 1 : -1] if changes[query] < -significance.TIE]

    def described(query: str) -> Entry:
        return {
            "query": query,
            "text": judged.texts.get(query, ""),
            "baseline": other.per_query[query][metric],
            "system": system.per_query[query][metric],
            "baseline_ranking": _ranking(other, query, judged.qrels),
            "system_ranking": _ranking(system, query, judged.qrels),
        }

    return {"gained": [described(query) for query in gained], "lost": [described(query) for query in lost]}


def _ranking(result: Result, query: str, qrels: Qrels) -> list[list[Any]]:
    """The ten best documents, each with its gain; None where nobody judged it."""
    return [[document_id, qrels[query].get(document_id)] for document_id in best(result.run.get(query, {}))]


def _key(entry: Entry) -> tuple[Any, Any, Any]:
    return entry.get("task"), entry.get("baseline"), entry.get("system")
