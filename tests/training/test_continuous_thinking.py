"""Thinking steps that read the state of the step before, and queries that think."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from debater_search.encoder import Encoder
from debater_search.encoder.families import STATES_AS_INPUT
from debater_search.errors import InvalidError
from debater_search.training import train
from debater_search.training.batches import TrainingData
from debater_search.training.loss import DeliberationLoss
from debater_search.training.parallel import Parallel
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from debater_search.training.steps import StepOptions, prepare, train_step
from debater_search.training.student import Student
from tests.encoder.test_families import DECODERS, save_model

TEXTS = ["lift", "the lift of a wing in a propeller slipstream", ""]
STATE = {"steps": 3, "input": "state"}
LENGTHS = {"query": 32, "document": 60}


def start(config: Callable[..., TrainingSettings], family: str = "llama", **more: Any) -> Student:
    values: dict[str, Any] = {"thinking_steps": 1, "lora": None, **more}
    thinking = values.pop("thinking", None)
    settings = config(family, **values).model_dump(mode="json", exclude_unset=True)
    student = load_start(TrainingSettings.model_validate({**settings, "thinking": thinking or STATE}), "cpu")
    student.model.eval()
    return student


def by_hand(student: Student, ids: list[int], steps: int) -> torch.Tensor:
    """Views without kept keys and values: the whole sequence, again for each step."""
    backbone = student.model.backbone
    embeddings = backbone.get_input_embeddings()(torch.tensor([ids[: len(ids) - steps + 1]]))
    found = []
    for _ in range(steps):
        state = backbone(inputs_embeds=embeddings).last_hidden_state[:, -1:]
        found.append(state)
        embeddings = torch.cat([embeddings, state], 1)
    return torch.cat(found, 1)


@pytest.mark.parametrize("family", STATES_AS_INPUT)
@pytest.mark.filterwarnings("ignore")
def test_a_step_reads_the_last_state_whatever_else_is_in_the_batch(
    config: Callable[..., TrainingSettings], tmp_path: Path, family: str
) -> None:
    folder = save_model(family, DECODERS[family], tmp_path / "model")
    student = start(config, model=str(folder), max_length=LENGTHS)
    sequences = student.token_ids(TEXTS, "document")
    with torch.no_grad():
        together = student.views(sequences, "document")
        for ids, views in zip(sequences, together, strict=True):
            assert torch.allclose(views, by_hand(student, ids, 3)[0], atol=1e-4)


def test_gradients_are_those_of_the_whole_sequence(config: Callable[..., TrainingSettings]) -> None:
    student = start(config)
    sequences = student.token_ids(TEXTS, "document")
    weights = [p for p in student.model.parameters() if p.requires_grad]
    own = torch.autograd.grad(student.views(sequences, "document").square().sum(), weights, allow_unused=True)
    whole = sum(by_hand(student, ids, 3).square().sum() for ids in sequences)
    for got, wanted in zip(own, torch.autograd.grad(whole, weights, allow_unused=True), strict=True):
        assert (got is None) == (wanted is None)
        assert got is None or torch.allclose(got, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("thinking", [STATE, {"steps": 3, "query": 2}, {**STATE, "query": 3}])
def test_it_is_kept_in_the_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path, thinking: dict[str, Any]
) -> None:
    student = start(config, thinking=thinking)
    student.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "debater.json").read_text())["format"] == 4
    loaded = Encoder.load(tmp_path / "saved", device="cpu")
    assert np.allclose(loaded.deliberate(TEXTS), student.deliberate(TEXTS), atol=1e-5)
    assert np.allclose(loaded.encode_queries(TEXTS), student.encode_queries(TEXTS), atol=1e-5)
    plain = start(config, thinking={"steps": 3})
    plain.save(tmp_path / "plain")
    assert not {"thinking_input", "query_thinking"} & set(plain.spec.as_dict())
    other = Encoder.load(tmp_path / "plain", device="cpu")
    assert other.fingerprint != loaded.fingerprint
    early = Encoder.load(tmp_path / "saved", device="cpu", thinking_steps=2)
    assert np.allclose(early.deliberate(TEXTS), loaded.deliberate(TEXTS)[:, :2], atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_queries_end_in_the_first_thinking_tokens_and_are_read_at_the_last(
    config: Callable[..., TrainingSettings], family: str
) -> None:
    student = start(config, family, thinking={"steps": 3, "query": 2})
    plain = start(config, family, thinking={"steps": 3})
    [ids], [bare] = student.token_ids(["lift"], "query"), plain.token_ids(["lift"], "query")
    tokens = student.spec.template.thinking_tokens[:2]
    assert ids == [*bare, *(student.tokenizer.token_to_id(token) for token in tokens)]
    views = student.views([ids], "query")
    assert views.shape[1] == 2
    assert np.allclose(
        student.encode_queries(["lift"])[0], torch.nn.functional.normalize(views[0, -1], dim=-1).detach()
    )


@pytest.mark.parametrize("cache_tokens", [None, 60])
def test_gradients_of_a_step_are_the_same_in_chunks(
    config: Callable[..., TrainingSettings], cache_tokens: int | None
) -> None:
    thinking = {**STATE, "query": 2, "diversity": 0.1}
    found = []
    for tokens in (100_000, cache_tokens):
        student = start(config, thinking=thinking)
        batch = prepare(student, TrainingData(config()).batch(0), 60)
        train_step(student, DeliberationLoss(diversity=0.1), batch, StepOptions(1, Parallel(student), tokens))
        found.append([p.grad for p in student.model.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 0
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))


def test_a_run_learns_and_resumes_exactly(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    values = config("llama", max_steps=2, save_steps=1, batch_size=4).model_dump(mode="json", exclude_unset=True)
    thinking = {**STATE, "query": 1, "diversity": 0.1}
    settings = TrainingSettings.model_validate({**values, "thinking": thinking})
    whole = train(settings, output=tmp_path / "whole")
    (tmp_path / "again").mkdir()
    (whole / "checkpoint-1").rename(tmp_path / "again" / "checkpoint-1")
    again = train(settings, output=tmp_path / "again", resume=True)
    assert (whole / "adapter_model.safetensors").read_bytes() == (again / "adapter_model.safetensors").read_bytes()


def test_training_on_keeps_how_a_checkpoint_thinks(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    student = start(config, thinking={**STATE, "query": 2})
    student.save(tmp_path / "saved")
    more = {"model": str(tmp_path / "saved"), "thinking_steps": 3, "lora": None}
    again = load_start(config("llama", **more), "cpu")
    assert (again.spec.thinking_input, again.spec.template.query_thinking) == ("state", 2)
    with pytest.raises(InvalidError, match="read states: not with gradient_checkpointing"):
        load_start(config("llama", **more, gradient_checkpointing=True), "cpu")
    del more["thinking_steps"]
    values = config("llama", **more).model_dump(mode="json", exclude_unset=True)
    with pytest.raises(InvalidError, match=r"Queries of .* think"):
        load_start(TrainingSettings.model_validate({**values, "thinking": {"steps": 3, "query": 0}}), "cpu")


def test_queries_that_a_checkpoint_reads_as_a_mean_are_not_made_to_think(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    load_start(config(readout="residual"), "cpu").save(tmp_path / "saved")
    more = {"model": str(tmp_path / "saved")}
    assert start(config, **more, thinking={"steps": 3}).spec.document_pooling == "residual"
    with pytest.raises(InvalidError, match=r"a mean over their text \(readout: residual\) and cannot think") as told:
        start(config, **more, thinking={"steps": 3, "query": 1})
    assert told.value.hint == "Leave thinking.query out."


@pytest.mark.parametrize("family", ["bert", "gemma2"])
def test_models_that_cannot_read_states_are_refused(config: Callable[..., TrainingSettings], family: str) -> None:
    with pytest.raises(InvalidError, match="input: state is not possible"):
        start(config, family)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"thinking": {"steps": 3, "query": 4}}, "query .4. is above steps"),
        ({"thinking": {"steps": 1, "input": "state"}}, "need steps above 1"),
        ({"thinking": {"steps": 1, "diversity": 0.1}}, "need steps above 1"),
        ({"thinking": STATE, "gradient_checkpointing": True}, "gradient_checkpointing drops"),
        ({"thinking": STATE, "parallel": "fsdp"}, "exclude each other"),
        ({"thinking": {"steps": 3, "query": 1}, "readout": "residual"}, "such queries are a mean"),
        ({"thinking": {"steps": 3}, "thinking_steps": 3}, "thinking_steps is another name of thinking.steps"),
        ({"thinking": {"diversity": 1.0}, "loss": {"diversity": 1.0}}, "loss.diversity is another name"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainingSettings.model_validate({"model": "m", "output": "o", "data": [{"path": "d"}], **more})


def test_short_names_are_read_and_older_ones_with_a_note(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "debater_search")
    config(thinking_steps=4)
    assert "now called" not in caplog.text
    settings = config(thinking_steps=4, loss={"diversity": 0.5, "scale": 20}, dtype="bfloat16")
    assert "The setting loss.diversity is now called thinking.diversity; the older name is still read." in caplog.text
    assert "The setting dtype is now called precision" in caplog.text
    assert (settings.thinking.steps, settings.thinking.diversity, settings.loss.scale) == (4, 0.5, 20)
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings
    assert TrainingSettings.model_validate(json.loads(settings.model_dump_json(exclude_unset=True))) == settings
