"""Training as the paper has it: a warm start without labels (ours, optional), then contrast and self-distillation."""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.progress import Progress
from debater_search.progress import progress as progress_line
from debater_search.training import checkpoints
from debater_search.training.adapter import make_trainable
from debater_search.training.batches import TrainingData
from debater_search.training.loss import DeliberationLoss
from debater_search.training.settings import TrainingSettings, load_config
from debater_search.training.steps import StepFacts, cut_documents, train_step, warm_step

log = logging.getLogger(__name__)

SCHEDULES = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}


def train(
    config: TrainingSettings | str | Path,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    progress: bool = False,
) -> Path:
    """Train an encoder; returns the checkpoint's folder.

    Args:
        config: settings, or the path of a config file.
        output: instead of the config's own.
        resume: go on from the newest complete checkpoint in the output folder.
        force: start over where the output folder holds a run; with `resume`, go on with a changed config.
        device: as for `Encoder.load`.
        progress: show a line with step, losses, rate and time left on stderr.

    Raises:
        DebaterError: a config or data mistake, an output folder that is not free, a loss that is not a number.
    """
    settings = config if isinstance(config, TrainingSettings) else load_config(config)
    folder = Path(output or settings.output)
    if checkpoints.is_finished(folder, settings, resume=resume, force=force):
        return folder
    resume_from = checkpoints.newest_complete(folder) if resume else None
    run = Run(settings, folder, device, progress)  # finds mistakes in config and data before anything is dropped
    if resume_from is None and folder.exists():
        checkpoints.clear(folder)
    return run.go(resume_from)


@dataclass
class Phase:
    """A stretch of training with its own optimizer and schedule."""

    name: str
    steps: int
    batch_size: int
    optimizer: Optimizer
    schedule: LRScheduler
    work: Callable[[int], StepFacts]
    """Accumulates the gradients of one step."""


class Run:
    """One training run in its output folder."""

    def __init__(self, settings: TrainingSettings, folder: Path, device: str, progress: bool) -> None:
        self.settings, self.folder, self.device, self.progress = settings, folder, device, progress
        self.data = TrainingData(settings)
        torch.manual_seed(settings.seed)
        self.encoder = self._load(settings.thinking_steps)
        if self.encoder.model.head is not None:
            raise DebaterError(
                f"{settings.model} has dense layers behind its pooling, which cannot be trained.", "Use another model."
            )
        self._set_lengths()
        self._require_room()
        make_trainable(self.encoder, settings.lora, gradient_checkpointing=settings.gradient_checkpointing)
        if settings.warm_start is not None and not self.encoder.spec.deliberates:
            log.warning("warm_start is left out: it teaches thinking tokens, and this model has none.")
        self.made_by = checkpoints.provenance(settings)
        self.best = -math.inf
        if settings.eval is not None:
            from debater_search.evaluation import load_task

            load_task(settings.eval.task).qrels("test")  # a mistake here must not wait for the first measurement

    def go(self, resume_from: Path | None) -> Path:
        """Both phases, the final checkpoint, the picture."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._describe()
        done = 0
        if resume_from is not None:
            done = int(checkpoints.saved_state(resume_from)["step"])
            checkpoints.restore_weights(resume_from, self.encoder)
            self._go_on_with_the_log(done)
            log.info("Going on from %s.", resume_from)
        elif self.settings.warm_start is not None and self.encoder.spec.deliberates:
            self._run_phase(self._warm_phase(), 0)
            self._save(0, None)
        phase = self._main_phase(done)
        if resume_from is not None:
            checkpoints.restore_optimizer(resume_from, phase.optimizer)
        self._run_phase(phase, done)
        self.encoder.model.eval()
        self._draw()
        checkpoints.publish(self.folder, self.encoder, self.made_by, step=self.settings.max_steps)
        return self.folder

    def _load(self, thinking_steps: int | None) -> Encoder:
        full = self.settings.lora is None and self.settings.dtype == "auto"
        dtype = "float32" if full else self.settings.dtype  # small updates of all weights vanish in half precision
        return Encoder.load(self.settings.model, device=self.device, dtype=dtype, thinking_steps=thinking_steps)

    def _set_lengths(self) -> None:
        self.encoder.set_lengths(query=self.settings.max_length.query, document=self.settings.max_length.document)
        instructed = any(data.instruction for data in self.settings.data)
        self.encoder.set_instruction(self.settings.search_instruction, trained_with_instructions=instructed)

    def _require_room(self) -> None:
        """Raise DebaterError where a limit leaves nothing of a text: every text would then be the same."""
        given = [d.instruction if isinstance(d.instruction, list) else [d.instruction] for d in self.settings.data]
        for instruction in [self.settings.search_instruction, *(lead for leads in given for lead in leads)]:
            if not self.encoder.leaves_room(instruction):
                raise DebaterError(
                    f"max_length.query ({self.settings.max_length.query}) leaves no room for a query"
                    + (f" behind the instruction {instruction!r}." if instruction else "."),
                    "Raise max_length.query.",
                )
        [empty] = self.encoder.token_ids([""], "document")  # refuses a limit below the prompt and the thinking tokens
        if len(empty) >= self.settings.max_length.document:
            raise DebaterError(
                f"max_length.document ({len(empty)}) leaves no room for a document.", "Raise max_length.document."
            )
        if self.settings.warm_start is not None:
            cut_documents(self.encoder, [""], self.settings.warm_start.length)

    def _warm_phase(self) -> Phase:
        warm = self.settings.warm_start
        assert warm is not None
        teacher = self._load(None)
        optimizer, schedule = self._optimizer(warm.learning_rate, max(1, warm.steps // 10), warm.steps, "linear")

        def work(step: int) -> StepFacts:
            texts = self.data.warm_texts(step, warm.batch_size)
            return warm_step(self.encoder, teacher, texts, warm.length, warm.views)

        return Phase("Warm start", warm.steps, warm.batch_size, optimizer, schedule, work)

    def _main_phase(self, done: int) -> Phase:
        s = self.settings
        loss = DeliberationLoss(s.loss.scale, s.loss.distill, s.loss.contrast)
        optimizer, schedule = self._optimizer(s.learning_rate, s.warmup_steps, s.max_steps, s.schedule, done)

        def work(step: int) -> StepFacts:
            return train_step(self.encoder, loss, self.data.batch(step), cache_tokens=s.gradient_cache or None)

        return Phase("Training", s.max_steps, s.batch_size, optimizer, schedule, work)

    def _optimizer(
        self, rate: float, warmup: int, steps: int, kind: str, done: int = 0
    ) -> tuple[Optimizer, LRScheduler]:
        trainable = [p for p in self.encoder.model.parameters() if p.requires_grad]
        groups = [{"params": trainable, "initial_lr": rate}]
        optimizer = AdamW(groups, lr=rate, weight_decay=self.settings.weight_decay)
        return optimizer, SCHEDULES[kind](optimizer, warmup, steps, last_epoch=done - 1)

    def _run_phase(self, phase: Phase, done: int) -> None:
        main = phase.name == "Training"
        self.encoder.model.train()
        with progress_line(phase.name, phase.steps, "steps", enabled=self.progress) as bar:
            bar.resume_at(done)
            for step in range(done, phase.steps):
                torch.manual_seed(hash((self.settings.seed, main, step)))  # dropout is a function of seed and step
                began = time.monotonic()
                facts = phase.work(step)
                norm = torch.nn.utils.clip_grad_norm_(
                    [p for p in self.encoder.model.parameters() if p.requires_grad], self.settings.max_grad_norm
                )
                self._check(facts.loss, norm.item(), phase, step)
                rate = float(phase.schedule.get_last_lr()[0])
                phase.optimizer.step()
                phase.schedule.step()
                phase.optimizer.zero_grad(set_to_none=True)
                self._report(bar, phase, step + 1, facts, rate, time.monotonic() - began)
                if main:
                    self._after_step(step + 1, phase.optimizer)

    def _after_step(self, step: int, optimizer: Optimizer) -> None:
        evaluation = self.settings.eval
        # Measured before it is saved: a run that goes on from a checkpoint has its score.
        if evaluation is not None and (step % evaluation.every == 0 or step == self.settings.max_steps):
            self._evaluate(step, evaluation.task)
        if step % self.settings.save_steps == 0 and step < self.settings.max_steps:
            self._save(step, optimizer)

    def _evaluate(self, step: int, task: str) -> None:
        from debater_search.evaluation import evaluate

        self.encoder.model.eval()
        score = evaluate(task, self.encoder).metrics["ndcg@10"]
        self.encoder.model.train()
        self._log({"phase": "evaluation", "step": step, "ndcg@10": score})
        if score > self.best:
            self.best = score
            checkpoints.write_checkpoint(
                self.folder / "best", self.encoder, {**self.made_by, "ndcg@10": score}, step=step, optimizer=None
            )

    def _save(self, step: int, optimizer: Optimizer | None) -> None:
        self.encoder.model.eval()
        # A run can go on from here: an optimizer without steps stands for a phase not begun.
        fresh = optimizer or AdamW([p for p in self.encoder.model.parameters() if p.requires_grad])
        target = self.folder / f"checkpoint-{step}"
        checkpoints.write_checkpoint(target, self.encoder, self.made_by, step=step, optimizer=fresh)
        self.encoder.model.train()

    def _check(self, loss: float, gradient_norm: float, phase: Phase, step: int) -> None:
        """Stop before an update that would spoil the weights."""
        if math.isfinite(loss) and math.isfinite(gradient_norm):
            return
        kept = checkpoints.newest_complete(self.folder)
        what = "gradient" if math.isfinite(loss) else "loss"
        raise DebaterError(
            f"The {what} is not a number at step {step + 1} of {phase.name.lower()}.",
            f"Lower learning_rate. {f'The last good checkpoint is {kept}.' if kept else ''}".strip(),
        )

    def _report(self, bar: Progress, phase: Phase, step: int, facts: StepFacts, rate: float, seconds: float) -> None:
        speed = {"examples/s": round(phase.batch_size / seconds, 1), "tokens/s": round(facts.tokens / seconds)}
        names = ("contrast", "distill") if phase.name == "Training" else ("distance", "order")
        terms = {names[0]: facts.contrast, **({names[1]: facts.distill} if facts.distill is not None else {})}
        shown = [f"{name} {value:.4f}" for name, value in terms.items()]
        shown += [f"lr {rate:.2e}", f"{speed['examples/s']:.1f} examples/s", f"{speed['tokens/s']:,} tokens/s"]
        bar.advance(1, " · ".join(shown))
        entry = {"phase": phase.name.lower(), "step": step, "loss": facts.loss, **terms, "learning_rate": rate, **speed}
        self._log(entry)

    def _log(self, entry: dict[str, Any]) -> None:
        with (self.folder / checkpoints.METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _go_on_with_the_log(self, step: int) -> None:
        """Drop log lines of steps that will be run again; the best score so far stays the one to beat."""
        path = self.folder / checkpoints.METRICS_FILE
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
        kept = [e for e in lines if e["phase"] == "warm start" or e["step"] <= step]
        self.best = max((e["ndcg@10"] for e in kept if e["phase"] == "evaluation"), default=-math.inf)
        path.write_text("".join(json.dumps(e) + "\n" for e in kept), encoding="utf-8")

    def _draw(self) -> None:
        from debater_search.reports.training import draw_training

        draw_training(self.folder / checkpoints.METRICS_FILE, self.folder / checkpoints.PICTURE_FILE)

    def _describe(self) -> None:
        parameters = list(self.encoder.model.parameters())
        trainable = sum(p.numel() for p in parameters if p.requires_grad)
        total = sum(p.numel() for p in parameters)
        s = self.settings
        log.info(
            "Training %s on %s (%s): %s of %s parameters, %s examples, %d steps of %d queries, %d thinking steps.",
            s.model, self.encoder.device, str(parameters[0].dtype).removeprefix("torch."), f"{trainable:,}",
            f"{total:,}", f"{self.data.examples:,}", s.max_steps, s.batch_size, self.encoder.thinking_steps,
        )  # fmt: skip
