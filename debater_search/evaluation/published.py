"""Figures that others published, each with its source, beside what was measured here: `published.json`.

A figure belongs to a model by its name: a hub id or an alias of the table `models` there, or a folder that is called
like one (`models/DEBATER-2B`). Whether such a folder holds what its name says is its owner's word.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from debater_search.evaluation.beir import BEIR

_FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Published:
    """A published figure, and what was measured."""

    metric: str
    value: float
    digits: int
    """Decimal places that were published."""
    measured: float
    source: str

    @property
    def difference(self) -> float:
        """Measured less published."""
        return self.measured - self.value

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than rounding."""
        return abs(self.difference) > 0.5 * 10**-self.digits + 1e-9

    def as_dict(self) -> dict[str, Any]:
        """The figure in JSON types."""
        return {
            "metric": self.metric,
            "published": self.value,
            "digits": self.digits,
            "measured": self.measured,
            "difference": self.difference,
            "differs": self.differs,
            "source": self.source,
        }


def published_figures(task: str, model: str, metrics: Mapping[str, float]) -> list[Published]:
    """What is published of a model on a task, by their names, for the metrics that were measured; empty for most."""
    tables = _read()
    known_task, known_model = tables["task_names"].get(_plain(task)), _model(tables["model_names"], model)
    return [
        Published(source["metric"], value, source["digits"], metrics[source["metric"]], source["source"])
        for source in tables["sources"]
        for name, values in source["scores"].items()
        for known, value in values.items()
        if (name, known) == (known_task, known_model) and source["metric"] in metrics
    ]


def _model(names: Mapping[str, str], model: str) -> str | None:
    return names.get(_plain(model)) or names.get(_plain(Path(model).name))


@cache
def _read() -> dict[str, Any]:
    tables = json.loads(_FILE.read_text(encoding="utf-8"))
    tables["model_names"] = dict(_names(tables["models"]))
    tables["task_names"] = dict(_names({task: [] for source in tables["sources"] for task in source["scores"]}))
    tables["task_names"] |= dict(_names(tables["tasks"]))
    tables["task_names"] |= {_plain(beir): name for beir, name in BEIR.items() if _plain(name) in tables["task_names"]}
    return tables


def _names(known: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Every name in its plain form, with what it names; a hub id also without its owner."""
    for name, others in known.items():
        for other in (name, *others):
            yield _plain(other), name
            yield _plain(other.rpartition("/")[2]), name


def _plain(name: str) -> str:
    """A name without case and punctuation: SciFact is scifact, and XQuAD_en is xquad-en."""
    return re.sub(r"[\W_]+", "", name.casefold())
