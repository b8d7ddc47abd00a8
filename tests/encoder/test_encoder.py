"""What every encoder promises: order, norm, and vectors that do not depend on the company they were encoded in."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder
from debater_search.encoder.model import prefix_mask
from debater_search.errors import DebaterError
from debater_search.progress import Progress
from debater_search.types import Document

FAMILIES = [("llama", 1), ("llama", 8), ("qwen2", 4), ("minicpm3", 8), ("gemma2", 8), ("bert", 1), ("bert", 8)]


def texts_of_all_lengths(limit: int) -> list[str]:
    return ["wing " * n for n in (0, 1, 7, limit // 2, limit, 3 * limit, 2, 40)] + ["机翼升力" * limit, "a b c"]


def load(make: Callable[..., Path], family: str, steps: int) -> Encoder:
    length = 60 if family == "bert" else 128
    return Encoder.load(make(family), thinking_steps=steps, max_length=length, device="cpu")


@pytest.mark.parametrize(("family", "steps"), FAMILIES)
def test_vectors_do_not_depend_on_the_batch(tiny_model: Callable[..., Path], family: str, steps: int) -> None:
    encoder = load(tiny_model, family, steps)
    texts = texts_of_all_lengths(encoder.spec.document_length)
    together = encoder.deliberate(texts)
    assert together.shape == (len(texts), steps, encoder.dim)
    assert together.dtype == np.float32
    alone = np.concatenate([encoder.deliberate([text]) for text in texts])
    assert abs(together - alone).max() < 1e-5
    assert abs(together - encoder.deliberate(texts, batch_tokens=64)).max() < 1e-5
    assert abs(np.linalg.norm(together, axis=-1) - 1).max() < 1e-5
    queries = encoder.encode_queries(texts)
    assert abs(queries - np.concatenate([encoder.encode_queries([text]) for text in texts])).max() < 1e-5


@pytest.mark.parametrize(("family", "steps"), [f for f in FAMILIES if f[1] > 1])
def test_a_thinking_step_never_sees_a_later_one(tiny_model: Callable[..., Path], family: str, steps: int) -> None:
    encoder = load(tiny_model, family, steps)
    sequences = encoder.token_ids(["the lift of a wing", "drag"], "document")
    changed = [[*ids[:-1], ids[0]] for ids in sequences]
    before, after = encoder.views(sequences, "document"), encoder.views(changed, "document")
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


@pytest.mark.parametrize(("family", "steps"), [f for f in FAMILIES if f[1] > 1])
def test_thinking_steps_of_an_untrained_start_differ(tiny_model: Callable[..., Path], family: str, steps: int) -> None:
    views = load(tiny_model, family, steps).deliberate(["the lift of a wing"])[0]
    assert (views @ views.T)[~np.eye(steps, dtype=bool)].max() < 0.9999


def test_text_of_a_bidirectional_model_does_not_see_thinking_tokens(tiny_model: Callable[..., Path]) -> None:
    plain, thinking = load(tiny_model, "bert", 1), load(tiny_model, "bert", 8)
    [ids] = plain.token_ids(["lift of a wing"], "document")
    [with_steps] = thinking.token_ids(["lift of a wing"], "document")
    assert with_steps[:-8] == ids
    tokens = torch.tensor([with_steps])
    lengths = torch.tensor([len(with_steps)])
    real = torch.ones_like(tokens, dtype=torch.bool)
    states = thinking.model.backbone(input_ids=tokens, attention_mask=prefix_mask(real, lengths, 8)).last_hidden_state
    base = plain.model.backbone(input_ids=tokens[:, :-8]).last_hidden_state
    assert torch.allclose(states[:, :-8], base, atol=1e-5)


def test_prefix_mask_is_the_one_drawn_by_hand() -> None:
    real = torch.tensor([[True, True, True, True, False]])
    mask = prefix_mask(real, torch.tensor([4]), 2)[0, 0].int().tolist()
    assert mask[:4] == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]


def test_eager_attention_gives_the_same_vectors(tiny_model: Callable[..., Path]) -> None:
    texts = ["lift of a wing", "drag", ""]
    vectors = [
        Encoder.load(tiny_model("bert"), thinking_steps=8, max_length=60, attention=kind, device="cpu").deliberate(
            texts
        )
        for kind in ("sdpa", "eager")
    ]
    assert abs(vectors[0] - vectors[1]).max() < 1e-5


def test_documents_are_read_as_title_and_text(tiny_model: Callable[..., Path]) -> None:
    encoder = load(tiny_model, "llama", 1)
    by_parts = encoder.encode_documents([Document("1", title="wings", text="and lift"), Document("2", text="drag")])
    assert np.array_equal(by_parts, encoder.encode_documents(["wings and lift", "drag"]))


def test_a_deliberating_document_is_stripped_as_published(tiny_model: Callable[..., Path]) -> None:
    encoder = load(tiny_model, "llama", 8)
    assert encoder.token_ids([" lift \n"], "document") == encoder.token_ids(["lift"], "document")


def test_an_instruction_that_fills_the_query_is_said(
    tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load(tiny_model, "llama", 1)
    encoder.encode_queries(["lift"], instruction="find:")
    assert not caplog.text
    encoder.encode_queries(["lift"], instruction="find " * 512)
    assert "the query itself is not read" in caplog.text


def test_keys_and_values_are_not_kept(tiny_model: Callable[..., Path]) -> None:
    assert "past_key_values" not in load(tiny_model, "llama", 1).model.backbone(input_ids=torch.tensor([[1, 5, 6]]))


def test_a_model_that_declares_no_padding_as_minus_one_encodes_texts_of_any_length(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_model("llama"), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "pad_token_id": -1}))
    encoder = Encoder.load(tmp_path / "model", device="cpu")
    assert np.isfinite(encoder.encode_documents(["lift", "lift of a wing"])).all()


def test_no_texts_give_no_vectors(tiny_model: Callable[..., Path]) -> None:
    assert load(tiny_model, "llama", 8).deliberate([]).shape == (0, 8, 32)


def test_a_text_that_is_not_valid_unicode_is_encoded(tiny_model: Callable[..., Path]) -> None:
    assert np.isfinite(load(tiny_model, "llama", 1).encode_documents(["half a pair: \ud83d"])).all()


@pytest.mark.parametrize(("family", "steps"), [("bert", 8), ("llama", 8)])
def test_a_saved_encoder_is_the_same_encoder(
    tiny_model: Callable[..., Path], tmp_path: Path, family: str, steps: int
) -> None:
    encoder = load(tiny_model, family, steps)
    encoder.save(tmp_path / "checkpoint")
    again = Encoder.load(tmp_path / "checkpoint", device="cpu")
    texts = ["lift", "", "wing " * 200]
    assert abs(encoder.deliberate(texts) - again.deliberate(texts)).max() < 1e-6
    assert abs(encoder.encode_queries(texts) - again.encode_queries(texts)).max() < 1e-6
    early = Encoder.load(tmp_path / "checkpoint", thinking_steps=2, device="cpu")
    assert abs(early.deliberate(texts) - again.deliberate(texts)[:, :2]).max() < 1e-5


def test_the_fingerprint_follows_weights_template_and_lengths(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny_model("llama")
    plain = Encoder.load(folder, device="cpu")
    assert plain.fingerprint == Encoder.load(folder, device="cpu").fingerprint
    others = [
        Encoder.load(folder, thinking_steps=8, device="cpu"),
        Encoder.load(folder, max_length=99, device="cpu"),
    ]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights["norm.weight"] = weights["norm.weight"] + 1e-3
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    others.append(Encoder.load(tmp_path, device="cpu"))
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_the_recipe_makes_the_encoder_again(minicpm_adapter: Path, minicpm_base: Path) -> None:
    encoder = Encoder.load(minicpm_adapter, base_model=minicpm_base, thinking_steps=2, max_length=300, device="cpu")
    again = Encoder.load(**json.loads(json.dumps(encoder.recipe)), device="cpu")
    assert again.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("steps", [0, -1, 9])
def test_impossible_steps_are_refused(minicpm_adapter: Path, minicpm_base: Path, steps: int) -> None:
    with pytest.raises(DebaterError, match="thinking_steps"):
        Encoder.load(minicpm_adapter, base_model=minicpm_base, thinking_steps=steps, device="cpu")


def test_a_length_beyond_the_models_positions_is_refused(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(DebaterError, match="max_length=65"):
        Encoder.load(tiny_model("bert"), device="cpu").parts.with_lengths(query=65, document=64)
    with pytest.raises(DebaterError, match="max_length"):
        Encoder.load(tiny_model("bert"), max_length=65, device="cpu")


@pytest.mark.parametrize(
    ("argument", "value"), [("device", "quantum"), ("dtype", "float8"), ("device", "cuda:99"), ("attention", "divided")]
)
def test_an_unknown_device_or_dtype_is_refused(tiny_model: Callable[..., Path], argument: str, value: str) -> None:
    with pytest.raises(DebaterError, match=value):
        Encoder.load(tiny_model("llama"), **{argument: value})


def test_a_callers_progress_line_moves_with_the_batches(tiny_model: Callable[..., Path]) -> None:
    bar = Progress("Encoding", 5, "documents", enabled=False)
    load(tiny_model, "llama", 1).encode_documents(["lift"] * 5, batch_tokens=8, progress=bar)
    assert bar.done == 5


@pytest.mark.parametrize("name", ["spec", "model", "dim", "fingerprint", "views", "anything"])
def test_an_encoder_cannot_be_changed(tiny_model: Callable[..., Path], name: str) -> None:
    encoder = load(tiny_model, "llama", 1)
    with pytest.raises(AttributeError, match=f"immutable: {name}"):
        setattr(encoder, name, None)
    with pytest.raises(AttributeError, match=f"immutable: {name}"):
        delattr(encoder, name)
    with pytest.raises(FrozenInstanceError):
        encoder.parts.spec = None  # type: ignore[misc,assignment]


def out_of_memory_above(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A device on which forward passes of more than `limit` padded tokens fail; returns the sizes of the others."""
    views, sizes = Encoder.views, []

    def limited(self: Encoder, sequences: list[list[int]], kind: str) -> torch.Tensor:
        size = len(sequences) * max(map(len, sequences))
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(size)
        return views(self, sequences, kind)

    monkeypatch.setattr(Encoder, "views", limited)
    return sizes


@pytest.mark.parametrize(
    ("wrong", "said"), [(0, "must be 1 or more, not 0"), (-1, "must be 1 or more"), (1.5, "is 1.5, not a whole number")]
)
def test_batch_tokens_are_a_whole_number_above_0(tiny_model: Callable[..., Path], wrong: Any, said: str) -> None:
    encoder = load(tiny_model, "llama", 1)
    for encode in (encoder.encode_queries, encoder.encode_documents, encoder.deliberate):
        with pytest.raises(DebaterError, match=f"`batch_tokens` {said}"):
            encode(["lift"], batch_tokens=wrong)


def test_an_instruction_is_a_text_and_lengths_are_whole_numbers(tiny_model: Callable[..., Path]) -> None:
    wrong: Any = 5
    with pytest.raises(DebaterError, match="`instruction` is 5, not a text"):
        load(tiny_model, "llama", 1).encode_queries(["lift"], instruction=wrong)
    for argument in ("max_length", "thinking_steps"):
        with pytest.raises(DebaterError, match=f"`{argument}` is 'x', not a whole number"):
            Encoder.load(tiny_model("llama"), **{argument: "x"})


def test_a_batch_that_does_not_fit_is_halved_and_that_is_said(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load(tiny_model, "llama", 1)
    texts = [f"{'wing ' * 20}{i}" for i in range(40)]
    wanted = encoder.encode_documents(texts)
    sizes = out_of_memory_above(200, monkeypatch)
    assert abs(encoder.encode_documents(texts, batch_tokens=800) - wanted).max() < 1e-5
    assert "Out of memory on cpu: continuing with batches of" in caplog.text
    assert len(caplog.records) <= 3  # what did not fit once is not tried again
    assert max(sizes) <= 200


def test_a_text_too_large_for_the_device_is_said(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(tiny_model, "llama", 1)
    out_of_memory_above(10, monkeypatch)
    with pytest.raises(DebaterError, match="needs more memory than cpu has"):
        encoder.encode_documents(["wing " * 50])


def test_a_calibration_chooses_what_fits_and_is_fastest(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(tiny_model, "llama", 1)
    sizes = out_of_memory_above(1100, monkeypatch)
    assert encoder.calibrate(["wing " * 20] * 9) in (512, 1024)
    assert max(sizes) <= 1100


def test_equal_texts_are_computed_once(tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(tiny_model, "llama", 8)
    texts = ["lift", "drag", "lift", "wing", "drag", "lift"]
    wanted = np.concatenate([encoder.deliberate([text]) for text in texts])
    sizes = out_of_memory_above(10**9, monkeypatch)
    bar = Progress("Encoding", 6, "documents", enabled=False)
    assert abs(encoder.deliberate(texts, batch_tokens=1, progress=bar) - wanted).max() < 1e-5
    assert len(sizes) == 3
    assert bar.done == 6


def test_windows_come_back_in_order(tiny_model: Callable[..., Path]) -> None:
    encoder = load(tiny_model, "llama", 1)
    taken = []

    def windows() -> Iterator[list[str]]:
        for texts in (["lift", "drag"], [], ["wing"]):
            taken.append(texts)
            yield texts

    bar = Progress("Encoding", 3, "documents", enabled=False)
    found = list(encoder.deliberate_windows(windows(), progress=bar))
    assert [len(views) for views in found] == [2, 0, 1]
    assert abs(np.concatenate(found) - encoder.deliberate(["lift", "drag", "wing"])).max() < 1e-5
    assert len(taken) == 3
    assert re.fullmatch(r"[\d,]+ tokens/s · \d+% padding", bar.facts)


def test_cut_vectors_are_the_first_numbers_normalised_again(tiny_model: Callable[..., Path]) -> None:
    whole, cut = (Encoder.load(tiny_model("llama"), thinking_steps=4, dim=dim, device="cpu") for dim in (None, 8))
    texts = ["lift", "drag of a wing"]
    for method in ("deliberate", "encode_documents", "encode_queries"):
        wanted = getattr(whole, method)(texts)[..., :8]
        wanted /= np.linalg.norm(wanted, axis=-1, keepdims=True)
        np.testing.assert_allclose(getattr(cut, method)(texts), wanted, atol=1e-6)
    assert (cut.dim, whole.dim) == (8, 32)


def test_a_cut_encoder_is_another_encoder_that_its_recipe_makes_again(tiny_model: Callable[..., Path]) -> None:
    whole, cut = (Encoder.load(tiny_model("llama"), dim=dim, device="cpu") for dim in (None, 8))
    assert cut.fingerprint != whole.fingerprint
    assert Encoder.load(**cut.recipe, device="cpu").fingerprint == cut.fingerprint
    assert Encoder.load(tiny_model("llama"), dim=32, device="cpu").fingerprint == whole.fingerprint


@pytest.mark.parametrize("dim", [0, -1, 33])
def test_vectors_are_not_cut_to_more_than_they_hold(tiny_model: Callable[..., Path], dim: int) -> None:
    with pytest.raises(DebaterError, match="have 32 dimensions"):
        Encoder.load(tiny_model("llama"), dim=dim, device="cpu")
