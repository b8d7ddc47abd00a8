"""What a run tells: the line on the terminal, `metrics.jsonl`, trackers, the picture. Only the main process tells."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from debater_search.data.files import write_lines
from debater_search.files import from_json
from debater_search.progress import Progress
from debater_search.training.run_folder import METRICS_FILE, PICTURE_FILE
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import StepFacts
from debater_search.training.trackers import Trackers

log = logging.getLogger(__name__)

START, EVALUATION, SCORE = "before training", "evaluation", "ndcg@10"


class Journal:
    """The record of one run in its folder."""

    def __init__(self, settings: TrainingSettings, folder: Path, *, writes: bool) -> None:
        self.folder, self.writes = folder, writes
        self.last: dict[str, Any] = {}
        """The latest entry of each phase: what a checkpoint says of itself."""
        self.trackers = Trackers(settings.report_to, folder, settings.model_dump(mode="json")) if writes else None

    @property
    def path(self) -> Path:
        """One JSON object a step or measurement."""
        return self.folder / METRICS_FILE

    def step(
        self, bar: Progress, phase: str, step: int, facts: StepFacts, *, queries: int, rate: float, seconds: float
    ) -> None:
        """One optimizer step over `queries`, at a learning `rate`, is done."""
        speed = {"examples/s": float(f"{queries / seconds:.4g}"), "tokens/s": round(facts.tokens / seconds)}
        shown = [f"{name} {value:.4f}" for name, value in facts.terms.items()]
        shown += [f"lr {rate:.2e}", f"{speed['examples/s']:.1f} examples/s", f"{speed['tokens/s']:,} tokens/s"]
        shown.append(f"{facts.padding:.1%} padding")
        bar.advance(1, " · ".join(shown))
        entry = {"step": step, "loss": facts.loss, **facts.terms, "learning_rate": rate, **speed}
        self.write(phase, entry | {"padding": round(facts.padding, 4)})

    def write(self, phase: str, entry: dict[str, Any]) -> None:
        """Add an entry."""
        self.last[phase] = entry
        if self.writes:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"phase": phase, **entry}) + "\n")
        if self.trackers is not None:
            self.trackers.log({"phase": phase, **entry}, entry["step"])

    def go_on_from(self, step: int, *, warm: bool = False) -> list[float]:
        """Drop what was written of steps that will be run again, and say which; the scores measured up to `step`
        (`warm`: of the warm start).
        """
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        found = [entry for line in lines if (entry := _entry(line))]
        kept = [entry for entry in found if self._is_before(entry, step, warm)]
        done = max((e["step"] for e in found if (e["phase"] == "warm start") == warm), default=step)
        if done > step:
            log.info("Steps %d to %d are run again: they were done after the last checkpoint.", step + 1, done)
        if self.writes:
            write_lines(self.path, map(json.dumps, kept))
        if self.trackers is not None:
            self.trackers.replay(kept)
        for entry in kept:
            self.last[entry["phase"]] = {name: value for name, value in entry.items() if name != "phase"}
        return [e[SCORE] for e in kept if e["phase"] == EVALUATION]

    @staticmethod
    def _is_before(entry: dict[str, Any], step: int, warm: bool) -> bool:
        if entry["phase"] == START:
            return True
        of_warm_start = entry["phase"] == "warm start"
        return entry["step"] <= step if of_warm_start == warm else of_warm_start

    def close(self) -> None:
        """Draw the picture and let the trackers finish."""
        if not self.writes:
            return
        from debater_search.reports.training import draw_training

        draw_training(self.path, self.folder / PICTURE_FILE)
        if self.trackers is not None:
            self.trackers.close()


def _entry(line: str) -> dict[str, Any] | None:
    """A line of the file; None for one that a kill has cut off."""
    try:
        return dict(from_json(line))
    except ValueError:
        return None


def is_finite(*values: float) -> bool:
    """Whether all are numbers."""
    return all(math.isfinite(value) for value in values)
