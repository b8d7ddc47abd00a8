"""The gradients of one step: the same whether cached or not, and however many processes share it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from debater_search.training import (
    DeliberationLoss,
)
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import StepOptions, prepare, train_step


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cached_gradients_equal_uncached_ones(
    config: Callable[..., TrainingSettings], family: str, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(config(family, lora={"r": 4, "alpha": 8, "dropout": dropout}), Path("unused"), "cpu", False)
    student, batch = run.student, prepare(run.student, run.data.batch(0), run.settings.max_length.document)
    for name, parameter in student.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    student.model.train(dropout > 0)
    monkeypatch.setattr("debater_search.training.steps.CHUNK_TOKENS_CPU", 70)  # the same chunks draw the same dropout

    def gradients(cache_tokens: int | None) -> tuple[float, list[torch.Tensor]]:
        student.model.zero_grad()
        facts = train_step(student, DeliberationLoss(), batch, StepOptions(5, run.parallel, cache_tokens))
        return facts.loss, [p.grad.clone() for p in student.model.parameters() if p.grad is not None]

    (loss, plain), (cached_loss, cached) = gradients(None), gradients(70)
    assert cached_loss == pytest.approx(loss, abs=1e-5)
    largest = max(g.abs().max() for g in plain)
    assert largest > 0
    assert max((a - b).abs().max() for a, b in zip(plain, cached, strict=True)) <= 1e-5 * max(1.0, largest)
