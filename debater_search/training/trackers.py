"""Experiment trackers: TensorBoard files, wandb, mlflow and others, by transformers' own integrations."""

import difflib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from debater_search.errors import InvalidError, UnavailableError

log = logging.getLogger(__name__)

TENSORBOARD_FOLDER = "tensorboard"
PROJECT = "debater"
PREFIXES = {"training": "", "evaluation": "eval_", "warm start": "warm_start/"}
"""Of each phase's values; transformers puts `eval_…` under eval/, all else under train/."""


class Trackers:
    """What a run logs, handed to trackers; belongs to the main process alone.

    TensorBoard files go to `folder`/tensorboard and begin anew: a run that goes on gives its log to `replay`, so that
    each step is in them once. A tracker that fails on the way is left out with a warning: it must not end training.
    """

    def __init__(self, report_to: Sequence[str], folder: Path, config: dict[str, Any]) -> None:
        """Start the trackers named in `report_to`; `config` is shown beside the run.

        Raises InvalidError for an unknown one, UnavailableError for one that is not installed or does not start.
        """
        self._arguments = _Arguments.of_run(folder, config)
        self._state, self._control = TrainerState(), TrainerControl()
        self._running: dict[str, TrainerCallback] = {}
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", PROJECT)
        for name, tracker in require_trackers(report_to).items():
            try:
                if name == "tensorboard":
                    tracker.logging_dir = str(_emptied(folder / TENSORBOARD_FOLDER))
                tracker.on_train_begin(self._arguments, self._state, self._control, model=None)
            except Exception as error:  # each tracker has its own: no account, no server, a full disk
                self.close()
                raise UnavailableError(
                    f"The tracker {name} does not start: {error}", f"Set it up, or leave {name} out of report_to."
                ) from error
            self._running[name] = tracker

    def log(self, entry: dict[str, Any], step: int) -> None:
        """Hand on one entry of the run's log."""
        self._send(entry, step, list(self._running))

    def replay(self, entries: Sequence[dict[str, Any]]) -> None:
        """Give TensorBoard what was logged before a run goes on; the other trackers have it from before."""
        for entry in entries:
            self._send(entry, entry["step"], [name for name in self._running if name == "tensorboard"])

    def close(self) -> None:
        """Write what is left and end the trackers' runs."""
        for name, tracker in self._running.items():
            try:
                tracker.on_train_end(self._arguments, self._state, self._control, model=None)
            except Exception as error:  # as above
                log.warning("The tracker %s did not end well: %s", name, error)
        self._running = {}

    def _send(self, entry: dict[str, Any], step: int, names: list[str]) -> None:
        self._state.global_step = step
        for name in names:
            try:
                tracker, values = self._running[name], dict(_values(entry))
                tracker.on_log(self._arguments, self._state, self._control, logs=values, model=None)
            except Exception as error:  # as above; hours of training are worth more
                log.warning("The tracker %s is left out from step %d on: %s", name, step, error)
                del self._running[name]


def require_trackers(report_to: Sequence[str]) -> dict[str, TrainerCallback]:
    """The trackers by name, not started.

    Raises InvalidError for an unknown one, UnavailableError for one that is not installed.
    """
    trackers: dict[str, TrainerCallback] = {}
    for name in report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            near = difflib.get_close_matches(name, INTEGRATION_TO_CALLBACK, n=1)
            known = f"Known: {', '.join(sorted(INTEGRATION_TO_CALLBACK))}."
            raise InvalidError(
                f"report_to: there is no tracker {name!r}.", f"Did you mean {near[0]}?" if near else known
            )
        [make] = get_reporting_integration_callbacks([name])
        try:
            trackers[name] = make()
        except Exception as error:  # RuntimeError, ImportError, ValueError: each integration has its own
            package = {"tensorboard": "tensorboardX", "azure_ml": "azureml-sdk"}.get(name, name.replace("_", "-"))
            raise UnavailableError(
                f"report_to names {name}, which cannot be used here: {error}",
                f"Install it (pip install {package}), or leave it out of report_to.",
            ) from error
    return trackers


class _Arguments(TrainingArguments):
    """A run as the integrations want it told: our settings stand where Trainer's would."""

    def __post_init__(self) -> None:
        """Nothing: Trainer's arguments would look for devices and process groups here."""

    @classmethod
    def of_run(cls, folder: Path, config: dict[str, Any]) -> "_Arguments":
        arguments = cls(output_dir=str(folder), run_name=folder.resolve().name)
        arguments.shown = dict(_flat(config))
        return arguments

    def to_dict(self) -> dict[str, Any]:
        return dict(self.shown)

    def to_json_string(self) -> str:
        return json.dumps(self.shown, indent=2, ensure_ascii=False)

    def to_sanitized_dict(self) -> dict[str, Any]:
        return {name: value if isinstance(value, int | float) else str(value) for name, value in self.shown.items()}


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted key (`loss.scale`, `data.0.path`): trackers take no nested ones."""
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else None
    if children is None:
        yield prefix, values
        return
    for key, value in children:
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _values(entry: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a log entry, under names that trackers group well."""
    prefix = PREFIXES.get(entry["phase"], "")
    for name, value in entry.items():
        if name == "steps":
            for number, score in enumerate(value, start=1):
                yield f"{prefix}thinking_step_{number:02d}", score
        elif name != "step" and isinstance(value, int | float):
            yield prefix + re.sub("/s$", "_per_second", name), value


def _emptied(folder: Path) -> Path:
    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
    return folder
