"""Views beside the mean over the text: what thinking steps add to an encoder that pools by mean."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.encoder.model import body_mean
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import DebaterError
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from debater_search.training.student import Student, read_beside_mean

TEXTS = ["lift of a wing", "drag", "a much longer text on the flow over a slender body of revolution"]


def residual(tiny_model: Callable[..., Path], steps: int = 4, weight: float = 1.0) -> Student:
    start = Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=steps)
    return Student(start, replace(start.parts, spec=read_beside_mean(start, weight)))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_view_is_the_thinking_state_beside_the_mean_over_the_text(
    tiny_model: Callable[..., Path], weight: float
) -> None:
    states = Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=4).deliberate(TEXTS)
    mean = residual(tiny_model).encode_queries(TEXTS)  # before training a text's own states are the base model's
    expected = unit(unit(mean)[:, None] + weight * unit(states))
    assert np.allclose(residual(tiny_model, weight=weight).deliberate(TEXTS), expected, atol=1e-5)


def test_the_mean_is_without_special_tokens() -> None:
    hidden = torch.arange(10.0).reshape(1, 5, 2)
    assert body_mean(hidden, torch.tensor([5]), (1, 1)).flatten().tolist() == [4, 5]
    assert body_mean(hidden, torch.tensor([4]), (1, 1)).flatten().tolist() == [3, 4]
    assert body_mean(hidden, torch.tensor([2]), (1, 1)).flatten().tolist() == [1, 2]  # an empty text


def test_views_do_not_depend_on_the_batch(tiny_model: Callable[..., Path]) -> None:
    student = residual(tiny_model)
    together = student.deliberate([*TEXTS, ""])
    assert np.isfinite(together).all()
    alone = np.concatenate([student.deliberate([text]) for text in [*TEXTS, ""]])
    assert np.allclose(together, alone, atol=1e-5)


def test_it_is_kept_in_the_checkpoint_and_read_out_at_any_step(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    student = residual(tiny_model, weight=0.5)
    student.save(tmp_path / "checkpoint")
    views = student.deliberate(TEXTS)
    assert np.allclose(Encoder.load(tmp_path / "checkpoint", device="cpu").deliberate(TEXTS), views, atol=1e-6)
    early = Encoder.load(tmp_path / "checkpoint", device="cpu", thinking_steps=2)
    assert np.allclose(early.deliberate(TEXTS), views[:, :2], atol=1e-5)


def test_a_weight_makes_another_fingerprint_and_none_leaves_it_as_it_was(tiny_model: Callable[..., Path]) -> None:
    whole, half = residual(tiny_model), residual(tiny_model, weight=0.5)
    assert whole.fingerprint != half.fingerprint
    assert "thinking_weight" not in whole.spec.as_dict()
    assert EncoderSpec.from_dict(half.spec.as_dict()) == half.spec


def test_without_thinking_tokens_documents_are_the_mean_too(tiny_model: Callable[..., Path]) -> None:
    student = residual(tiny_model, 1)
    assert student.thinking_steps == 1
    assert np.allclose(student.encode_documents(TEXTS), student.encode_queries(TEXTS), atol=1e-6)


def test_a_model_that_does_not_pool_by_mean_is_refused(tiny_model: Callable[..., Path]) -> None:
    encoder = Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=4)
    with pytest.raises(DebaterError, match="does not pool by mean") as told:
        read_beside_mean(encoder)
    assert "readout: null" in told.value.hint


def test_a_models_own_prompt_as_instruction_is_no_training_with_instructions(
    tiny_model: Callable[..., Path], config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = tmp_path / "prompted"
    shutil.copytree(tiny_model("bert"), folder)
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"}
               for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"))]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "Find: "}}))
    for instruction, others in (("Find:", False), ("Search:", True)):
        data = [{"path": str(tmp_path / "rows.jsonl"), "instruction": instruction}]
        spec = load_start(config(model=str(folder), data=data), "cpu").spec
        assert (spec.template.query_prompt, spec.trained_with_instructions) == ("Find: ", others)


def test_an_encoder_that_pools_by_cls_thinks_in_copies_of_cls_and_keeps_its_queries(
    tiny_model: Callable[..., Path], config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = tmp_path / "cls"
    shutil.copytree(tiny_model("bert"), folder)
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"}
               for path, kind in (("", "Transformer"), ("1_Pooling", "Pooling"))]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    student = load_start(config(model=str(folder)), "cpu")
    assert (student.spec.query_pooling, student.spec.document_pooling) == ("cls", "last")
    table = student.model.backbone.get_input_embeddings().weight
    cls, *thinking = (table[student.tokenizer.token_to_id(token)] for token in ("[CLS]", "[unused1]", "[unused3]"))
    assert all(0 < (token - cls).abs().max() < 0.3 for token in thinking)
    base = Encoder.load(folder, device="cpu")
    short = TEXTS[:2]  # within the limit of the config
    assert np.allclose(student.encode_queries(short), base.encode_queries(short), atol=1e-6)
