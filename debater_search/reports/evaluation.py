"""report.html: the results of evaluations, joined from their folders, in one self-contained page."""

import base64
import math
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import quote

from debater_search.coerce import plain
from debater_search.data.files import write_lines
from debater_search.files import file_in
from debater_search.reports.details import Labels, fields, read_details
from debater_search.reports.page import render

Entry = dict[str, Any]
Contents = Mapping[Path, Mapping[str, list[Entry]]]
"""Folder → the lists in its results.json: results, comparisons and analyses. Any program may have written them."""

MAIN = "ndcg@10"
WHOLE = 10_000  # values per query are integers on the page: 0.3941 is 3941

# Limits that keep the page below five megabytes.
QUERIES = 300  # with texts, per task
TEXT_BYTES = 1_800_000
VALUES = 250_000  # above it, values per query are only those of the main metric
PICTURE_BYTES = 1_100_000
MEDIA = {"svg": "image/svg+xml", "png": "image/png"}  # by preference


def write_page(found: Contents, page: Path, across: Sequence[Entry] = ()) -> None:
    """Write the results of all folders as a self-contained page.

    If two folders score a model differently, its name on the page includes the folder. `across` are comparisons of
    models by their names on the page (`joined`), shown if no folder has its own. Raises DebaterError for damaged
    files beside results.json, and if the page cannot be written.
    """
    data = describe(found, page.parent, across)
    write_lines(page, [render(title(data), data)])


def joined(found: Contents) -> dict[str, dict[str, Entry]]:
    """Task → the model's name on the page → result."""
    labels = _labels(found)
    results: dict[str, dict[str, Entry]] = {}
    for folder, entry in _results(found):
        results.setdefault(entry["task"], {}).setdefault(labels[folder, entry["model"]], entry)
    return results


def describe(found: Contents, place: Path, across: Sequence[Entry] = ()) -> Entry:
    """The data of the page in plain JSON types; links are relative to the folder `place`."""
    labels = _labels(found)
    results = joined(found)
    entries = [entry for models in results.values() for entry in models.values()]
    metrics = list(dict.fromkeys(name for entry in entries for name in entry["metrics"]))
    main = MAIN if MAIN in metrics else next(iter(metrics), MAIN)
    fits = sum(len(entry["per_query"]) for entry in entries) * len(metrics) <= VALUES
    comparisons = _comparisons(found, labels, across)
    places = {name: place for place, name in enumerate(results)}
    comparisons.sort(key=lambda one: places.get(one["task"], len(places)))
    tasks = []
    for name, models in results.items():
        task = _task(name, models, metrics if fits else [main])
        others = _compared(comparisons, name, models)
        details = read_details(name, list(found), labels, others)
        task["results"] |= others
        for metric, by_model in task["values"].items():
            for model, per_query in details.values.items():
                values = _values(per_query, metric, task["ids"])
                if any(value is not None for value in values):
                    by_model[model] = values
        order = _order(task["ids"], list(task["values"][main].values()), _named_queries(comparisons, name))
        task["queries"], task["documents"] = details.within(order[:QUERIES], TEXT_BYTES // len(results))
        tasks.append(task)
    described: Entry = plain(
        {
            "main": main,
            "metrics": metrics,
            "models": list(dict.fromkeys(model for task in tasks for model in task["results"])),
            "tasks": tasks,
            "comparisons": comparisons,
            "analyses": _analyses(found, labels, place),
        }
    )
    return described


def title(data: Entry) -> str:
    """The title of the page."""

    def listed(names: Sequence[str], what: str) -> str:
        return " and ".join(names) if len(names) <= 2 else f"{len(names)} {what}"

    return f"{listed(data['models'], 'models')} on {listed([task['name'] for task in data['tasks']], 'tasks')}"


def _results(found: Contents) -> Iterator[tuple[Path, Entry]]:
    """Every result that names its task and model, with its folder."""
    for folder, lists in found.items():
        for entry in lists.get("results", []):
            if isinstance(entry.get("task"), str) and isinstance(entry.get("model"), str):
                yield (
                    folder,
                    entry
                    | {
                        "metrics": {
                            name: value for name, value in fields(entry, "metrics").items() if _is_number(value)
                        },
                        "intervals": fields(entry, "intervals"),
                        "per_query": fields(entry, "per_query"),
                    },
                )


def _labels(found: Contents) -> Labels:
    """(folder, model) → the model's name, with the folder's name if folders score it differently on a task."""
    scores: dict[tuple[str, str], list[Any]] = {}
    for _, entry in _results(found):
        scores.setdefault((entry["task"], entry["model"]), []).append(entry["metrics"])
    disputed = {model for (_, model), seen in scores.items() if any(metrics != seen[0] for metrics in seen)}
    names = [folder.resolve().name for folder in found]
    labels = {}
    for folder, entry in _results(found):
        name = folder.resolve().name
        where = name if names.count(name) == 1 else str(folder)
        model = entry["model"]
        labels[folder, model] = f"{model} ({where})" if model in disputed else model
    return labels


def _task(name: str, models: Mapping[str, Entry], metrics: Sequence[str]) -> Entry:
    """A task's results, and the values of each model per query for each of `metrics`."""
    ids = list(dict.fromkeys(query_id for entry in models.values() for query_id in entry["per_query"]))
    return {
        "name": name,
        "results": {
            model: {key: value for key, value in entry.items() if key != "per_query"} for model, entry in models.items()
        },
        "ids": ids,
        "values": {
            metric: {model: _values(entry["per_query"], metric, ids) for model, entry in models.items()}
            for metric in metrics
        },
    }


def _values(per_query: Entry, metric: str, ids: Sequence[str]) -> list[int | None]:
    """A result's value per query in ten-thousandths; None if it has none."""
    values = [fields(per_query, query_id).get(metric) for query_id in ids]
    return [round(value * WHOLE) if _is_number(value) else None for value in values]


def _order(ids: Sequence[str], values: Sequence[Sequence[int | None]], named: Sequence[str]) -> list[str]:
    """Query ids, those whose texts matter most first.

    First the queries that comparisons name; then, alternating, those on which models differ most (for a single model,
    those with its lowest values) and a random sample.
    """
    spread = {}
    for query_id, *of_models in zip(ids, *values, strict=True):
        known = [value or 0 for value in of_models]
        spread[query_id] = max(known) - min(known) if len(known) > 1 else -known[0]
    telling = sorted(ids, key=lambda query_id: -spread[query_id])
    sample = random.Random(42).sample(ids, len(ids))
    in_turn = [query_id for pair in zip(telling, sample, strict=True) for query_id in pair]
    return list(dict.fromkeys([query_id for query_id in named if query_id in spread] + in_turn))


def _comparisons(found: Contents, labels: Labels, across: Sequence[Entry]) -> list[Entry]:
    """Comparisons by the models' names on the page; for each pair of models on a task only the first."""
    first: dict[tuple[str, frozenset[str]], Entry] = {}
    of_folders = [(folder, entry) for folder, lists in found.items() for entry in lists.get("comparisons", [])]
    for folder, entry in [*of_folders, *((None, entry) for entry in across)]:
        task, *models = (str(entry.get(name)) for name in ("task", "baseline", "system"))
        baseline, system = (labels.get((folder, model), model) if folder else model for model in models)
        metrics = fields(entry, "metrics")
        first.setdefault(
            (task, frozenset([baseline, system])),
            {"task": task, "baseline": baseline, "system": system}
            | {"metrics": {name: _statistics(fields(metrics, name)) for name in metrics}}
            | {side: _moved(entry.get(side)) for side in ("gained", "lost")},
        )
    return list(first.values())


def _compared(comparisons: Sequence[Entry], task: str, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """The scores of systems that a task's comparisons alone tell of, in the compared metrics."""
    scores: dict[str, Entry] = {}
    for one in comparisons:
        for side in ("system", "baseline"):
            if one["task"] == task and one[side] not in known:
                entry = scores.setdefault(one[side], {"metrics": {}, "intervals": {}})
                for name, values in one["metrics"].items():
                    if side in values:
                        entry["metrics"][name] = values[side]
                    if f"{side}_interval" in values:
                        entry["intervals"][name] = values[f"{side}_interval"]
    return {model: entry for model, entry in scores.items() if entry["metrics"]}


def _statistics(found: Entry) -> Entry:
    """The numbers and the intervals of a comparison in one metric."""

    def is_sound(name: str, value: Any) -> bool:
        if not name.endswith("interval"):
            return _is_number(value)
        return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))

    return {name: value for name, value in found.items() if is_sound(name, value)}


def _moved(queries: Any) -> list[Entry]:
    """The queries that a comparison names, without their rankings, which are in the details."""
    kept = ("query", "text", "baseline", "system")
    return [
        {"query": "", "text": ""} | {name: query[name] for name in kept if name in query}
        for query in (queries if isinstance(queries, list) else [])
        if isinstance(query, dict)
    ]


def _named_queries(comparisons: Sequence[Entry], task: str) -> list[str]:
    of_task = [comparison for comparison in comparisons if comparison["task"] == task]
    return [str(query["query"]) for one in of_task for side in ("gained", "lost") for query in one[side]]


def _analyses(found: Contents, labels: Labels, place: Path) -> list[Entry]:
    """Title, note, picture and links of each analysis; pictures are included up to PICTURE_BYTES."""
    analyses = []
    room = PICTURE_BYTES
    for folder, lists in found.items():
        for entry in lists.get("analyses", []):
            names = {kind: name for kind, name in fields(entry, "files").items() if isinstance(name, str)}
            files = {kind: file for kind, name in names.items() if (file := file_in(folder, name)) is not None}
            kind = next((kind for kind in MEDIA if kind in files and files[kind].stat().st_size <= room), None)
            room -= files[kind].stat().st_size if kind else 0
            models = entry.get("models")
            analyses.append(
                {
                    "task": str(entry.get("task") or ""),
                    "models": [
                        labels.get((folder, str(m)), str(m)) for m in (models if isinstance(models, list) else [])
                    ],
                    "title": str(entry.get("title") or entry.get("name") or ""),
                    "note": str(entry.get("note") or ""),
                    "picture": _inlined(files[kind], kind) if kind else None,
                    "links": {kind: quote(os.path.relpath(file, place.resolve())) for kind, file in files.items()},
                }
            )
    return analyses


def _inlined(picture: Path, kind: str) -> str:
    """The picture as a data: URI; in this form an SVG runs no script and loads nothing."""
    return f"data:{MEDIA[kind]};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
