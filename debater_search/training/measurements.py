"""nDCG@10 in the course of a run: of the model before training, of each measurement, and what follows from them."""

import logging
import math

from debater_search.training.development import DevelopmentSet
from debater_search.training.journal import EVALUATION, SCORE, START, Journal
from debater_search.training.parallel import Parallel
from debater_search.training.student import Student

log = logging.getLogger(__name__)


class Measurements:
    """What a run has measured on its development set so far."""

    def __init__(self, development: DevelopmentSet, student: Student, parallel: Parallel, journal: Journal) -> None:
        self._settings, self._development = development.settings, development
        self._student, self._parallel, self._journal = student, parallel, journal
        self.scores: list[float] = []
        """Of each measurement while training, not of the start."""

    @property
    def start(self) -> float | None:
        """What the model before training scored; None if that was not measured, as in runs of earlier versions."""
        return self._journal.last.get(START, {}).get(SCORE)

    def measure_start(self) -> None:
        """Measure the model before training, so that a run shows whether it makes the model better."""
        log.info("Before training: nDCG@10 %.4f", self._measure(START, 0))

    def is_due(self, step: int, last: int) -> bool:
        """Whether to measure after this step."""
        return step % self._settings.every == 0 or step == last

    def measure(self, step: int) -> bool:
        """Measure after a step; whether it is the best of the run, the start left out of account."""
        best = max(self.scores, default=-math.inf)
        score = self._measure(EVALUATION, step)
        self.scores.append(score)
        told = "" if self.start is None else f" ({score - self.start:+.4f} to before training)"
        log.info("Step %s: nDCG@10 %.4f%s%s", f"{step:,}", score, told, self._standing(score) if score > best else "")
        return score > best

    def _standing(self, score: float) -> str:
        """What a new best is."""
        return ", the best" if self.start is None or score >= self.start else ", the best while training"

    def stalls(self) -> bool:
        """Whether as many measurements as `eval.patience` brought no new best."""
        patience = self._settings.patience
        return patience is not None and bool(self.scores) and self.without_gain >= patience

    @property
    def without_gain(self) -> int:
        """Measurements since the best one."""
        return len(self.scores) - 1 - max(range(len(self.scores)), key=lambda n: (self.scores[n], -n))

    def warn_if_worse(self) -> None:
        """Say that training made the model worse, where every measurement is below the start."""
        if self.start is not None and self.scores and max(self.scores) < self.start:
            log.warning(
                "Training made the model worse: nDCG@10 was %.4f before, and is %.4f at best. Train longer, with a "
                "lower learning_rate, or on other data.",
                self.start, max(self.scores),
            )  # fmt: skip

    def _measure(self, phase: str, step: int) -> float:
        with self._student.measured():
            measured = self._development.measure(self._student, self._parallel)
        self._journal.write(phase, {"step": step, **measured})
        return float(measured[SCORE])
