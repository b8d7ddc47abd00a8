"""Several checkpoints on one task: by training step, and by the number of thinking steps."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debater_search.encoder.protocol import TextEncoder, device_of
from debater_search.encoder.spec import CHECKPOINT_FILE
from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.analyses.subject import METRIC, SCORE, Finding, Subject
from debater_search.evaluation.evaluate import evaluate
from debater_search.files import from_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A folder that training wrote, its optimizer step, and its model."""

    folder: Path
    step: int
    thinking_steps: int
    base_model: str

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint | None":
        """The checkpoint in a folder; None if there is none, or if its description is incomplete."""
        try:
            described: dict[str, Any] = from_json((folder / CHECKPOINT_FILE).read_text(encoding="utf-8"))
            step = int(described["provenance"]["step"])
            return cls(folder, step, int(described["thinking_steps"]), str(described["base_model"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None


def require_run(encoder: TextEncoder) -> None:
    """Raise DebaterError unless the model is the output of a training run that holds checkpoints of several steps."""
    if len(_of_run(encoder)) < 2:
        raise InvalidError(
            f"{encoder.name} is not a training output with several checkpoints.",
            "Analyse the output folder of a training run; it holds folders checkpoint-N.",
        )


def require_depths(encoder: TextEncoder) -> None:
    """Raise DebaterError unless the model's parent folder holds checkpoints of other depths on the same base model."""
    if len({checkpoint.thinking_steps for checkpoint in _beside(encoder)}) < 2:
        raise MissingError(
            f"Next to {encoder.name} there is no checkpoint of the same base model with other thinking_steps.",
            "Train some into neighbouring folders, for example thinking_steps=4 into checkpoints/depth-4.",
        )


def training(subject: Subject) -> Finding:
    """The score of every checkpoint-N of a training run, and of its final checkpoint."""
    rows = [
        (checkpoint.step, checkpoint.folder.name, *_score(subject, checkpoint))
        for checkpoint in _of_run(subject.engine.encoder)
    ]
    best = max(rows, key=lambda row: row[2])
    note = f"From {rows[0][2]:.3f} at step {rows[0][0]:,} to {rows[-1][2]:.3f} at step {rows[-1][0]:,}; "
    note += f"the best is step {best[0]:,} with {best[2]:.3f}."
    return Finding("nDCG@10 over training", note, ("step", "checkpoint", *SCORE), rows)


def depth(subject: Subject) -> Finding:
    """The scores of the model and of the checkpoints beside it that have other numbers of thinking steps."""
    rows = [
        (checkpoint.thinking_steps, checkpoint.folder.name, *_score(subject, checkpoint))
        for checkpoint in _beside(subject.engine.encoder)
    ]
    best = max(rows, key=lambda row: row[2])
    note = f"The best of {len(rows)} checkpoints is {best[1]}, with thinking_steps {best[0]}: {best[2]:.3f}."
    return Finding(
        "nDCG@10 by the number of thinking steps trained", note, ("thinking_steps", "checkpoint", *SCORE), rows
    )


def _of_run(encoder: TextEncoder) -> list[Checkpoint]:
    """The checkpoints of a training output, by step; the final one replaces the checkpoint of the same step."""
    folder = Path(encoder.recipe["model"])
    if not folder.is_dir():
        return []
    places = [place for place in folder.iterdir() if re.fullmatch(r"checkpoint-\d+", place.name)]
    found = [checkpoint for place in (*places, folder) if (checkpoint := Checkpoint.read(place))]
    return sorted({checkpoint.step: checkpoint for checkpoint in found}.values(), key=lambda found: found.step)


def _beside(encoder: TextEncoder) -> list[Checkpoint]:
    """The model's checkpoint and those on the same base model in the folders beside it, by depth and name."""
    folder = Path(encoder.recipe["model"])
    own = Checkpoint.read(folder)
    if own is None:
        return []
    others = [Checkpoint.read(place) for place in folder.resolve().parent.iterdir()]
    same = [checkpoint for checkpoint in others if checkpoint and checkpoint.base_model == own.base_model]
    return sorted(same, key=lambda found: (found.thinking_steps, found.folder.name))


def _score(subject: Subject, checkpoint: Checkpoint) -> tuple[float, float, float]:
    """The columns SCORE of a checkpoint; the evaluated model itself is not encoded again."""
    from debater_search.encoder import Encoder

    own = subject.engine.encoder
    encoder = Encoder.load(str(checkpoint.folder), base_model=own.recipe.get("base_model"), device=device_of(own))
    indexed = encoder.fingerprint == own.fingerprint
    logger.info("%s: checkpoint %s.", subject.task.name, checkpoint.folder.name)
    result = evaluate(
        subject.task,
        subject.engine if indexed else encoder,
        split=subject.split,
        instruction=subject.instruction,
        progress=subject.progress,
    )
    return result.metrics[METRIC], *result.intervals[METRIC]
