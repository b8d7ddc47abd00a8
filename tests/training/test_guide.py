"""Negatives that a guide takes for positives, and the contrast of positives with queries."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy, normalize

from debater_search.training import DeliberationLoss
from debater_search.training.batches import TrainingData
from debater_search.training.candidates import Labels
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start, load_teachers
from debater_search.training.steps import prepare
from tests.encoder.conftest import sentence_transformer as sentence_transformer


def random_batch(queries: int, negatives: int, steps: int = 3) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(queries, 6), (queries, steps, 6), (negatives, steps, 6)]
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)


def guided(*scores: list[float]) -> Labels:
    """Labels by which two teachers score [Q, C], the second one as given."""
    own = torch.tensor(scores, dtype=torch.float64)
    asked = torch.cat([torch.ones(len(own), 1), torch.eye(len(own))], 1).double()
    held = torch.cat([torch.ones(own.shape[1], 1), own.T], 1).double()
    return Labels(teacher_queries=asked, teacher_documents=held, teacher_sizes=torch.tensor([1, len(own)]))


@pytest.mark.parametrize(("margin", "left_out"), [(0.0, [3]), (0.5, []), (-0.35, [1, 3])])
def test_negatives_that_the_guide_scores_above_the_positive_are_left_out(margin: float, left_out: list[int]) -> None:
    queries, positives, negatives = random_batch(2, 2, steps=1)
    labels = guided([0.5, 0.2, 0.1, 0.8], [0.1, 0.9, 0.1, 0.1])
    loss = DeliberationLoss(distill=False, guide=1, guide_margin=margin)
    cosines = normalize(queries, dim=-1) @ normalize(torch.cat([positives, negatives])[:, 0], dim=-1).T
    cosines[0, left_out] = -torch.inf
    wanted = cross_entropy(30 * cosines, torch.arange(2))
    assert loss(queries, positives, negatives, labels).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("contrast", ["max", "last", "mean"])
def test_both_ways_are_averaged(contrast: Any) -> None:
    queries, positives, negatives = random_batch(4, 2)
    one_way = DeliberationLoss(distill=False, contrast=contrast)(queries, positives, negatives)
    cosines = torch.einsum("qmd,ad->qam", normalize(positives, dim=-1), normalize(queries, dim=-1))
    scores = {"max": cosines.max(-1).values, "last": cosines[..., -1], "mean": cosines.mean(-1)}[contrast]
    back = cross_entropy(30 * scores, torch.arange(4))
    both = DeliberationLoss(distill=False, contrast=contrast, symmetric=True)(queries, positives, negatives)
    assert both.item() == pytest.approx((one_way.item() + back.item()) / 2)


def test_queries_of_the_same_positive_are_no_negatives_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, positives, _ = random_batch(3, 0)
    queries, positives = queries.requires_grad_(), positives.requires_grad_()
    loss = DeliberationLoss(distill=False, symmetric=True)
    labels = Labels(same_query=torch.tensor([1, 2, 3]), same_text=torch.tensor([7, 7, 8]))
    unknown = loss(queries, positives)
    known = loss(queries, positives, None, labels)
    assert known < unknown
    [whole] = torch.autograd.grad(known, queries)
    monkeypatch.setattr("debater_search.training.loss.BLOCK", 9)  # a query at a time
    blocks = loss(queries, positives, None, labels)
    assert blocks.item() == pytest.approx(known.item())
    assert torch.allclose(torch.autograd.grad(blocks, queries)[0], whole)


@pytest.mark.parametrize("guide", ["base", "other"])
def test_a_guide_need_not_teach(config: Callable[..., TrainingSettings], guide: str) -> None:
    models = [{"name": "other", "model": config("llama").model, "weight": 4.0}] if guide == "other" else []
    settings = config(loss={"guide": guide, "teacher_models": models, "guide_margin": 0.1})
    assert settings.teachers == [guide]
    data, student = TrainingData(settings), load_start(settings, "cpu")
    teacher = load_teachers(settings, data, student, "cpu")
    batch = data.batch(0)
    labels = teacher.labelled(replace(prepare(student, batch, 60), targets=teacher.reads(batch))).labels
    cosines = labels.teacher_queries @ labels.teacher_documents.T
    encoder = teacher.base
    wanted = encoder.encode_queries(batch.queries) @ encoder.encode_documents(batch.documents).T
    assert torch.allclose(cosines, torch.from_numpy(wanted), atol=1e-4)
    loss = DeliberationLoss(**settings.loss.arguments(settings.teachers))
    assert (loss.guide, loss.guide_margin, loss.teacher) == (0, 0.1, None)


def test_only_the_model_that_is_trained_reads_the_instruction_as_a_guide(
    config: Callable[..., TrainingSettings], sentence_transformer: Callable[..., Path]
) -> None:
    prompted = sentence_transformer("mean_tokens", config_sentence_transformers={"prompts": {"query": "query: "}})
    models = [{"name": "other", "model": str(prompted)}]
    for guide, cached in (("base", False), ("other", False), ("other", True)):
        others = {} if guide == "base" else {"teacher_models": models, "teacher_cache": cached}
        loss = {"guide": guide, **others}
        settings = config(loss=loss)
        settings.data[0].instruction = "find the answer:"
        data, student = TrainingData(settings), load_start(settings, "cpu")
        teacher, batch = load_teachers(settings, data, student, "cpu"), data.batch(0)
        labels = teacher.labelled(replace(prepare(student, batch, 60), targets=teacher.reads(batch))).labels
        if guide == "base":
            wanted = teacher.base.encode_queries(batch.queries, instruction="")
        else:
            wanted = teacher.base.encode_queries(batch.questions)
        assert labels.teacher_queries is not None
        assert torch.allclose(labels.teacher_queries, torch.from_numpy(wanted), atol=1e-5)


def test_a_guide_among_teachers_is_found_by_its_name(config: Callable[..., TrainingSettings]) -> None:
    models = [{"name": name, "model": "m", "weight": 4.0} for name in ("a", "b")]
    settings = config(
        loss={"guide": "b", "guide_margin": 0.1, "teacher": "base", "teacher_lexical": 1.0, "teacher_models": models}
    )
    loss = DeliberationLoss(**settings.loss.arguments(settings.teachers))
    assert (loss.guide, loss.guide_margin) == (3, 0.4)


@pytest.mark.parametrize(
    "loss",
    [
        {"guide": "other"},
        {"guide_margin": 0.1},
        {"guide": "a", "teacher_models": [{"name": name, "model": "m"} for name in "ab"]},
        {"guide": "words", "teacher": "base", "teacher_lexical": 1.0},
    ],
)
def test_a_guide_that_there_is_not_is_refused(config: Callable[..., TrainingSettings], loss: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(loss=loss)
