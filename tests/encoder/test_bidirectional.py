"""Decoders whose tokens all see each other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModel

from debater_search.encoder import Encoder
from debater_search.encoder.again import load_again
from debater_search.encoder.families import BOTH_WAYS, native_config
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo
from debater_search.training.adapter import make_trainable
from debater_search.training.sections import Lora
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from tests.encoder.test_families import DECODERS
from tests.training.conftest import config as config

TEXTS = ["lift", "the lift of a wing and the heat that flows over it", ""]


@pytest.mark.parametrize("family", BOTH_WAYS)
def test_the_first_token_sees_the_last_and_no_padding(family: str) -> None:
    config = native_config({"model_type": family, **DECODERS[family], "vocab_size": 300, "eos_token_id": 2})
    config.is_causal = False
    model = AutoModel.from_config(config).eval()
    ids = torch.randint(5, 200, (1, 9), generator=torch.Generator().manual_seed(0))
    other, padded = ids.clone(), torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1)
    other[0, -1] += 1
    with torch.no_grad():
        whole = torch.ones_like(ids)
        states, changed = (model(input_ids=i, attention_mask=whole).last_hidden_state for i in (ids, other))
        beside = model(input_ids=padded, attention_mask=(padded != 0).long()).last_hidden_state[:, :9]
    assert (states - changed)[0, 0].abs().max() > 1e-3
    assert torch.allclose(states, beside, atol=1e-5)


def test_a_decoder_is_pooled_by_mean_over_all_that_it_sees(tiny_model: Callable[..., Path]) -> None:
    encoder = Encoder.load(tiny_model("llama"), device="cpu", bidirectional=True)
    vectors = encoder.encode_documents(TEXTS)
    assert np.allclose(vectors, np.vstack([encoder.encode_documents([text]) for text in TEXTS]), atol=1e-5)
    plain = Encoder.load(tiny_model("llama"), device="cpu", pooling="mean")
    assert encoder.spec.document_pooling == "mean"
    assert encoder.fingerprint != plain.fingerprint
    assert abs(vectors - plain.encode_documents(TEXTS)).max() > 1e-2
    assert "bidirectional" not in plain.spec.as_dict()
    again = load_again(EncoderInfo.of(encoder), Path("index"))
    assert np.array_equal(again.encode_documents(TEXTS), vectors)


@pytest.mark.parametrize("lora", [Lora(r=2), None])
def test_it_is_kept_in_the_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path, lora: Lora | None
) -> None:
    student = load_start(config("llama", bidirectional=True, thinking_steps=1, lora=lora and {"r": 2}), "cpu")
    make_trainable(student, lora, gradient_checkpointing=False)
    student.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "debater.json").read_text())["format"] == 4
    loaded = Encoder.load(tmp_path / "saved", device="cpu")
    with student.measured():
        assert np.allclose(loaded.encode_documents(TEXTS), student.encode_documents(TEXTS), atol=1e-5)
    assert not loaded.model.causal
    load_start(config("llama", model=str(tmp_path / "saved"), thinking_steps=1), "cpu")


def test_what_cannot_be_read_both_ways_is_refused(
    config: Callable[..., TrainingSettings], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidError, match="bidirectional is for decoders"):
        Encoder.load(tiny_model("bert"), device="cpu", bidirectional=True)
    with pytest.raises(ValidationError, match="thinking_steps: 1"):
        config("llama", bidirectional=True)
    Encoder.load(tiny_model("llama"), device="cpu").save(tmp_path / "causal")
    more: dict[str, Any] = {"bidirectional": True}
    with pytest.raises(InvalidError, match="not trained to be read in both directions"):
        Encoder.load(tmp_path / "causal", device="cpu", **more)
