"""Every family of models gives the vectors of plain transformers, whatever else is in the batch."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.encoder.families import is_causal, native_config
from debater_search.encoder.loading.backbone import require_states
from debater_search.errors import DebaterError
from tests.conftest import GOLDENS, REPOSITORY, save_wordpiece

TEXTS = ["lift", "the lift of a wing in a propeller slipstream and the heat that flows over it", "", "boundary layer"]

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
LOW_RANK = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
OLDER = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": GROUPED,
    "qwen3_moe": {**GROUPED, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2},
    "mistral": {**GROUPED, "sliding_window": 8},
    "mixtral": {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    **dict.fromkeys(("gemma", "glm", "olmo2", "smollm3", "stablelm", "starcoder2"), GROUPED),
    "granite": {**GROUPED, "residual_multiplier": 0.3},
    "gemma2": {**GROUPED, "sliding_window": 8},
    "gemma3_text": {**GROUPED, "sliding_window": 8},
    "phi": SMALL,
    "phi3": {**SMALL, "num_key_value_heads": 2, "sliding_window": 8},
    "gpt2": OLDER,
    "gpt_neox": SMALL,
    "gptj": {**OLDER, "rotary_dim": 8},
    "gpt_bigcode": OLDER,
    "opt": {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": SMALL,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "minicpm3": {**SMALL, "num_key_value_heads": 4, **LOW_RANK},
}
READ_BOTH_WAYS: dict[str, dict[str, Any]] = {
    **{
        f"{family} both ways": {**DECODERS[family], "is_causal": False}
        for family in ("llama", "qwen2", "mistral", "gpt2")
    },
    "gemma3_text both ways": {**DECODERS["gemma3_text"], "use_bidirectional_attention": True},
}
ENCODERS: dict[str, dict[str, Any]] = {
    **{name: {**SMALL, "max_position_embeddings": 64} for name in ("bert", "electra", "nomic_bert", "bert-generation")},
    **{name: {**SMALL, "max_position_embeddings": 66} for name in ("roberta", "xlm-roberta", "mpnet")},
    "modernbert": {**SMALL, "global_attn_every_n_layers": 2, "local_attention": 8},
    "eurobert": {**SMALL, "num_key_value_heads": 4},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_position_embeddings": 64},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
}  # fmt: skip


def save_model(family: str, config: dict[str, Any], folder: Path) -> Path:
    """A random model of a family, with the goldens' tokenizer (decoders) or a word-piece one."""
    from transformers import AutoModel

    decoder = family in DECODERS
    sizes = {"vocab_size": 1156, "eos_token_id": 2} if decoder else {"vocab_size": 200}
    torch.manual_seed(0)
    model = AutoModel.from_config(native_config({"model_type": family, **sizes, **config}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if decoder:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((GOLDENS / "tiny_minicpm" / "base" / name).read_bytes())
    else:
        save_wordpiece(folder)
    return folder


def by_hand(folder: Path, encoder: Encoder) -> np.ndarray:
    """Vectors of `TEXTS` by transformers alone, one by one, read as the encoder says it reads them."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    vectors = []
    for ids in encoder.token_ids(TEXTS, "document"):
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vectors.append(states[-1] if encoder.spec.document_pooling == "last" else states.mean(0))
    return torch.nn.functional.normalize(torch.stack(vectors), dim=-1).numpy()


@pytest.mark.parametrize("name", [*DECODERS, *READ_BOTH_WAYS, *ENCODERS])
@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_plain_transformers_whatever_else_is_in_the_batch(name: str, tmp_path: Path) -> None:
    config = {**DECODERS, **READ_BOTH_WAYS, **ENCODERS}[name]
    folder = save_model(name.split()[0], config, tmp_path)
    encoder = Encoder.load(folder, device="cpu")
    vectors = encoder.encode_documents(TEXTS)
    alone = np.vstack([encoder.encode_documents([text]) for text in TEXTS])
    assert abs(vectors - alone).max() < 1e-5
    assert (vectors * by_hand(folder, encoder)).sum(1).min() > 1 - 1e-5
    assert encoder.model.causal == (name in DECODERS)


@pytest.mark.parametrize("name", ["llama both ways", "bert-generation"])
def test_a_bidirectional_models_first_token_sees_the_last(name: str, tmp_path: Path) -> None:
    folder = save_model(name.split()[0], {**READ_BOTH_WAYS, **ENCODERS}[name], tmp_path)
    encoder = Encoder.load(folder, device="cpu", pooling="cls")
    one, other = encoder.encode_documents(["the lift of a wing", "the lift of a plate"])
    assert abs(one - other).max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_decoder_with_a_table_of_positions_reads_no_further(family: str, tmp_path: Path) -> None:
    encoder = Encoder.load(save_model(family, DECODERS[family], tmp_path), device="cpu")
    assert np.isfinite(encoder.encode_documents(["lift " * 200])).all()
    with pytest.raises(DebaterError, match="max_length=65"):
        Encoder.load(tmp_path, device="cpu", max_length=65)


@pytest.mark.parametrize(
    ("family", "declared", "causal"),
    [
        ("llama", {}, True),
        ("llama", {"is_causal": None}, True),
        ("llama", {"is_causal": False}, False),
        ("minicpm", {"is_causal": False, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}, False),
        ("gemma3_text", {"use_bidirectional_attention": True}, False),
        ("gemma4_text", {"use_bidirectional_attention": "all"}, False),
        ("gemma4_text", {"use_bidirectional_attention": "vision"}, True),
        ("bert-generation", {"is_decoder": True}, True),
        ("xlnet", {"attn_type": "uni"}, True),
        ("gpt_neox", {"is_decoder": False}, True),
        ("bert", {"is_causal": True}, False),
    ],
)
def test_whether_tokens_see_later_ones_is_what_the_config_declares(family: str, declared: dict, causal: bool) -> None:
    assert is_causal(native_config({"model_type": family, **declared})) == causal


@pytest.mark.parametrize(("family", "declared"), [("llama", None), ("bert", True)])
def test_a_causality_that_says_nothing_new_changes_nothing(family: str, declared: bool | None, tmp_path: Path) -> None:
    folder = save_model(family, {**DECODERS, **ENCODERS}[family], tmp_path)
    path = folder / "config.json"
    vectors = Encoder.load(folder, device="cpu").encode_documents(TEXTS)
    path.write_text(json.dumps({**json.loads(path.read_text()), "is_causal": declared}))
    for attention in ("sdpa", "eager"):
        encoder = Encoder.load(folder, device="cpu", attention=attention)
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert abs(encoder.encode_documents([text])[0] - vector).max() < 1e-5


@pytest.mark.parametrize("declared", ["false", 0, 1, []])
def test_a_causality_that_is_neither_true_nor_false_is_refused(declared: object) -> None:
    with pytest.raises(DebaterError, match="is_causal"):
        native_config({"model_type": "llama", "is_causal": declared})


@pytest.mark.parametrize(
    ("family", "sentence"),
    [
        ("t5", "a T5Model (type 't5'), which is not supported: it is an encoder-decoder"),
        ("bart", "(type 'bart'), which is not supported: it is an encoder-decoder"),
        ("dpr", "a DPRQuestionEncoder (type 'dpr'), which is not supported: it gives no state of each token"),
        ("clip", "(type 'clip'), which is not supported"),
        ("vit", "(type 'vit'), which is not supported"),
        ("wav2vec2", "(type 'wav2vec2'), which is not supported"),
        ("qwen2_vl", "reads more than text"),
        ("fnet", "takes no mask for padding"),
    ],
)
def test_a_model_that_is_no_encoder_of_text_is_refused_by_its_type(family: str, sentence: str) -> None:
    with pytest.raises(DebaterError, match=re.escape(sentence)):
        require_states(native_config({"model_type": family}), Path("folder"))


@pytest.mark.parametrize("weights", [True, False])
def test_an_encoder_decoder_is_refused_before_its_weights_are_looked_at(tmp_path: Path, weights: bool) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "t5", "architectures": ["T5EncoderModel"], "is_encoder_decoder": False})
    )
    with pytest.raises(DebaterError, match="encoder-decoder"):
        Encoder.load(tmp_path, device="cpu", weights=weights)


def test_the_table_of_families_is_the_tests() -> None:
    from docs.reference import families  # it reads this module's tables

    page = REPOSITORY / "docs" / "site" / "reference" / "families.md"
    assert page.read_text(encoding="utf-8") == families.table(), "run: make reference"
