"""`parallel: fsdp`: what each process holds, computes and gathers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModel

from debater_search.encoder import Encoder
from debater_search.encoder.families import native_config
from debater_search.training.parallel import blocks
from tests.training.groups import LORA, ROOT, settings_of, torchrun

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 90}
FAMILIES = {
    "llama": ({}, r"layers.{}"),
    "gpt2": ({"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 90}, r"h.{}"),
    "gpt_neox": ({}, r"layers.{}"),
    "bert": ({}, r"encoder.layer.{}"),
    "mpnet": ({}, r"encoder.layer.{}"),
    "modernbert": ({"pad_token_id": 0}, r"layers.{}"),
    "distilbert": (
        {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "vocab_size": 90},
        r"transformer.layer.{}",
    ),
    "t5": ({"d_model": 32, "d_ff": 48, "num_layers": 3, "num_heads": 4, "vocab_size": 90}, "encoder.block.{}"),
    "xlnet": ({"d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 48, "vocab_size": 90}, r"layer.{}"),
    "falcon": ({}, r"h.{}"),
    "bloom": ({"hidden_size": 32, "n_layer": 3, "n_head": 4, "vocab_size": 90}, r"h.{}"),
    "qwen3_moe": (
        {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
         "moe_intermediate_size": 16},
        r"layers.{}",
    ),
    "mixtral": ({"num_key_value_heads": 2, "num_local_experts": 4}, r"layers.{}"),
}  # fmt: skip
"""Families, what their configs need beside `SMALL`, and the names of their blocks."""


@pytest.mark.parametrize("family", FAMILIES)
def test_the_blocks_of_every_family_are_found(family: str) -> None:
    more, name = FAMILIES[family]
    values = {"model_type": family, **({} if {"n_layer", "n_layers", "num_layers"} & {*more} else SMALL), **more}
    with torch.device("meta"):
        model = AutoModel.from_config(native_config(values))
    names = {module: name for name, module in model.named_modules()}
    found = [names[block] for block in blocks(model)]
    assert found[:3] == [name.format(number) for number in range(3)]
    assert len(found) == (6 if family == "t5" else 3)  # T5 has a decoder, too


def test_blocks_are_found_below_an_adapter_and_a_layer_that_stands_in_several_places_once() -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(native_config({"model_type": "llama", **SMALL}))
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
        again = torch.nn.ModuleList([model.layers[0], model.layers[0]])
    assert blocks(adapted) == list(model.layers)
    assert blocks(torch.nn.Sequential(again)) == [model.layers[0]]


def test_a_model_that_will_be_spread_stays_in_memory_and_computes_as_on_its_device(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    encoder = Encoder.load(tiny_model("llama"), device="cuda:0", placed=False)
    assert {parameter.device.type for parameter in encoder.model.parameters()} == {"cpu"}
    assert (encoder.device, encoder.dtype) == (torch.device("cuda:0"), "bfloat16")


@pytest.fixture(scope="module")
def facts(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What two processes say of themselves, with an adapter and with full weights."""
    folder = tmp_path_factory.mktemp("sharded")
    rows = [{"query": f"what {n}", "positive": "x " * (1 + 7 * n), "negative": "y"} for n in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    jobs = {
        name: settings_of(
            {"lora": lora, "parallel": "fsdp"}, folder / "rows.jsonl", tiny_model("gpt2"), batch_size=5, seed=3
        )
        for name, lora in (("adapter", LORA), ("full", None))
    }
    (folder / "jobs.json").write_text(json.dumps(jobs))
    torchrun(2, str(ROOT / "tests" / "training" / "sharded.py"), str(folder))

    def of(name: str) -> dict[str, Any]:
        """What the checkpoints hold: bytes of the first with its moments, and the weights of all by their names."""
        first = folder / name / "checkpoint-1"
        moments = sum(tensor.nbytes for tensor in load_file(first / "optimizer.safetensors").values())
        made = {made: folder / name / made for made in ("checkpoint-1", "checkpoint-2", "mean")}
        weights = {name: load_file(next(place.glob("*model.safetensors"))) for name, place in made.items()}
        saved = moments + sum(tensor.nbytes for tensor in weights["checkpoint-1"].values())
        return {"saved": saved, "weights": weights}

    return {
        name: [json.loads((folder / f"{name}-{rank}.json").read_text()) | of(name) for rank in range(2)]
        for name in jobs
    }


@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_each_process_holds_its_share_and_none_is_given_the_whole(facts: dict[str, Any], kind: str) -> None:
    for process in facts[kind]:
        assert process["placed"] == 0
        assert process["held"] == pytest.approx(process["all"] / 2, rel=0.02)


@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_processes_of_unlike_batches_make_as_many_passes_and_one_of_a_kind_without_a_cache(
    facts: dict[str, Any], kind: str
) -> None:
    first, second = facts[kind]
    assert first["own"][0] != second["own"][0]
    most = max(first["own"][0], second["own"][0])
    assert first["passes"] == second["passes"] == [2 * most, 2]  # those with a cache are made twice


@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_a_checkpoint_gathers_what_it_saves_and_the_first_process_alone_keeps_it(
    facts: dict[str, Any], kind: str
) -> None:
    first, second = facts[kind]
    steps = 4 * 60  # a counter for each parameter, at most
    assert first["learns"] <= first["all"] / (4 if kind == "adapter" else 1)
    assert first["kept"] == first["saved"] == pytest.approx(3 * first["learns"], abs=steps)  # with both moments
    assert second["kept"] == 0
    assert first["gathered"] == second["gathered"] <= first["saved"]


@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_weights_that_processes_share_are_averaged_with_a_checkpoint(facts: dict[str, Any], kind: str) -> None:
    first, second, mean = (facts[kind][0]["weights"][made] for made in ("checkpoint-1", "checkpoint-2", "mean"))
    assert first.keys() == second.keys() == mean.keys()
    assert any(not torch.allclose(first[name], second[name], atol=1e-2) for name in first)
    for name, tensor in mean.items():
        assert torch.allclose(tensor, (first[name] + second[name]) / 2, atol=1e-6), name
