"""The table of tricks: each that has a switch can be turned off, and changes no vector."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.encoder.speed import memory
from debater_search.encoder.speed.tricks import OFF, TRICKS, is_on

TEXTS = [f"lift of a wing {'and more ' * n}" for n in range(70)]  # as many as a model is prepared for
SWITCHED = [name for name, trick in TRICKS.items() if trick.off == OFF]


def traces(encoder: Encoder) -> dict[str, bool]:
    """Whether each trick left its trace on a model that has encoded many texts."""
    return {
        "pruning": encoder.model._prunable,
        "linear": any("forward" in vars(m) for m in encoder.model.modules() if isinstance(m, torch.nn.Linear)),
        "memory": bool(memory._malloc()),
    }


@pytest.mark.parametrize("names", [[], *([name] for name in SWITCHED), SWITCHED])
def test_without_a_trick_vectors_are_the_same(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    wanted = Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=3).deliberate(TEXTS)
    settings: dict[int, int] = {}
    monkeypatch.setattr(memory, "_malloc", lambda: settings)  # as in a process that has set nothing yet
    monkeypatch.setenv(OFF, ", ".join(names))
    encoder = Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=3)
    assert abs(encoder.deliberate(TEXTS) - wanted).max() < 1e-5
    for name, left in traces(encoder).items():
        assert left == (name not in names), name


def test_only_tricks_with_a_switch_are_asked_for() -> None:
    with pytest.raises(AssertionError, match="int8"):
        is_on("int8")


def test_every_trick_says_what_it_gains_and_how_it_is_guarded() -> None:
    for trick in TRICKS.values():
        assert all((trick.what, trick.gain, trick.guard, trick.off))
