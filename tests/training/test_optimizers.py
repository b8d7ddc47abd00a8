"""What decays, how the rate runs, and that both go on as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from debater_search.errors import InvalidError
from debater_search.training.optimizers import make_optimizer
from debater_search.training.settings import TrainingSettings


def parameters() -> list[nn.Parameter]:
    return [*nn.Linear(3, 2).parameters(), *nn.LayerNorm(2).parameters(), *nn.Linear(2, 2).parameters()]


def rates(schedule: str, *, warmup: int = 2, steps: int = 10, done: int = 0, **more: float) -> list[float]:
    optimizer, course = make_optimizer(
        parameters(), rate=1.0, weight_decay=0, schedule=schedule, warmup=warmup, steps=steps, done=done, **more
    )
    found = []
    for _ in range(done, steps):
        found.append(float(course.get_last_lr()[0]))
        optimizer.step()
        course.step()
    return found


def test_a_constant_rate_stays_after_warmup() -> None:
    assert rates("constant") == [0, 0.5, *[1] * 8]


def test_wsd_is_stable_then_falls_over_its_share_of_the_steps() -> None:
    assert rates("wsd", decay_ratio=0.5) == pytest.approx([0, 0.5, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert rates("wsd", warmup=8, decay_ratio=0.5)[7:] == pytest.approx([7 / 8, 1, 0.5])  # warm-up leaves two steps


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "wsd"])
def test_a_schedule_goes_on_where_it_was(schedule: str) -> None:
    assert rates(schedule, done=4) == rates(schedule)[4:]


def test_norms_and_biases_do_not_decay() -> None:
    own = parameters()
    optimizer, _ = make_optimizer(own, rate=0.1, weight_decay=0.5, schedule="constant", warmup=0, steps=9)
    before = [parameter.detach().clone() for parameter in own]
    for parameter in own:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, old in zip(own, before, strict=True):
        assert torch.allclose(parameter, old * (0.95 if parameter.ndim > 1 else 1.0))


def test_moments_of_another_order_of_parameters_are_refused(tmp_path: Path) -> None:
    own = parameters()
    moments = {f"{n}.{name}": torch.zeros_like(p) for n, p in enumerate(own) for name in ("exp_avg", "exp_avg_sq")}
    save_file(
        {**moments, **{f"{n}.step": torch.tensor(1.0) for n in range(len(own))}}, tmp_path / "optimizer.safetensors"
    )
    kwargs = {"rate": 0.1, "schedule": "linear", "warmup": 0, "steps": 9, "done": 1, "resume_from": tmp_path}
    make_optimizer(own, weight_decay=0.0, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="in another order"):
        make_optimizer(own, weight_decay=0.1, **kwargs)  # type: ignore[arg-type]


def test_a_share_of_decay_needs_its_schedule(config: Callable[..., TrainingSettings]) -> None:
    assert config(schedule="wsd", decay_ratio=0.2).decay_ratio == 0.2
    with pytest.raises(ValidationError, match="needs schedule: wsd"):
        config(decay_ratio=0.2)
