"""Rerankers against plain transformers; what would score at random, run code or read a pickle is refused."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from debater_search.encoder import Reranker
from debater_search.errors import DamagedError, DebaterError, InvalidError, MissingError
from tests.rerankers import TEMPLATE, save_bert, save_qwen3

QUERY = "how does a wing stall"
TEXTS = [
    "a wing stalls",
    "",
    "the boundary layer leaves a wing at a high angle of attack " * 4,
    "no",
    "heat",
    "a b c d e",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen3(tmp_path_factory.mktemp("models") / "qwen3", causal=True)


@torch.inference_mode()
def test_a_classifier_scores_as_in_transformers_alone_and_in_batches(bert: Path) -> None:
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(bert).eval(),
        AutoTokenizer.from_pretrained(bert),
    )
    expected = [
        model(
            **tokenizer([QUERY], [text], truncation="longest_first", max_length=64, return_tensors="pt")
        ).logits.item()
        for text in TEXTS
    ]
    reranker = Reranker.load(bert, device="cpu")
    scores = reranker.score(QUERY, TEXTS)
    assert scores.dtype == np.float32
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert np.std(scores) > 0.001
    for tokens in (1, 40, 100):
        assert reranker.score(QUERY, TEXTS, batch_tokens=tokens) == pytest.approx(scores, abs=1e-5)
    assert reranker.score(QUERY, []).shape == (0,)


@torch.inference_mode()
def test_a_causal_model_scores_by_yes_against_no(qwen3: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(qwen3).eval(), AutoTokenizer.from_pretrained(qwen3)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    short = [text for text in TEXTS if len(text) < 50]
    expected = []
    for text in short:
        prompt = TEMPLATE.partition("{%")[0] + f"Query: {QUERY} Document: {text} Answer: "
        logits = model(**tokenizer(prompt, add_special_tokens=False, return_tensors="pt")).logits[0, -1]
        expected.append((logits[yes] - logits[no]).item())
    scores = Reranker.load(qwen3, device="cpu").score(QUERY, short)
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert np.std(scores) > 0.001


@torch.inference_mode()
@pytest.mark.parametrize("pad_token", ["<unk>", None])
def test_a_decoder_with_a_head_scores_its_last_token_with_and_without_a_pad_token(
    tmp_path: Path, pad_token: str | None
) -> None:
    folder = save_qwen3(tmp_path / "model", causal=False, pad_token=pad_token)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    expected = [model.eval()(**tokenizer([QUERY], [text], return_tensors="pt")).logits.item() for text in TEXTS]
    assert Reranker.load(folder, device="cpu").score(QUERY, TEXTS).tolist() == pytest.approx(expected, abs=1e-5)


def test_threads_may_share_a_reranker(bert: Path) -> None:
    reranker = Reranker.load(bert, device="cpu")
    alone = reranker.score(QUERY, TEXTS)
    with ThreadPoolExecutor(8) as threads:
        for scores in threads.map(lambda _: reranker.score(QUERY, TEXTS), range(24)):
            assert (scores == alone).all()


def test_pairs_are_cut_to_the_length_and_a_huge_text_costs_no_more_than_a_long_one(bert: Path) -> None:
    reranker = Reranker.load(bert, device="cpu", max_length=16)
    short, huge = reranker.score(QUERY, ["wing " * 16, "wing " * 2_000_000])
    assert short == pytest.approx(huge, abs=1e-5)
    assert Reranker.load(bert, device="cpu").max_length == 64
    assert reranker.fingerprint != Reranker.load(bert, device="cpu").fingerprint


def test_the_fingerprint_is_of_contents_wherever_they_lie(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "copy")
    assert Reranker.load(tmp_path / "copy").fingerprint == Reranker.load(bert).fingerprint
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert Reranker.load(tmp_path / "copy").fingerprint != Reranker.load(bert).fingerprint


def test_a_folder_of_sentence_transformers_scores_as_the_plain_one(qwen3: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(qwen3), device="cpu").save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "modules.json").is_file()
    scores = Reranker.load(tmp_path / "saved", device="cpu").score(QUERY, TEXTS)
    assert scores == pytest.approx(Reranker.load(qwen3, device="cpu").score(QUERY, TEXTS), abs=1e-6)


def no_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def no_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = torch.tensor([float("nan")])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def bi_encoder(folder: Path) -> None:
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules.append({"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
    (folder / "modules.json").write_text(json.dumps(modules))


def own_code(folder: Path) -> None:
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "modeling_own.Scorer"}]))


def truncated(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("break_it", "kind", "message"),
    [
        (no_head, InvalidError, "no head that scores a pair"),
        (no_layer, DamagedError, "lack 1 tensors"),
        (pickled, InvalidError, "is a pickle"),
        (not_finite, InvalidError, "not finite"),
        (bi_encoder, InvalidError, "makes vectors"),
        (own_code, InvalidError, "code is not run"),
        (truncated, DamagedError, "cannot be read"),
        (adapter, InvalidError, "is an adapter"),
    ],
)
def test_what_would_score_at_random_or_run_code_is_refused(
    bert: Path, tmp_path: Path, break_it: Callable[[Path], None], kind: type[DebaterError], message: str
) -> None:
    shutil.copytree(bert, tmp_path / "model")
    break_it(tmp_path / "model")
    with pytest.raises(kind, match=message):
        Reranker.load(tmp_path / "model", device="cpu")


def test_classifiers_of_several_labels_encoders_and_causal_models_without_answers_are_refused(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidError, match="3 labels"):
        Reranker.load(save_bert(tmp_path / "three", num_labels=3))
    with pytest.raises(InvalidError, match="no head that scores a pair"):
        Reranker.load(tiny_model("bert"))
    with pytest.raises(InvalidError, match="has no token 'yes'"):
        Reranker.load(save_qwen3(tmp_path / "mute", causal=True, answers=False))
    with pytest.raises(MissingError, match="no model 'nothing-here'"):
        Reranker.load("nothing-here")


def test_a_chat_template_without_the_two_roles_is_refused(qwen3: Path, tmp_path: Path) -> None:
    shutil.copytree(qwen3, tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").write_text(
        (qwen3 / "tokenizer_config.json").read_text().replace("'query'", "'user'").replace("'document'", "'assistant'")
    )
    with pytest.raises(InvalidError, match="cannot score a query and a text"):
        Reranker.load(tmp_path / "model", device="cpu")


def test_impossible_arguments_are_refused(bert: Path) -> None:
    with pytest.raises(InvalidError, match="int8"):
        Reranker.load(bert, dtype="int8")
    with pytest.raises(InvalidError, match="max_length=0"):
        Reranker.load(bert, max_length=0)
