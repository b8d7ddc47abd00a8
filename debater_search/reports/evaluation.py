"""report.html: what evaluations found, joined from the folders that hold it, on one page that needs nothing else."""

import base64
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from debater_search.data.fields import plain
from debater_search.data.files import write_lines
from debater_search.reports.details import Labels, file_in, read_details
from debater_search.reports.page import render

Entry = dict[str, Any]
Found = Mapping[Path, Mapping[str, list[Entry]]]
"""What the results.json of each folder holds: lists of results, comparisons and analyses."""
Results = dict[str, dict[str, Entry]]
"""Task → model, as the page calls it → result."""

MAIN = "ndcg@10"
WHOLE = 10_000  # a query's values are whole numbers on the page: 0.3941 is 3941

# What makes a page heavy, each held to its part of five megabytes.
QUERIES = 300  # with texts, of each task
TEXT_BYTES = 1_800_000
VALUES = 250_000  # beyond that, a query's values are those of the main metric
PICTURE_BYTES = 1_100_000


def write_page(found: Found, page: Path) -> None:
    """Write the results of all folders as a self-contained page; what a folder lacks is left out.

    A model that two folders score differently goes by its folder's name, too. Raises DebaterError for files beside
    results.json that are damaged, and where the page cannot be written.
    """
    data = describe(found, page.parent)
    write_lines(page, [render(title(data), data)])


def describe(found: Found, place: Path) -> Entry:
    """What the page shows, in plain JSON types; links are relative to the folder `place`."""
    labels = _labels(found)
    results: Results = {}
    for folder, entry in _each(found, "results"):
        results.setdefault(entry["task"], {}).setdefault(labels[folder, entry["model"]], entry)
    comparisons = _comparisons(found, labels)
    entries = [entry for models in results.values() for entry in models.values()]
    metrics = list(dict.fromkeys(name for entry in entries for name in entry["metrics"]))
    main = MAIN if MAIN in metrics else next(iter(metrics), MAIN)
    of_queries = metrics if sum(len(e["per_query"]) for e in entries) * len(metrics) <= VALUES else [main]
    tasks = []
    for task, models in results.items():
        ids = list(dict.fromkeys(query_id for entry in models.values() for query_id in entry["per_query"]))
        values = {metric: {model: _values(entry, metric, ids) for model, entry in models.items()} for metric in of_queries}
        named = [query for c in comparisons if c["task"] == task for query in _named_queries(c)]
        order = _order(ids, list(values.get(main, {}).values()), named)[:QUERIES]
        queries, documents = read_details(task, list(found), labels).within(order, TEXT_BYTES // len(results))
        tasks.append(
            {
                "name": task,
                "results": {model: _without_queries(entry) for model, entry in models.items()},
                "ids": ids,
                "values": values,
                "queries": queries,
                "documents": documents,
            }
        )
    models = list(dict.fromkeys(model for task in tasks for model in task["results"]))
    described = {"main": main, "metrics": metrics, "models": models, "tasks": tasks, "comparisons": comparisons}
    return plain(described | {"analyses": _analyses(found, labels, place)})  # type: ignore[no-any-return]


def title(data: Entry) -> str:
    """What the page is about, in a few words."""

    def called(names: Sequence[str], what: str) -> str:
        return " and ".join(names) if len(names) <= 2 else f"{len(names)} {what}"

    return f"{called(data['models'], 'models')} on {called([task['name'] for task in data['tasks']], 'tasks')}"


def _each(found: Found, kind: str) -> Iterator[tuple[Path, Entry]]:
    """The entries of a kind in every folder; those that do not say what they are about are passed over."""
    for folder, lists in found.items():
        for entry in lists.get(kind, []):
            if not isinstance(entry.get("task"), str):
                continue
            if kind == "results":
                if not isinstance(entry.get("model"), str):
                    continue
                entry = {**entry, **{name: _fields(entry.get(name)) for name in ("metrics", "intervals", "per_query")}}
            yield folder, entry


def _labels(found: Found) -> Labels:
    """(folder, model) → what the page calls the model: its name, and its folder's where folders disagree on a task."""
    scores: dict[tuple[str, str], list[Any]] = {}
    for _, entry in _each(found, "results"):
        scores.setdefault((entry["task"], entry["model"]), []).append(entry["metrics"])
    disputed = {model for (_, model), seen in scores.items() if any(metrics != seen[0] for metrics in seen)}
    names = [folder.resolve().name for folder in found]
    places = {folder: name if names.count(name) == 1 else str(folder) for folder, name in zip(found, names, strict=True)}
    return {
        (folder, entry["model"]): f"{entry['model']} ({places[folder]})" if entry["model"] in disputed else entry["model"]
        for folder, entry in _each(found, "results")
    }


def _comparisons(found: Found, labels: Labels) -> list[Entry]:
    """Comparisons of the models as the page calls them; of several of the same two models on a task, the first."""
    first: dict[tuple[str, str, str], Entry] = {}
    for folder, entry in _each(found, "comparisons"):
        baseline, system = (labels.get((folder, name), name) for name in (str(entry.get("baseline")), str(entry.get("system"))))
        named = {"task": entry["task"], "baseline": baseline, "system": system}
        rest = {"metrics": _fields(entry.get("metrics"))} | {
            side: [query for query in entry.get(side) or [] if isinstance(query, dict)] for side in ("gained", "lost")
        }
        first.setdefault((entry["task"], baseline, system), named | rest)
    return list(first.values())


def _named_queries(comparison: Entry) -> list[str]:
    return [str(query.get("query")) for side in ("gained", "lost") for query in comparison[side]]


def _values(entry: Entry, metric: str, ids: Sequence[str]) -> list[int | None]:
    """A result's value for each query, in ten-thousandths; None where it has none."""
    values = (_fields(entry["per_query"].get(query_id)).get(metric) for query_id in ids)
    return [round(value * WHOLE) if isinstance(value, int | float) and value == value else None for value in values]


def _order(ids: Sequence[str], values: Sequence[Sequence[int | None]], named: Sequence[str]) -> list[str]:
    """Queries by how much it matters that their texts are on the page.

    Those that comparisons name; then in turn those on which models differ most (of one model: which it answers worst)
    and a sample of all.
    """
    spread = {}
    for at, query_id in enumerate(ids):
        of_models = [column[at] or 0 for column in values]
        spread[query_id] = max(of_models) - min(of_models) if len(of_models) > 1 else -sum(of_models)
    telling = sorted(ids, key=lambda query_id: -spread[query_id])
    sample = random.Random(42).sample(list(ids), len(ids))
    in_turn = [query_id for pair in zip(telling, sample, strict=True) for query_id in pair]
    return list(dict.fromkeys([query_id for query_id in named if query_id in spread] + in_turn))


def _without_queries(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "per_query"}


def _analyses(found: Found, labels: Labels, place: Path) -> list[Entry]:
    """Title, note and picture of each analysis, with a link to its numbers; pictures until the page is full."""
    analyses = []
    room = PICTURE_BYTES
    for folder, entry in _each(found, "analyses"):
        files = {
            kind: file
            for kind, name in _fields(entry.get("files")).items()
            if isinstance(name, str) and (file := file_in(folder, name)) is not None
        }
        fitting = [kind for kind in ("svg", "png") if kind in files and files[kind].stat().st_size <= room]
        picture = None
        if fitting:
            room -= files[fitting[0]].stat().st_size
            picture = _inlined(files[fitting[0]], fitting[0])
        models = [labels.get((folder, model), model) for model in map(str, entry.get("models") or [])]
        analyses.append(
            {
                "task": entry["task"],
                "models": models,
                "title": str(entry.get("title") or entry.get("name") or ""),
                "note": str(entry.get("note") or ""),
                "picture": picture,
                "links": {kind: quote(os.path.relpath(file, place.resolve())) for kind, file in files.items()},
            }
        )
    return analyses


def _inlined(picture: Path, kind: str) -> str:
    """The picture as a data: URI; an SVG shown this way runs no script and loads nothing."""
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _fields(value: Any) -> Entry:
    return value if isinstance(value, dict) else {}
