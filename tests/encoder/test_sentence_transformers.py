"""What a sentence-transformers folder declares is honoured, or refused by its name before the model is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.encoder.loading.dense import load_head
from debater_search.encoder.loading.sentence_transformer import read_declared
from debater_search.errors import DebaterError
from tests.encoder.conftest import SENTENCE, save_dense, write


@pytest.mark.parametrize(
    ("declared", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["lasttoken"]}, "last"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, "mean_sqrt_len"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": False}, "mean"),
        ({}, "mean"),
    ],
)
def test_pooling_is_read_as_every_release_writes_it(
    sentence_transformer: Callable[..., Path], declared: dict[str, Any], pooling: str
) -> None:
    folder = sentence_transformer()
    write(folder / "1_Pooling" / "config.json", declared)
    assert read_declared(folder).pooling == pooling


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"pooling_mode": ["mean", "cls"]}, r"the pooling mean \+ cls"),
        ({"pooling_mode": "mean+max"}, r"the pooling mean \+ max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_lasttoken": True}, r"the pooling cls \+ last"),
        ({"pooling_mode": "attention"}, "the pooling attention"),
        ({"pooling_mode": 7}, "the pooling 7"),
        ({"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
    ],
)
def test_a_pooling_that_is_not_supported_is_named(
    sentence_transformer: Callable[..., Path], declared: dict[str, Any], named: str
) -> None:
    folder = sentence_transformer()
    write(folder / "1_Pooling" / "config.json", declared)
    with pytest.raises(DebaterError, match=named):
        read_declared(folder)


@pytest.mark.parametrize(
    "module",
    ["BoW", "CLIPModel", "CNN", "LSTM", "LayerNorm", "Router", "StaticEmbedding", "WeightedLayerPooling",
     "WordEmbeddings", "WordWeights", "SpladePooling"],
)  # fmt: skip
def test_a_module_that_is_not_supported_is_named_before_anything_else_is_missed(tmp_path: Path, module: str) -> None:
    write(tmp_path / "modules.json", [{"path": "", "type": f"sentence_transformers.some.module.{module}"}])
    with pytest.raises(DebaterError, match=f"the sentence-transformers module {module}, which is not supported"):
        Encoder.load(tmp_path, device="cpu")


def test_dropout_does_nothing(sentence_transformer: Callable[..., Path]) -> None:
    assert read_declared(sentence_transformer(modules={"3_Dropout": "Dropout"})).layers == []


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        ([("", "Transformer"), ("1_Dense", "Dense")], "has no Pooling: like ColBERT"),
        ([("", "Transformer"), ("1_Normalize", "Normalize")], "has no Pooling: like ColBERT"),
        ([("", "Transformer"), ("1_Pooling", "Pooling"), ("1_Pooling", "Pooling")], "module Pooling"),
        ([("1_Pooling", "Pooling")], "module Pooling"),
        ([], "names no Transformer"),
    ],
)
def test_modules_that_make_no_vector_of_a_text_are_refused(
    sentence_transformer: Callable[..., Path], modules: list[tuple[str, str]], sentence: str
) -> None:
    folder = sentence_transformer()
    save_dense(folder / "1_Dense")
    write(folder / "modules.json", [{"path": path, "type": SENTENCE + kind} for path, kind in modules])
    with pytest.raises(DebaterError, match=sentence):
        read_declared(folder)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("pylate.models.Dense.Dense", "ColBERT folder of pylate"),
        ("custom_st.Transformer", "custom_st.Transformer, whose code is not run"),
        ("Transformer", "module Transformer, whose code is not run"),
        (7, "does not hold a list of modules"),
    ],
)
def test_modules_of_others_are_not_run(tmp_path: Path, kind: object, sentence: str) -> None:
    write(tmp_path / "modules.json", [{"path": "", "type": kind}])
    with pytest.raises(DebaterError, match=sentence):
        read_declared(tmp_path)


@pytest.mark.parametrize("made_as", ["CrossEncoder", "SparseEncoder", "MultiVectorEncoder"])
def test_other_kinds_of_sentence_transformers_are_named(
    sentence_transformer: Callable[..., Path], made_as: str
) -> None:
    with pytest.raises(DebaterError, match=made_as):
        read_declared(sentence_transformer(config_sentence_transformers={"model_type": made_as}))


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"use_residual": True}, "use_residual"),
        ({"module_input_name": "token_embeddings"}, "module_input_name"),
        ({"module_output_name": "token_embeddings"}, "module_output_name"),
        ({"activation_function": "torch.nn.modules.activation.SiLU"}, "SiLU"),
        ({"in_features": "x"}, "does not describe a dense layer"),
    ],
)
def test_a_dense_layer_that_is_not_supported_is_refused_by_the_setting(
    sentence_transformer: Callable[..., Path], declared: dict[str, Any], named: str
) -> None:
    folder = sentence_transformer(modules={"3_Dense": "Dense"})
    save_dense(folder / "3_Dense", **declared)
    with pytest.raises(DebaterError, match=named):
        load_head(read_declared(folder).layers)


def test_a_dense_layer_in_a_pickle_is_refused_by_its_name(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(modules={"3_Dense": "Dense"})
    save_dense(folder / "3_Dense")
    (folder / "3_Dense" / "model.safetensors").rename(folder / "3_Dense" / "pytorch_model.bin")
    with pytest.raises(DebaterError, match=r"3_Dense/pytorch_model\.bin is a pickle"):
        load_head(read_declared(folder).layers)


def test_the_shapes_of_a_dense_layer_need_no_weights(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(modules={"3_Dense": "Dense"})
    save_dense(folder / "3_Dense")
    (folder / "3_Dense" / "model.safetensors").unlink()  # nor does a hub that is asked for shapes only send them
    assert Encoder.load(folder, weights=False).dim == 5


@pytest.mark.parametrize(
    ("settings", "modules", "same"),
    [
        ({"similarity_fn_name": "dot"}, {}, True),  # vectors of length 1
        ({"similarity_fn_name": "euclidean"}, {}, True),
        ({"similarity_fn_name": "cosine"}, {"3_Dense": "Dense"}, True),
        ({"similarity_fn_name": None}, {"3_Dense": "Dense"}, True),
        ({"similarity_fn_name": "dot"}, {"3_Dense": "Dense"}, False),
        ({"similarity_fn_name": "dot", "truncate_dim": 8}, {}, False),
        ({"similarity_fn_name": "manhattan"}, {}, False),
    ],
)
def test_a_similarity_that_ranks_differently_is_refused(
    sentence_transformer: Callable[..., Path], settings: dict[str, Any], modules: dict[str, str], same: bool
) -> None:
    folder = sentence_transformer(config_sentence_transformers=settings, modules=modules)
    save_dense(folder / "3_Dense")
    if same:
        assert read_declared(folder)
    else:
        with pytest.raises(DebaterError, match=f"similarity {settings['similarity_fn_name']}"):
            read_declared(folder)


def test_declared_dimensions_are_kept_and_the_callers_come_first(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(config_sentence_transformers={"truncate_dim": 8})
    cut, shorter = Encoder.load(folder, device="cpu"), Encoder.load(folder, device="cpu", dim=4)
    [vector] = cut.encode_documents(["lift"])
    assert (len(vector), shorter.dim, "dim" in cut.recipe) == (8, 4, False)
    write(folder / "config_sentence_transformers.json", {})
    [whole] = Encoder.load(folder, device="cpu").encode_documents(["lift"])
    assert abs(vector - whole[:8] / np.linalg.norm(whole[:8])).max() < 1e-6


def test_more_dimensions_than_there_are_keep_all(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(config_sentence_transformers={"truncate_dim": 99})
    assert Encoder.load(folder, device="cpu").dim == 32


@pytest.mark.parametrize("dim", [0, -1, "8", 1.5, True])
def test_dimensions_that_are_no_number_are_refused(sentence_transformer: Callable[..., Path], dim: object) -> None:
    with pytest.raises(DebaterError, match="truncate_dim"):
        read_declared(sentence_transformer(config_sentence_transformers={"truncate_dim": dim}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"transformer_task": "sequence-classification"}, "transformer_task"),
        ({"module_output_name": "sentence_embedding"}, "module_output_name"),
        ({"modality_config": {"text": {"method": "get_text_features"}}}, "method"),
        ({"modality_config": {"text": {"method_output_name": "pooler_output"}}}, "method_output_name"),
        ({"modality_config": {"image": {}}}, "modality_config"),
        ({"modality_config": 7}, "modality_config"),
        ({"config_args": {"is_causal": False}}, "is_causal in config_args"),
        ({"model_kwargs": {"trust_remote_code": True, "dtype": "float16"}}, None),
    ],
)
def test_another_way_through_the_transformer_is_refused_by_the_setting(
    sentence_transformer: Callable[..., Path], settings: dict[str, Any], named: str | None
) -> None:
    folder = sentence_transformer(sentence_bert_config=settings)
    if named is None:
        assert read_declared(folder)
    else:
        with pytest.raises(DebaterError, match=named):
            read_declared(folder)


@pytest.mark.parametrize(
    ("settings", "query", "document"),
    [
        ({"prompts": {"query": "q: ", "document": "d: "}}, "q: ", "d: "),
        ({"prompts": {"query": "q: ", "other": "o: "}, "default_prompt_name": "other"}, "q: ", "o: "),
        ({"prompts": {"query": "q: ", "document": None}, "default_prompt_name": None}, "q: ", ""),
        ({"prompts": ["query"], "model_type": None}, "", ""),
    ],
)
def test_prompts_are_declared_by_name_with_a_default(
    sentence_transformer: Callable[..., Path], settings: dict[str, Any], query: str, document: str
) -> None:
    declared = read_declared(sentence_transformer(config_sentence_transformers=settings))
    assert (declared.query_prompt, declared.document_prompt) == (query, document)


@pytest.mark.parametrize("name", ["web", ["web"], 7])
def test_a_default_prompt_that_is_not_there_is_named(sentence_transformer: Callable[..., Path], name: object) -> None:
    settings = {"prompts": {"query": "q: "}, "default_prompt_name": name}
    with pytest.raises(DebaterError, match="default_prompt_name"):
        read_declared(sentence_transformer(config_sentence_transformers=settings))


@pytest.mark.parametrize(
    ("declared", "begins", "ends"),
    [
        ({"add_eos_token": True}, True, True),
        ({"add_eos_token": True, "add_bos_token": True}, True, True),
        ({"add_eos_token": False}, True, False),
        ({}, True, False),
        ({"add_eos_token": True, "eos_token": {"content": "</s>"}}, True, True),
        ({"add_eos_token": True, "eos_token": ["</s>"]}, True, False),
    ],
)
def test_a_decoder_ends_its_texts_where_its_tokenizer_is_told_to(
    tiny_model: Callable[..., Path], tmp_path: Path, declared: dict[str, Any], begins: bool, ends: bool
) -> None:
    folder = decoder(tiny_model, tmp_path, declared)
    [ids] = Encoder.load(folder, device="cpu").token_ids(["lift of a wing"], "document")
    assert (ids[0] == 1, ids[-1] == 2) == (begins, ends)


def decoder(tiny_model: Callable[..., Path], folder: Path, tokenizer: dict[str, Any]) -> Path:
    """A decoder of sentence-transformers that pools its last token; `tokenizer` is added to its tokenizer's config."""
    folder = folder / "decoder"
    shutil.copytree(tiny_model("llama"), folder)
    write(
        folder / "modules.json", [{"path": p, "type": SENTENCE + k} for p, k in (("", "Transformer"), ("1", "Pooling"))]
    )
    write(folder / "1" / "config.json", {"pooling_mode": "lasttoken"})
    before = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    write(folder / "tokenizer_config.json", {**before, **tokenizer})
    return folder


def test_a_tokenizer_that_truncates_on_the_left_keeps_the_end_of_a_text(
    sentence_transformer: Callable[..., Path],
) -> None:
    folder = sentence_transformer(
        sentence_bert_config={"max_seq_length": 8},
        tokenizer_config={"truncation_side": "left"},
        config_sentence_transformers={"prompts": {"query": "a b "}},
    )
    encoder = Encoder.load(folder, device="cpu")
    text = "f g h i j k l m"
    kept, short = encoder.token_ids([text, "l m"], "query")
    assert kept == encoder.token_ids(["h i j k l m"], "document")[0]
    assert kept == encoder.token_ids(["z " * 999 + text], "query")[0]  # of a long text only the end is tokenized
    assert short == encoder.token_ids(["a b l m"], "document")[0]  # what fits keeps its prompt
    assert encoder.fingerprint != Encoder.load(sentence_transformer_cut_right(folder), device="cpu").fingerprint
    encoder.save(folder.parent / "saved")
    assert Encoder.load(folder.parent / "saved", device="cpu").token_ids([text], "query") == [kept]


def sentence_transformer_cut_right(folder: Path) -> Path:
    other = folder.parent / "right"
    shutil.copytree(folder, other)
    write(other / "tokenizer_config.json", {})
    return other


def test_an_adapter_is_the_transformer_of_a_sentence_transformer(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_model("bert"))
    model = get_peft_model(model, LoraConfig(target_modules=["query"], init_lora_weights=False)).eval()
    model.save_pretrained(tmp_path)  # as sentence-transformers saves it: beside modules.json
    write(
        tmp_path / "modules.json",
        [{"path": p, "type": SENTENCE + k} for p, k in (("", "Transformer"), ("1", "Pooling"))],
    )
    write(tmp_path / "1" / "config.json", {"pooling_mode": "max"})
    write(tmp_path / "config_sentence_transformers.json", {"prompts": {"query": "q "}})
    encoder = Encoder.load(tmp_path, base_model=tiny_model("bert"), device="cpu")
    [ids] = encoder.token_ids(["lift"], "query")
    assert ids == encoder.token_ids(["q lift"], "document")[0]
    with torch.no_grad():
        state = model(input_ids=torch.tensor([ids])).last_hidden_state[0].amax(0)
    assert abs(encoder.encode_queries(["lift"])[0] - torch.nn.functional.normalize(state, dim=0).numpy()).max() < 1e-5
