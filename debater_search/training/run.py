"""One run: a warm start without labels (ours, optional), then contrast and self-distillation as the paper has it."""

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from debater_search.encoder.speed.linear import lay_out_frozen
from debater_search.encoder.speed.memory import keep_freed_memory, return_freed_memory
from debater_search.errors import InvalidError
from debater_search.progress import progress as progress_line
from debater_search.training import checkpoints, run_folder
from debater_search.training.averaging import average_weights
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.budget import fitting_budget, told_of_memory
from debater_search.training.development import DevelopmentSet
from debater_search.training.horizon import Horizon
from debater_search.training.journal import Journal, is_finite
from debater_search.training.loss import DeliberationLoss
from debater_search.training.measurements import Measurements
from debater_search.training.optimizers import make_optimizer
from debater_search.training.parallel import Parallel, mesh_for
from debater_search.training.phases import Phase
from debater_search.training.precision import LossScale, allow_tf32
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import describe_start, load_base, load_student, load_teachers
from debater_search.training.steps import StepFacts, StepOptions, prepare, prepare_warm, train_step, warm_step

log = logging.getLogger(__name__)


class Run:
    """One training run in its output folder."""

    def __init__(
        self, settings: TrainingSettings, folder: Path, device: str, progress: bool, resume_from: Path | None = None
    ) -> None:
        self.settings, self.folder, self.device, self.progress = settings, folder, device, progress
        self.resume_from = resume_from
        self.data = TrainingData(settings)
        self.horizon = Horizon.of(settings, self.data.steps_per_epoch)
        torch.manual_seed(settings.seed)
        mesh = mesh_for(settings.parallel)
        log.info("Loading %s.", settings.model)
        self.student = load_student(settings, device, mesh, resume_from)
        if self.student.device.type == "cpu":  # who bounds memory pays for it: a step takes two thirds more time
            (return_freed_memory if settings.gradient_cache else keep_freed_memory)()
        if settings.warm_start is not None and not self.student.spec.deliberates:
            log.warning("warm_start is left out: it teaches thinking tokens, and this model has none.")
        self.provenance = checkpoints.describe_run(settings, self.data)
        self.development = DevelopmentSet(settings.eval, settings.seed) if settings.eval is not None else None
        self.state: dict[str, Any] = run_folder.saved_state(resume_from) if resume_from is not None else {"step": 0}
        allow_tf32(self.student.device)
        self.loss_scale = LossScale(self.student.compute, self.state.get("loss_scale"))
        self.parallel = Parallel(self.student, sharded=mesh is not None)
        if self.student.device.type == "cpu" and not self.parallel.sharded:
            lay_out_frozen(self.student.model.backbone)  # last: restoring and sharing weights change them
        self.measurements: Measurements | None = None
        self.cache_tokens: int | None = settings.gradient_cache or None
        if self.state.get("config", {}).get("gradient_cache") == settings.gradient_cache:
            self.cache_tokens = self.state["cache_tokens"]  # as much as memory was found to hold

    def go(self) -> Path:
        """Both phases, the final checkpoint, the picture."""
        self.journal = Journal(self.settings, self.folder, writes=self.parallel.is_main)
        warm, done = bool(self.state.get("warm")), int(self.state["step"])
        if warm and self.settings.warm_start is None:  # left out by a changed config: what it taught stays
            warm, done = False, 0
        describe_start(self.settings, self.data, self.student, self.horizon, self.parallel.processes)
        if self.development is not None:
            self.measurements = Measurements(self.development, self.student, self.parallel, self.journal)
        if self.resume_from is not None:
            scores = self.journal.go_on_from(done, warm=warm)
            if self.measurements is not None:
                self.measurements.scores = scores
            log.info("Resuming from %s.", self.resume_from)
        elif self.measurements is not None:
            self.measurements.measure_start()
        if warm or (self.resume_from is None and self.settings.warm_start and self.student.spec.deliberates):
            self._run_phase(self._warm_phase(done), done)
            self._save(0, None)
            warm, done = False, 0
            if self.parallel.is_main:
                run_folder.drop_warm(self.folder)
        stalls = self.measurements is not None and self.measurements.stalls()
        over = done >= self.horizon.steps or stalls  # killed at its end, or a changed config has less patience
        if over:
            log.info("No step is left to train: the run ends at step %s.", f"{done:,}")
        last = done if over else self._run_phase(self._main_phase(done), done)
        self.student.model.eval()
        if self.measurements is not None:
            self.measurements.warn_if_worse()
        provenance = self._provenance_now()
        if self.settings.average_last > 1:
            before = run_folder.complete_checkpoints(self.folder, after=0, before=last)
            average_weights(self.student, before[-(self.settings.average_last - 1) :])
            provenance["metrics"] = {}  # what was measured is of the last weights, not of their mean
        self.journal.close()
        checkpoints.publish(self.folder, self.student, provenance, step=last, parallel=self.parallel)
        self._keep_newest()  # last: all processes have read what they average
        return self.folder

    def _warm_phase(self, done: int) -> Phase:
        warm = self.settings.warm_start
        assert warm is not None
        teacher = load_base(self.settings, self.device)
        rising = max(1, warm.steps // 10)
        optimizer, schedule = self._optimizer(warm.learning_rate, rising, warm.steps, "linear", done)

        def read(step: int) -> Batch:
            texts = self.data.warm_texts(step, warm.batch_size, self.parallel.rank, self.parallel.processes)
            return prepare_warm(self.student, teacher, texts, warm.length)

        def work(batch: Batch, options: StepOptions) -> StepFacts:
            return warm_step(self.student, teacher, batch, warm.views, options)

        def after(step: int, optimizer: Optimizer) -> bool:
            if step % self.settings.save_steps == 0 and step < warm.steps:
                self._save(step, optimizer, warm=True)
            return False

        return Phase(
            name="Warm start",
            folder="warm",
            steps=warm.steps,
            batch_size=warm.batch_size,
            optimizer=optimizer,
            schedule=schedule,
            read=read,
            work=work,
            seed=partial(self._seed, main=False),
            describe=lambda step: "the warm start's texts",
            begin=lambda: None,
            after=after,
        )

    def _main_phase(self, done: int) -> Phase:
        s = self.settings
        loss = DeliberationLoss(**s.loss.arguments(s.teachers), diversity=s.thinking.diversity)
        ahead = self.horizon
        optimizer, schedule = self._optimizer(s.learning_rate, ahead.warmup, ahead.decay, s.schedule, done)
        teacher = load_teachers(s, self.data, self.student, self.device) if s.teachers else None

        def read(step: int) -> Batch:
            batch = self.data.batch(step, self.parallel.rank, self.parallel.processes)
            prepared = prepare(self.student, batch, s.max_length.document)
            return prepared if teacher is None else replace(prepared, targets=teacher.reads(batch))

        def work(batch: Batch, options: StepOptions) -> StepFacts:
            return train_step(self.student, loss, batch if teacher is None else teacher.labelled(batch), options)

        def longest() -> Batch:
            batches = self.data.longest_batches(self.parallel.rank, self.parallel.processes)
            prepared = [prepare(self.student, batch, s.max_length.document) for batch in batches]
            return max(prepared, key=lambda batch: sum(len(text.ids) for text in batch.tokens))

        def begin() -> None:
            self.cache_tokens = fitting_budget(self.student, longest, self.cache_tokens, self.parallel, optimizer)

        return Phase(
            name="Training",
            folder="checkpoint",
            steps=ahead.steps,
            batch_size=s.batch_size,
            optimizer=optimizer,
            schedule=schedule,
            read=read,
            work=work,
            seed=partial(self._seed, main=True),
            describe=self.data.describe_rows,
            begin=begin,
            after=self._measure_and_save,
        )

    def _seed(self, step: int, *, main: bool) -> int:
        """Dropout is a function of seed, step and process (and of the chunk, see `train_step`)."""
        return hash((self.settings.seed, main, step, self.parallel.rank)) & (2**62 - 1)

    def _optimizer(
        self, rate: float, warmup: int, steps: int, schedule: str, done: int = 0
    ) -> tuple[Optimizer, LRScheduler]:
        return make_optimizer(
            self._trainable(), rate=rate, weight_decay=self.settings.weight_decay, schedule=schedule, warmup=warmup,
            steps=steps, decay_ratio=self.settings.decay_ratio, done=done, resume_from=self.resume_from,
        )  # fmt: skip

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [p for p in self.student.model.parameters() if p.requires_grad]

    def _run_phase(self, phase: Phase, done: int) -> int:
        """All steps from `done` on; returns the last one, which early stopping may set."""
        self.student.model.train()
        with (
            progress_line(phase.name, phase.steps, "steps", enabled=self.progress) as bar,
            ThreadPoolExecutor(1, "next-batch") as ahead,
        ):
            bar.resume_at(done)
            coming = ahead.submit(phase.read, done)
            for step in range(done, phase.steps):
                began = time.monotonic()
                batch = coming.result()
                if step + 1 < phase.steps:
                    coming = ahead.submit(phase.read, step + 1)
                if step == done:
                    phase.begin()
                options = StepOptions(phase.seed(step), self.parallel, self.cache_tokens, self.loss_scale.scaled)
                with told_of_memory(step, self.cache_tokens):
                    facts = phase.work(batch, options)
                    self._clip(facts.loss, phase, step)
                    rate = float(phase.schedule.get_last_lr()[0])
                    phase.optimizer.step()
                phase.schedule.step()
                phase.optimizer.zero_grad(set_to_none=True)
                seconds = time.monotonic() - began
                self.journal.step(bar, phase.name.lower(), step + 1, facts, queries=phase.batch_size, rate=rate,
                                  seconds=seconds)  # fmt: skip
                if phase.after(step + 1, phase.optimizer):
                    return step + 1
        return phase.steps

    def _clip(self, loss: float, phase: Phase, step: int) -> None:
        """Clip the gradients of a step; drops them where they overflowed in float16, so that nothing is updated."""
        trainable = self._trainable()
        self.loss_scale.unscale(trainable)
        norm = torch.nn.utils.clip_grad_norm_(trainable, self.settings.max_grad_norm)
        length = checkpoints.local_copy(norm).item()
        if is_finite(loss) and self.loss_scale.overflowed(length):
            phase.optimizer.zero_grad(set_to_none=True)
        else:
            self._check(loss, length, phase, step)

    def _measure_and_save(self, step: int, optimizer: Optimizer) -> bool:
        """Measure and save where it is time; True where measurements say to stop."""
        measured, stop = self.measurements, False
        # Measured before it is saved: a run that goes on from a checkpoint has its score.
        if measured is not None and measured.is_due(step, self.horizon.steps):
            if measured.measure(step):
                self._save_best(step)
            if stop := measured.stalls():
                log.info("Stopped at step %d: %d measurements without a new best.", step, measured.without_gain)
        ends = stop or step == self.horizon.steps
        if ends or step % self.settings.save_steps == 0:
            self._save(step, optimizer)  # at the end, too: a longer run goes on from there
        if not ends:
            self._keep_newest()
        return stop

    def _keep_newest(self) -> None:
        """Remove the checkpoints that `save_total_limit` does not keep."""
        if self.parallel.is_main and self.settings.save_total_limit is not None:
            run_folder.keep_newest(self.folder, self.settings.save_total_limit)

    def _save_best(self, step: int) -> None:
        checkpoints.write_checkpoint(
            self.folder / run_folder.BEST_FOLDER, self.student, self._provenance_now(), step=step, optimizer=None,
            parallel=self.parallel,
        )  # fmt: skip

    def _save(self, step: int, optimizer: Optimizer | None, *, warm: bool = False) -> None:
        # A run can resume from here: an optimizer without steps stands for a phase not begun.
        fresh = optimizer or AdamW(self._trainable())
        checkpoints.write_checkpoint(
            self.folder / f"{'warm' if warm else 'checkpoint'}-{step}", self.student, self._provenance_now(), step=step,
            optimizer=fresh, parallel=self.parallel,
            state={"cache_tokens": self.cache_tokens, "warm": warm, "loss_scale": self.loss_scale.saved},
        )  # fmt: skip
        if warm and self.parallel.is_main:
            run_folder.drop_warm(self.folder, before=step)

    def _provenance_now(self) -> dict[str, object]:
        return {**self.provenance, "metrics": self.journal.last}

    def _check(self, loss: float, gradient_norm: float, phase: Phase, step: int) -> None:
        """Stop before an update that would spoil the weights."""
        if is_finite(loss, gradient_norm):
            return
        # If the loss is NaN, the weights that produced it cannot be trusted.
        spoiled = self.folder / f"{phase.folder}-{step}"
        what = "gradient" if is_finite(loss) else "loss"
        good = run_folder.newest_complete(self.folder, before=step if what == "loss" else math.inf)
        hints = ["Lower learning_rate.", f"The last good checkpoint is {good}." if good else ""]
        if what == "loss" and spoiled.is_dir():
            hints.append(f"Remove {spoiled} before you `resume`: its weights gave this loss.")
        raise InvalidError(
            f"The {what} is not a number at step {step + 1} of {phase.name.lower()}. Its rows: {phase.describe(step)}.",
            " ".join(filter(None, hints)),
        )
