"""The loss against the reference's values and against a slow version that reads like the equations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from debater_search.training import DeliberationLoss


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, np.ndarray]:
    return dict(np.load(goldens / "loss_q4_m8_k4.npz"))


def tensors(golden: dict[str, np.ndarray]) -> list[torch.Tensor]:
    return [torch.tensor(golden[name], requires_grad=True) for name in ("queries", "positives", "negatives")]


def test_loss_and_gradients_equal_the_reference(golden: dict[str, np.ndarray]) -> None:
    inputs = tensors(golden)
    loss = DeliberationLoss(float(golden["scale"]))(*inputs)
    loss.backward()
    assert abs(loss.item() - golden["loss"]) < 1e-9
    for tensor, name in zip(inputs, ("queries", "positives", "negatives"), strict=True):
        assert abs(tensor.grad.numpy() - golden[f"grad_{name}"]).max() < 1e-9


def test_without_distillation_the_loss_is_the_contrast_alone(golden: dict[str, np.ndarray]) -> None:
    loss = DeliberationLoss(float(golden["scale"]), distill=False)(*tensors(golden))
    assert abs(loss.item() - golden["loss_contrast"]) < 1e-9


def slow_loss(queries: torch.Tensor, documents: torch.Tensor, scale: float) -> float:
    contrast = distill = 0.0
    for k, q in enumerate(queries):
        best, last = [], []
        for views in documents:
            cosines = [float(torch.cosine_similarity(q, h, dim=0)) for h in views]
            best.append(scale * max(cosines))
            last.append(scale * cosines[-1])
        teacher = np.exp(best) / np.exp(best).sum()
        contrast -= np.log(teacher[k])
        distill -= (teacher * (last - np.log(np.exp(last).sum()))).sum()
    return (contrast + distill) / 2 / len(queries)


@pytest.mark.parametrize(("q", "m", "k"), [(1, 1, 0), (3, 2, 1), (5, 8, 0), (2, 4, 7)])
def test_loss_equals_the_equations_for_any_shape(q: int, m: int, k: int) -> None:
    generator = torch.Generator().manual_seed(q * 100 + m * 10 + k)
    queries = torch.randn(q, 6, generator=generator, dtype=torch.float64)
    positives = torch.randn(q, m, 6, generator=generator, dtype=torch.float64)
    negatives = torch.randn(k, m, 6, generator=generator, dtype=torch.float64) if k else None
    documents = positives if negatives is None else torch.cat([positives, negatives])
    loss = DeliberationLoss(10.0)(queries, positives, negatives)
    assert loss.item() == pytest.approx(slow_loss(queries, documents, 10.0), abs=1e-9)


def test_a_tie_between_steps_sends_its_gradient_to_one_step() -> None:
    step = torch.tensor([1.0, 0.0])
    positives = torch.stack([step, step])[None].requires_grad_()
    loss = DeliberationLoss(distill=False)(
        torch.tensor([[0.6, 0.8], [0.0, 1.0]]), torch.cat([positives, -positives.detach()])
    )
    loss.backward()
    touched = positives.grad[0].abs().sum(-1) > 0
    assert touched.tolist().count(True) == 1


def test_contrast_on_the_last_step_ignores_the_others() -> None:
    queries, views = torch.randn(3, 4), torch.randn(3, 5, 4)
    changed = views.clone()
    changed[:, :-1] = torch.randn(3, 4, 4)
    loss = DeliberationLoss(distill=False, contrast="last")
    assert torch.equal(loss(queries, views), loss(queries, changed))


@pytest.mark.parametrize("number_type", [torch.float16, torch.bfloat16])
def test_scores_of_half_precision_views_are_not_rounded_again(number_type: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, positives = (torch.randn(*shape, 64, generator=generator).to(number_type) for shape in ((4,), (4, 8)))
    exact = DeliberationLoss()(queries.double(), positives.double())
    assert DeliberationLoss()(queries, positives).item() == pytest.approx(exact.item(), abs=1e-4)
