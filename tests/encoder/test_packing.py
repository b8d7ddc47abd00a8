"""Sequences laid end to end under FlashAttention: the same views and gradients as padded ones."""

import pytest
import torch
from test_pruning import IDS, LENGTHS, random_model

from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import Reading
from debater_search.encoder.speed.attention import FLASH, PACKED
from tests.encoder import flash


def views_and_gradients(model: DeliberationModel, views: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    out = model(IDS, LENGTHS, Reading("last", views))
    out.square().sum().backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", PACKED)
def test_packed_views_and_gradients_equal_padded_ones(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flash.install(monkeypatch)
    padded, packed = (DeliberationModel(random_model(family, kernel), causal=True) for kernel in ("eager", FLASH))
    seen: list[int] = []
    packed.backbone.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    expected, gradients = views_and_gradients(padded, 3)
    got, own = views_and_gradients(packed, 3)
    assert packed.packs
    assert not padded.packs
    assert seen == [int(LENGTHS.sum())]
    assert (got - expected).abs().max() <= 2e-5 * expected.abs().max()
    assert own.keys() == gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    assert max(float((own[name] - gradients[name]).abs().max()) for name in own) <= 2e-5 * largest


@pytest.mark.parametrize("family", ["gptj", "gpt_bigcode", "opt", "falcon"])
def test_other_families_are_padded_and_give_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flash.install(monkeypatch)
    padded, flashed = (DeliberationModel(random_model(family, kernel), causal=True) for kernel in ("eager", FLASH))
    assert not flashed.packs
    expected, _ = views_and_gradients(padded, 3)
    got, _ = views_and_gradients(flashed, 3)
    assert (got - expected).abs().max() <= 2e-5 * expected.abs().max()
