"""Which attention kernel a model gets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.encoder.again import load_again
from debater_search.encoder.families import native_config
from debater_search.encoder.speed import attention
from debater_search.encoder.speed.attention import FLASH, choose_attention
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo

CARD, HALF = torch.device("cuda", 0), torch.bfloat16
SIZES = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4}
LOW_RANK = {"qk_nope_head_dim": 200, "qk_rope_head_dim": 64}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A GPU as torch and transformers would describe it."""

    def describe(capability: tuple[int, int] = (9, 0), installed: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: installed)

    return describe


@pytest.mark.parametrize("family", ["llama", "qwen2", "minicpm", "minicpm3", "gpt_neox"])
def test_decoders_on_a_card_in_half_precision_get_flash_attention(card: Callable[..., None], family: str) -> None:
    card()
    config = native_config({"model_type": family, "num_hidden_layers": 2, **SIZES})
    assert choose_attention("auto", config, CARD, HALF) == FLASH
    assert choose_attention("auto", config, torch.device("cpu"), torch.float32) is None


@pytest.mark.parametrize(
    ("family", "more", "capability", "dtype", "why"),
    [
        ("bert", {}, (9, 0), HALF, "reads in both directions"),
        ("mpnet", {}, (9, 0), HALF, "reads in both directions"),
        ("llama", {"is_causal": False}, (9, 0), HALF, "reads in both directions"),
        ("llama", {}, (7, 5), torch.float16, r"compute capability 8.0, and this GPU has 7.5"),
        ("llama", {}, (9, 0), torch.float32, "not float32"),
        ("gemma2", {"head_dim": 320}, (9, 0), HALF, "heads of 320 dimensions"),
        ("minicpm3", LOW_RANK, (9, 0), HALF, "heads of 264 dimensions"),
        ("codegen", {}, (9, 0), HALF, "models of type 'codegen' do not have it"),
    ],
)
def test_where_flash_attention_cannot_work_it_is_not_chosen_and_refused_if_asked_for(
    card: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    family: str,
    more: dict[str, Any],
    capability: tuple[int, int],
    dtype: torch.dtype,
    why: str,
) -> None:
    card(capability)
    config = native_config({"model_type": family, **SIZES, **more})
    with caplog.at_level("INFO", logger="debater_search"):
        assert choose_attention("auto", config, CARD, dtype) is None
    assert [line.startswith("FlashAttention is not used:") for line in caplog.messages] == [True]
    with pytest.raises(InvalidError, match=f"flash_attention_2 is not possible: .*{why}"):
        choose_attention(FLASH, config, CARD, dtype)
    assert choose_attention("eager", config, CARD, dtype) == "eager"


def test_where_flash_attention_is_not_installed_nothing_is_said(
    card: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    card(installed=False)
    config = native_config({"model_type": "llama", **SIZES})
    with caplog.at_level("INFO", logger="debater_search"):
        assert choose_attention("auto", config, CARD, HALF) is None
    assert not caplog.messages
    with pytest.raises(InvalidError, match=r"the package flash-attn .* is not installed"):
        choose_attention(FLASH, config, CARD, HALF)


def test_an_attention_that_a_model_does_not_have_is_a_sentence(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(InvalidError, match="sdpa is not possible: models of type 'gemma2' do not have it"):
        Encoder.load(tiny_model("gemma2"), device="cpu", attention="sdpa")
    with pytest.raises(InvalidError, match="it needs an NVIDIA GPU, and the model is on cpu"):
        Encoder.load(tiny_model("llama"), device="cpu", attention=FLASH)


def test_an_index_made_with_flash_attention_opens_where_there_is_none(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    encoder = Encoder.load(tiny_model("llama"), device="cpu")
    info = EncoderInfo.of(encoder).model_copy(update={"recipe": {**encoder.recipe, "attention": FLASH}})
    assert load_again(info, tmp_path, device="cpu").fingerprint == encoder.fingerprint


def test_the_recipe_names_the_attention_that_was_asked_for(tiny_model: Callable[..., Path]) -> None:
    assert "attention" not in Encoder.load(tiny_model("llama"), device="cpu").recipe
    assert Encoder.load(tiny_model("llama"), device="cpu", attention="eager").recipe["attention"] == "eager"
