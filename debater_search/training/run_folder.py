"""The output folder of a run: what it holds, whether a run may go there, where one goes on. No torch."""

import logging
import math
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from debater_search.data.files import require_writable
from debater_search.encoder.card import CARD, is_card
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.spec import CHECKPOINT_FILE
from debater_search.errors import DamagedError, InvalidError
from debater_search.locks import LOCK_NAME
from debater_search.training.settings import TrainingSettings

log = logging.getLogger(__name__)

STATE_FILE, METRICS_FILE, PICTURE_FILE = "trainer_state.json", "metrics.jsonl", "training.png"
BEST_FOLDER = "best"
GO_ON_OR_START_OVER = "Go on with what is new (`resume` and `force`), or start over (`force`)."
OUR_FOLDERS = re.compile(r"\.{0,2}((checkpoint|warm)-\d+|best|final)(\.tmp)?|tensorboard")
OUR_FILES = re.compile(
    r"writer\.lock|metrics\.jsonl(\.tmp)?|training\.(png|svg)|debater\.json|(adapter_|generation_)?config\.json"
    r"|tokenizer(_config)?\.json|special_tokens_map\.json|(adapter_)?model.*\.safetensors(\.index\.json)?"
)


def is_ours(output: Path) -> bool:
    """Whether a folder holds nothing but what training writes; anything else in it is never deleted."""
    return all(
        (OUR_FOLDERS if path.is_dir() else OUR_FILES).fullmatch(path.name) or (path.name == CARD and is_card(path))
        for path in output.iterdir()
    )


def clear(output: Path) -> None:
    """Remove an earlier run from a folder that `is_ours`; what a kill leaves of it is neither finished nor complete."""
    (output / CHECKPOINT_FILE).unlink(missing_ok=True)
    folders = [path for path in output.iterdir() if path.is_dir()]
    for folder in folders:
        (folder / STATE_FILE).unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder)
    for path in output.iterdir():
        if path.name != LOCK_NAME:  # held by whoever clears
            path.unlink()


def newest_complete(output: Path, *, before: float = math.inf) -> Path | None:
    """The last checkpoint that training can go on from, of those before a step; one of the warm start if there is no
    other.
    """
    for kind in ("checkpoint", "warm"):
        found = [(step, path) for step, path in _numbered(output, kind) if is_complete(path)]
        if earlier := [path for step, path in sorted(found) if step < before]:
            return earlier[-1]
    return None


def is_complete(checkpoint: Path) -> bool:
    """Whether training can go on from a checkpoint: its state is written last."""
    return (checkpoint / STATE_FILE).is_file()


def drop_warm(output: Path, before: float = math.inf) -> None:
    """Remove checkpoints of the warm start, of which only the last is of use, and none once training has begun."""
    for step, path in _numbered(output, "warm"):
        if step < before:
            shutil.rmtree(path)


def complete_checkpoints(output: Path, *, after: int = -1, before: float = math.inf) -> list[Path]:
    """Checkpoints of training that it can go on from, by step; only those between two steps."""
    found = sorted((step, path) for step, path in _numbered(output, "checkpoint") if is_complete(path))
    return [path for step, path in found if after < step < before]


def keep_newest(output: Path, count: int) -> None:
    """Remove the checkpoints of training before the newest `count` that it can go on from."""
    for path in complete_checkpoints(output)[:-count]:
        (path / STATE_FILE).unlink()  # first: what a kill leaves is not complete
        shutil.rmtree(path)


def _numbered(output: Path, kind: str) -> list[tuple[int, Path]]:
    """Folders named after a step."""
    named = ((re.fullmatch(rf"{kind}-(\d+)", path.name), path) for path in output.glob(f"{kind}-*"))
    return [(int(match.group(1)), path) for match, path in named if match]


def saved_state(checkpoint: Path) -> dict[str, Any]:
    """Step and config of a checkpoint. Raises DamagedError."""
    state = read_json(checkpoint / STATE_FILE)
    if not isinstance(state.get("step"), int) or not isinstance(state.get("config"), dict):
        raise DamagedError(
            f"{checkpoint / STATE_FILE} is damaged: it names no step or no config.", f"Remove {checkpoint}."
        )
    return state


def run_config(output: str | Path) -> dict[str, Any] | None:
    """The config of the run that an output folder holds, finished or begun; None where there is none.

    Examples:
        >>> from debater_search.training import run_config, train
        >>> run_config(train("train.yaml"))["max_steps"]
        2
    """
    output = Path(output)
    published = _published(output)
    if published is not None:
        return published.get("config")
    newest = newest_complete(output)
    return saved_state(newest)["config"] if newest is not None else None


def _published(output: Path) -> dict[str, Any] | None:
    """The provenance of a finished run's model; None if there is none, or if the run has gone on since.

    A finished run that goes on leaves its model in place until the next one is published: until then, checkpoints of
    later steps tell that it is not finished.
    """
    if not (output / CHECKPOINT_FILE).is_file():
        return None
    provenance = _provenance_in(output)
    step = provenance.get("step")
    later = isinstance(step, int) and complete_checkpoints(output, after=step)
    return None if later else provenance


def best_measured(output: str | Path) -> tuple[int, float] | None:
    """The step of the checkpoint in OUTPUT/best, and its nDCG@10; None if nothing was measured."""
    best = Path(output) / BEST_FOLDER
    if not (best / CHECKPOINT_FILE).is_file():
        return None
    provenance = _provenance_in(best)
    return provenance["step"], provenance["metrics"]["evaluation"]["ndcg@10"]


def measured_before(output: str | Path) -> float | None:
    """nDCG@10 of the model before training; None if it was not measured."""
    score = _provenance_in(Path(output) / BEST_FOLDER).get("metrics", {}).get("before training", {}).get("ndcg@10")
    return None if score is None else float(score)


def _provenance_in(checkpoint: Path) -> dict[str, Any]:
    found = read_json(checkpoint / CHECKPOINT_FILE).get("provenance")
    return found if isinstance(found, dict) else {}


def is_finished(folder: Path, settings: TrainingSettings, *, resume: bool, force: bool) -> bool:
    """Whether a resumed run has nothing left to do. Raises InvalidError if the folder may not be written to."""
    require_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise InvalidError(f"{folder} is a file.", "Choose another `output`.")
    before = run_config(folder) if resume else None
    finished = resume and _published(folder) is not None
    if before is None:
        _require_clearable(folder, settings, force=force or (resume and not finished))
        if resume:
            log.warning("There is no complete checkpoint in %s: starting from step 0.", folder)
        return False
    with suppress(ValidationError):  # a config of an older release lacks settings that are new
        before = TrainingSettings.model_validate(before).model_dump(mode="json")
    changed = _changed(before, settings.model_dump(mode="json"))
    if changed and not force:
        raise InvalidError(
            f"The run in {folder} was begun with another config (different: {', '.join(changed)}).", GO_ON_OR_START_OVER
        )
    if finished and changed and newest_complete(folder) is None:
        raise InvalidError(
            f"The run in {folder} is finished and left no checkpoint to go on from.",
            "Start over with `force`, or choose another `output`.",
        )
    if finished and not changed:
        log.warning("%s is finished: nothing to resume.", folder)
        return True
    if settings.epochs is None:
        require_steps(folder, settings.max_steps, "max_steps")
    return False


def require_steps(folder: Path, steps: int, setting: str) -> None:
    """Raise InvalidError if a run to resume has trained for more than the `steps` that a setting gives it."""
    if beyond := complete_checkpoints(folder, after=steps):
        done = saved_state(beyond[-1])["step"]
        raise InvalidError(
            f"The run in {folder} has {done:,} steps already, and by {setting} it would have {steps:,}.",
            f"Raise {setting} ({done:,} steps end the run where it is), or start over (`force` without `resume`).",
        )


def _require_clearable(folder: Path, settings: TrainingSettings, *, force: bool) -> None:
    """Raise InvalidError if a new run would remove other files than a run's, or (without `force`) any run."""
    if not folder.is_dir():
        return
    if not is_ours(folder):
        raise InvalidError(f"{folder} holds files that are not a training run's.", "Choose another `output`.")
    if Path(settings.model).is_dir() and Path(settings.model).resolve().is_relative_to(folder.resolve()):
        raise InvalidError(
            f"The model to train lies in the output folder {folder}, which a new run clears.",
            "Choose another `output`.",
        )
    if any(folder.iterdir()) and not force:
        finished = _published(folder) is not None
        raise InvalidError(
            f"{folder} holds a {'finished' if finished else 'begun'} training run.",
            "Set `resume` and `force` to go on with more steps, `force` to start over, or choose another `output`."
            if finished
            else "Set `resume` to go on, `force` to start over, or choose another `output`.",
        )


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Dotted names of the settings that differ; where a run writes to does not count."""
    names = []
    for name in sorted({*before, *now} - {"output"}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            names += [f"{name}.{inner}" for inner in _changed(old, new)]
        elif old != new:
            names.append(name)
    return names


def require_same_data(checkpoint: Path, provenance: dict[str, Any]) -> None:
    """Raise InvalidError if the rows have changed since a checkpoint was trained on them."""
    before = _provenance_in(checkpoint).get("data") or {}
    if changed := sorted(name for name, rows in provenance["data"].items() if before.get(name, rows) != rows):
        raise InvalidError(
            f"Data has changed since {checkpoint} was written: {', '.join(changed)}.", GO_ON_OR_START_OVER
        )
