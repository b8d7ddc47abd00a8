"""Published figures with their sources (`published.json`), compared with measured ones.

A figure belongs to a model by name: a hub id or an alias in the file's table `models`, or a folder with such a name
(`models/DEBATER-2B`). The contents of such a folder are not checked.
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
    """A published figure and the measured one."""

    metric: str
    value: float
    digits: int
    """Published decimal places."""
    measured: float
    source: str

    @property
    def difference(self) -> float:
        """Measured minus published."""
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
    """The published figures of a model on a task, found by name, for the measured metrics; usually none.

    Examples:
        >>> from debater_search.evaluation import published_figures
        >>> [figure.value for figure in published_figures("SciFact", "minilm", {"ndcg@10": 0.64508})]
        [0.64508]
    """
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
    """Each name in its plain form and the entry that it names; a hub id also without its owner."""
    for name, others in known.items():
        for other in (name, *others):
            yield _plain(other), name
            yield _plain(other.rpartition("/")[2]), name


def _plain(name: str) -> str:
    """A name without case and punctuation: SciFact is scifact, and XQuAD_en is xquad-en."""
    return re.sub(r"[\W_]+", "", name.casefold())
