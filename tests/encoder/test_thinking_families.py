"""Thinking tokens on every family that takes them: what sees what, and which tokens they are."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models

from debater_search.encoder import Encoder
from debater_search.encoder.loading.thinking import PREFIX_MASK_FAMILIES, WITHOUT_PREFIX_MASK, reserved_tokens
from debater_search.errors import InvalidError
from tests.encoder.test_families import DECODERS, ENCODERS, save_model

TEXTS = ["lift", "the lift of a wing in a propeller slipstream and the heat that flows over it", ""]
STEPS = 3
CONFIGS = {**ENCODERS, "camembert": ENCODERS["roberta"]}


@pytest.mark.parametrize("family", PREFIX_MASK_FAMILIES)
@pytest.mark.parametrize("attention", ["auto", "eager"])
@pytest.mark.filterwarnings("ignore")
def test_text_sees_no_thinking_and_thinking_only_what_came_before(family: str, attention: str, tmp_path: Path) -> None:
    folder = save_model(family, CONFIGS[family], tmp_path)
    encoder = Encoder.load(folder, device="cpu", thinking_steps=STEPS, attention=attention, max_length=60)
    views = encoder.deliberate(TEXTS)
    alone = np.concatenate([encoder.deliberate([text]) for text in TEXTS])
    assert abs(views - alone).max() < 1e-5
    steps = views[1] @ views[1].T
    assert (steps - np.eye(STEPS)).max() < 1 - 1e-5  # all differ

    seen: list[torch.Tensor] = []
    hook = encoder.model.backbone.register_forward_hook(lambda *given: seen.append(given[-1].last_hidden_state))
    [ids] = encoder.token_ids([TEXTS[1]], "document")
    for changed in (ids, [*ids[:-1], ids[-1] - 1], [*ids[:4], ids[4] + 1, *ids[5:]]):
        model = encoder.model
        mask = model._mask(torch.tensor([changed]), torch.tensor([len(ids)]), STEPS)
        with torch.no_grad():
            model.backbone(input_ids=torch.tensor([changed]), attention_mask=mask)
    hook.remove()
    thinking, text = ((seen[0] - other)[0].abs().amax(-1) for other in seen[1:])
    assert thinking[:-1].max() == 0
    assert thinking[-1] > 0
    assert text[0] > 0
    assert text[-STEPS:].min() > 0


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.filterwarnings("ignore")
def test_steps_of_a_decoder_differ_and_do_not_depend_on_the_batch(family: str, tmp_path: Path) -> None:
    folder = save_model(family, DECODERS[family], tmp_path)
    encoder = Encoder.load(folder, device="cpu", thinking_steps=STEPS, max_length=60)
    views = encoder.deliberate(TEXTS)
    assert abs(views - np.concatenate([encoder.deliberate([text]) for text in TEXTS])).max() < 1e-5
    assert (views[1] @ views[1].T - np.eye(STEPS)).max() < 1 - 1e-5


@pytest.mark.parametrize("family", WITHOUT_PREFIX_MASK)
def test_families_without_say_why(family: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=re.escape(WITHOUT_PREFIX_MASK[family])):
        Encoder.load(save_model(family, CONFIGS[family], tmp_path), device="cpu", thinking_steps=2)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([f"<|reserved_special_token_{n}|>" for n in range(20)], "<|reserved_special_token_10|>"),
        ([f"<unused{n}>" for n in range(20)], "<unused10>"),
        ([f"<unused{n}>" for n in range(12)], None),  # too few
    ],
)
def test_reserved_tokens_of_a_vocabulary_are_used(names: list[str], first: str | None) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    assert (reserved_tokens(tokenizer, STEPS) or [None])[0] == first
