"""Memory that a card lacks is found before the first step: at the longest batch, beside the optimizer's moments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from debater_search.errors import UnavailableError
from debater_search.training import budget, train
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A device that holds a number of tokens per forward pass."""
    views = Student.views

    def of(limit: int) -> None:
        def limited(self: Student, sequences: list[list[int]], kind: str) -> torch.Tensor:
            if len(sequences) * max(map(len, sequences)) > limit:
                raise torch.OutOfMemoryError("full")
            return views(self, sequences, kind)

        monkeypatch.setattr(budget, "has_limited_memory", lambda student: True)
        monkeypatch.setattr(budget, "LEAST_TOKENS", 32)
        monkeypatch.setattr(Student, "views", limited)

    return of


def test_a_longer_batch_than_the_first_one_does_not_end_the_run(
    config: Callable[..., TrainingSettings], card: Callable[[int], None], tmp_path: Path
) -> None:
    for name, text in (("short", "x"), ("long", "lift of a wing " * 20)):
        rows = [{"query": f"q {n}", "positive": f"{text} {n}"} for n in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [{"path": str(tmp_path / f"{name}.jsonl")} for name in ("short", "long")]
    card(250)
    settings = config("llama", data=sets, batch_size=4, max_steps=6, max_length={"query": 40, "document": 100})
    settings = next(s for seed in range(9) if is_short(s := settings.model_copy(update={"seed": seed})))
    train(settings)


def is_short(settings: TrainingSettings) -> bool:
    """Whether the first batch is of the set of short texts."""
    return Run(settings, Path("unused"), "cpu", False).data.rows(0)[0].set == 0


def test_memory_is_tried_beside_the_optimizers_moments(
    config: Callable[..., TrainingSettings], card: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    card(10**6)
    run, allocated = Run(config(), Path("unused"), "cpu", False), []
    empty_like = torch.empty_like

    def counted(tensor: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        allocated.append(tensor.numel())
        return empty_like(tensor, *rest, **more)

    phase = run._main_phase(0)
    with monkeypatch.context() as patch:
        patch.setattr(budget.torch, "empty_like", counted)
        phase.begin()
    assert sum(allocated) >= 2 * sum(p.numel() for p in run._trainable())
    for parameter in run._trainable():
        parameter.grad = torch.zeros_like(parameter)
    phase.optimizer.step()
    allocated.clear()
    with monkeypatch.context() as patch:
        patch.setattr(budget.torch, "empty_like", counted)
        phase.begin()
    assert sum(allocated) < 2 * sum(p.numel() for p in run._trainable())


@pytest.mark.parametrize(("tokens", "advice"), [(False, "to a number of tokens"), (96, "below 96")])
def test_memory_that_runs_out_in_a_later_step_is_a_sentence(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch, tokens: int | bool, advice: str
) -> None:
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Student, "views", full)
    with pytest.raises(UnavailableError, match="ran out at step 1") as told:
        train(config(gradient_cache=tokens))
    assert f"gradient_cache {advice}" in told.value.hint
