"""The loss against the reference's values and against a slow version that reads like the equations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from debater_search.training import DeliberationLoss
from debater_search.training.candidates import Labels
from debater_search.training.loss import step_scores


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


def random_batch(queries: int, negatives: int, steps: int = 3, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(queries, 6), (queries, steps, 6), (negatives, steps, 6)]
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)


def test_a_sum_of_terms_is_twice_their_mean_and_weights_shift_it() -> None:
    batch = random_batch(4, 2)
    terms = dict(DeliberationLoss().terms(*batch))
    assert DeliberationLoss(combine="sum")(*batch).item() == pytest.approx(2 * terms["total"].item())
    weighted = (terms["contrast"] + 3 * terms["distill"]) / 4
    assert DeliberationLoss(distill_weight=3.0)(*batch).item() == pytest.approx(weighted.item())


def test_positives_of_the_same_query_are_no_negatives_of_it() -> None:
    queries, positives, negatives = random_batch(4, 2)
    same = Labels(same_query=torch.tensor([1, 2, 1, 3]), same_text=torch.tensor([10, 11, 12, 13, 12, 14]))
    loss = DeliberationLoss(distill=False)
    # Query 0 has the positives of rows 0 and 2, the latter also as negative 0; query 2 likewise.
    cosines = step_scores(queries, torch.cat([positives, negatives])).max(-1).values * 30
    expected = []
    for row, left_out in enumerate(([2, 4], [], [0, 4], [])):
        kept = [c for c in range(6) if c not in left_out]
        expected.append(-(cosines[row, row] - torch.logsumexp(cosines[row, kept], 0)))
    assert loss(queries, positives, negatives, same).item() == pytest.approx(torch.stack(expected).mean().item())
    off = DeliberationLoss(distill=False, mask_duplicates=False)
    assert off(queries, positives, negatives, same).item() == pytest.approx(loss(queries, positives, negatives).item())


def test_negatives_above_the_margin_are_left_out_of_both_terms() -> None:
    queries, positives, negatives = random_batch(3, 1)
    negatives = queries[:1, None].expand(1, 3, 6)  # as near to query 0 as can be
    masked = DeliberationLoss(mask_margin=0.0)
    moved = (2 * queries[:1, None]).expand(1, 3, 6) + 0.0
    assert masked(queries, positives, negatives).item() == masked(queries, positives, moved).item()
    row = slice(0, 1)
    without = DeliberationLoss(mask_margin=10.0)(queries[row], positives[row]).item()
    assert without == pytest.approx(masked(queries[row], positives[row], negatives).item(), abs=1e-6)


def test_masked_candidates_get_no_gradient() -> None:
    queries, positives, negatives = random_batch(2, 1)
    negatives.requires_grad_()
    same = Labels(same_query=torch.tensor([1, 2]), same_text=torch.tensor([5, 6, 5]))
    DeliberationLoss()(queries[:1], positives[:1], negatives, Labels(same_query=same.same_query[:1],
                       same_text=torch.tensor([5, 5]))).backward()  # fmt: skip
    assert negatives.grad is not None
    assert negatives.grad.abs().max() == 0


def test_a_teachers_scores_are_distilled_into_the_last_step() -> None:
    queries, positives, negatives = random_batch(2, 3)
    labels = Labels(
        owners=torch.tensor([0, 0, 1]),
        positive_scores=torch.tensor([5.0, torch.nan]),
        negative_scores=torch.tensor([3.0, 4.0, 1.0]),
    )
    last = 30 * step_scores(queries, torch.cat([positives, negatives]))[0, [0, 2, 3], -1]
    teacher = torch.softmax(torch.tensor([5.0, 3.0, 4.0], dtype=torch.float64), 0)
    kl = (teacher * (teacher.log() - torch.log_softmax(last, 0))).sum() / 2  # row 1 has no positive score
    terms = dict(DeliberationLoss(teacher="kl").terms(queries, positives, negatives, labels))
    assert terms["teacher"].item() == pytest.approx(kl.item(), rel=1e-6)
    squares = ((last[0] - last[1:]) - torch.tensor([2.0, 1.0])).square().mean() / 2
    terms = dict(DeliberationLoss(teacher="margin_mse").terms(queries, positives, negatives, labels))
    assert terms["teacher"].item() == pytest.approx(squares.item(), rel=1e-6)
    assert terms["total"].item() == pytest.approx((sum(v.item() for k, v in terms.items() if k != "total")) / 3)


def test_a_teachers_vectors_score_the_whole_batch() -> None:
    queries, positives, negatives = random_batch(2, 1)
    generator = torch.Generator().manual_seed(3)
    asked, held = (torch.randn(n, 7, generator=generator, dtype=torch.float64) for n in (2, 3))
    same = {"same_query": torch.tensor([1, 2]), "same_text": torch.tensor([5, 6, 5])}  # the negative is text 5 again
    labels = Labels(**same, teacher_queries=asked, teacher_documents=held)
    last = 30 * step_scores(queries, torch.cat([positives, negatives]))[..., -1]
    scores = 4 * asked @ held.T
    each = []
    for row, columns in ((0, [0, 1]), (1, [0, 1, 2])):
        target = torch.softmax(scores[row, columns], 0)
        each.append((target * (target.log() - torch.log_softmax(last[row, columns], 0))).sum())
    terms = dict(DeliberationLoss(teacher="base", teacher_scale=4.0).terms(queries, positives, negatives, labels))
    assert terms["teacher"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-6)


@pytest.mark.parametrize("teacher", ["kl", "margin_mse"])
def test_rows_without_a_teacher_have_finite_gradients(teacher: str) -> None:
    queries, positives, negatives = random_batch(2, 2)
    queries.requires_grad_()
    nothing = torch.full((2,), torch.nan)
    labels = Labels(owners=torch.tensor([0, 1]), positive_scores=nothing, negative_scores=nothing)
    DeliberationLoss(teacher=teacher)(queries, positives, negatives, labels).backward()
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()


def test_matryoshka_averages_the_loss_over_shorter_vectors() -> None:
    queries, positives, negatives = random_batch(4, 2)
    each = [DeliberationLoss()(queries[:, :d], positives[..., :d], negatives[..., :d]).item() for d in (2, 4, 6)]
    assert DeliberationLoss(matryoshka=[2, 4])(queries, positives, negatives).item() == pytest.approx(np.mean(each))


def test_many_queries_are_scored_in_blocks_with_the_same_value_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = Labels(same_query=torch.arange(7), same_text=torch.tensor([0, 1, 2, 3, 4, 5, 6, 2, 8, 9]))
    results = []
    for block in (2**19, 70):  # all queries, two at a time
        monkeypatch.setattr("debater_search.training.loss.BLOCK", block)
        batch = [tensor.requires_grad_() for tensor in random_batch(7, 3)]
        loss = DeliberationLoss(matryoshka=[3])(*batch, labels)
        loss.backward()
        results.append([loss, *(tensor.grad for tensor in batch)])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def many(steps: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    shapes = [(4, 6), (4, steps, 6), (2, steps, 6)]
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)


def cosines_of(queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    return step_scores(queries, torch.cat([positives, negatives]))


def test_each_query_is_contrasted_at_the_step_that_finds_its_positive_best() -> None:
    inputs, scales = many(), [5.0, 10.0, 20.0]
    loss = DeliberationLoss(distill=False, contrast="step", step_scales=scales)(*inputs)
    logits = cosines_of(*inputs) * torch.tensor(scales)
    each = torch.stack([torch.nn.functional.cross_entropy(logits[..., i], torch.arange(4), reduction="none")
                        for i in range(3)])  # fmt: skip
    assert loss.item() == pytest.approx(each.min(0).values.mean().item(), abs=1e-9)
    loss.backward()
    chosen = each.argmin(0)
    assert len(set(chosen.tolist())) > 1
    unused = {0, 1, 2} - set(chosen.tolist())
    gradients = inputs[2].grad.abs().sum((0, 2))
    assert all((gradients[i] == 0) == (i in unused) for i in range(3))


def test_the_step_that_is_contrasted_teaches_the_last_one() -> None:
    inputs = many()
    terms = DeliberationLoss(10.0, contrast="step").terms(*inputs)
    logits = 10 * cosines_of(*inputs)
    each = torch.stack([torch.nn.functional.cross_entropy(logits[..., i], torch.arange(4), reduction="none")
                        for i in range(3)])  # fmt: skip
    best = torch.stack([logits[k, :, step] for k, step in enumerate(each.argmin(0))])
    expected = -(best.softmax(-1) * logits[..., -1].log_softmax(-1)).sum(-1).mean()
    assert terms.distill is not None
    assert terms.distill.item() == pytest.approx(expected.item(), abs=1e-9)


def test_diversity_grows_as_steps_come_closer() -> None:
    inputs = many()
    terms = DeliberationLoss(10.0, diversity=0.5).terms(*inputs)
    documents = torch.nn.functional.normalize(torch.cat(inputs[1:]), dim=-1)
    pairs = [(documents[:, i] * documents[:, j]).sum(-1).mean() for i in range(3) for j in range(i)]
    assert terms.diversity is not None
    cosine = torch.stack(pairs).mean().item()
    assert terms.diversity.item() == pytest.approx(-np.log(1 - cosine), abs=1e-4)
    expected = (terms.contrast + terms.distill + 0.5 * terms.diversity) / 2.5
    assert terms.total.item() == pytest.approx(expected.item(), abs=1e-9)
    assert DeliberationLoss(diversity=1.0).terms(*many(1)).diversity.item() == pytest.approx(0, abs=1e-9)


def test_diversity_pushes_steps_apart_that_are_nearly_alike() -> None:
    queries, positives, negatives = many()
    alike = positives.detach()[:, :1] + 0.01 * positives.detach()
    alike.requires_grad_()
    DeliberationLoss(diversity=1.0).terms(queries, alike, negatives.detach()[:0]).diversity.backward()
    moved = torch.nn.functional.normalize(alike.detach() - 0.01 * alike.grad, dim=-1)
    before = torch.nn.functional.normalize(alike.detach(), dim=-1)
    assert 1 - (moved[:, 0] * moved[:, 1]).sum(-1).mean() > 4 * (1 - (before[:, 0] * before[:, 1]).sum(-1).mean())
    same = positives.detach()[:, :1].expand(-1, 3, -1)
    assert DeliberationLoss(diversity=1.0).terms(queries, same).diversity.isfinite()


def test_a_step_learns_from_the_scores_that_rows_carry() -> None:
    inputs = many()
    scores = torch.tensor([3.0, 2.0, 1.0, torch.nan])
    labels = Labels(owners=torch.tensor([1, 0]), positive_scores=scores, negative_scores=torch.tensor([0.5, 2.5]))
    terms = DeliberationLoss(10.0, teacher="base", step_teachers=[-2, -1, -1]).terms(*inputs, labels)
    students = 10 * cosines_of(*inputs)[..., 0]
    scored = [(students[0, [0, 5]], torch.tensor([3.0, 2.5])), (students[1, [1, 4]], torch.tensor([2.0, 0.5]))]
    each = [torch.nn.functional.kl_div(learned.log_softmax(-1), given.softmax(-1), reduction="sum")
            for learned, given in scored]  # fmt: skip
    assert terms.step_teachers is not None
    assert terms.step_teachers.item() == pytest.approx((each[0] + each[1]).item() / 4 / 3, abs=1e-6)


@pytest.mark.parametrize("block", [2**19, 40])
def test_each_step_learns_from_a_teacher_of_its_own(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.training.loss.BLOCK", block)
    inputs = many()
    generator = torch.Generator().manual_seed(3)
    asked, held = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (4, 6))
    labels = Labels(teacher_queries=asked, teacher_documents=held, teacher_sizes=torch.tensor([2, 3]))
    loss = DeliberationLoss(10.0, teacher="base", step_teachers=[1, 0, -1], mask_duplicates=False)
    scores = [asked[:, 2:] @ held[:, 2:].T, asked[:, :2] @ held[:, :2].T, asked @ held.T]
    students = 10 * cosines_of(*inputs)
    learned = [students[..., i].log_softmax(-1) for i in range(3)]
    each = [torch.nn.functional.kl_div(learned[i], (10 * scores[i]).softmax(-1), reduction="batchmean")
            for i in range(3)]  # fmt: skip
    terms = loss.terms(*inputs, labels)
    assert terms.step_teachers is not None
    assert terms.step_teachers.item() == pytest.approx(torch.stack(each).mean().item(), abs=1e-9)
    assert terms.teacher is not None
    assert terms.teacher.item() == pytest.approx(each[2].item(), abs=1e-9)
