"""Sequences laid end to end: the same views and gradients as padded ones."""

import pytest
from test_pruning import IDS, LENGTHS, random_model

from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import Reading


@pytest.mark.parametrize("family", ["llama", "qwen2", "granite", "minicpm3", "mistral"])
@pytest.mark.parametrize("views", [1, 3])
def test_packed_views_and_gradients_equal_padded_ones(family: str, views: int) -> None:
    model = DeliberationModel(random_model(family), causal=True)
    seen: list[int] = []
    model.backbone.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    results = []
    for model.packs in (False, True):
        model.zero_grad()
        out = model(IDS, LENGTHS, Reading("last", views))
        out.square().sum().backward()
        results.append((out, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (padded, expected), (packed, gradients) = results
    assert seen == [IDS.numel(), int(LENGTHS.sum())]
    assert (packed - padded).abs().max() <= 1e-5
    largest = max(float(g.abs().max()) for g in expected)
    assert max(float((a - b).abs().max()) for a, b in zip(gradients, expected, strict=True)) <= 1e-5 * largest
