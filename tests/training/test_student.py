"""A model in training: it is what an encoder is, its weights change, and its fingerprint with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.training.student import Student


@pytest.fixture
def start(tiny_model: Callable[..., Path]) -> Encoder:
    return Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=3)


def test_its_vectors_are_those_of_the_encoder_that_it_was(start: Encoder) -> None:
    wanted = start.deliberate(["lift", "drag"])
    student = Student(start)
    assert np.array_equal(student.deliberate(["lift", "drag"]), wanted)
    assert (student.name, student.recipe, student.dim, student.dtype) == (
        start.name,
        start.recipe,
        start.dim,
        start.dtype,
    )


def test_its_fingerprint_follows_its_weights_and_its_spec(start: Encoder) -> None:
    student = Student(start)
    before = student.fingerprint
    assert Student(start, start.parts.with_lengths(query=20)).fingerprint != before
    weight = next(student.model.parameters())
    with torch.no_grad():
        weight += 1
        changed = student.fingerprint
        weight -= 1
    assert changed != before
    assert start.fingerprint != before  # of files, not of tensors


def test_a_saved_student_loads_as_an_encoder_with_its_weights(start: Encoder, tmp_path: Path) -> None:
    student = Student(start, start.parts.with_lengths(document=40))
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(0.01)
    student.save(tmp_path / "saved")
    loaded = Encoder.load(tmp_path / "saved", device="cpu")
    assert loaded.document_length == 40
    assert np.allclose(loaded.deliberate(["lift"]), student.deliberate(["lift"]), atol=1e-6)


def test_forward_passes_go_through_what_wraps_the_model(start: Encoder) -> None:
    class Wrapper(torch.nn.Module):
        calls = 0

        def forward(self, *arguments: object) -> torch.Tensor:
            self.calls += 1
            return student.model(*arguments)

    student, wrapper = Student(start), Wrapper()
    student.wrap(wrapper)
    student.encode_documents(["lift"])
    assert wrapper.calls == 1
    with student.unwrapped():
        student.encode_documents(["lift"])
    assert wrapper.calls == 1
    student.encode_documents(["lift"])
    assert wrapper.calls == 2


def test_it_is_measured_without_dropout(start: Encoder) -> None:
    student = Student(start)
    student.model.train()
    with student.measured():
        assert not student.model.training
    assert student.model.training


def test_encoding_many_texts_leaves_its_layers_alone(start: Encoder) -> None:
    student = Student(start)
    student.encode_documents([f"lift {n}" for n in range(70)])
    assert not any("forward" in vars(m) for m in student.model.modules() if isinstance(m, torch.nn.Linear))
