"""The trainer from config to checkpoint, on random models of a few thousand parameters."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.training import (
    DeliberationLoss,
    is_released_config,
    load_config,
    train,
    translate_released_config,
)
from debater_search.training.adapter import make_trainable, projections
from debater_search.training.batches import TrainingData
from debater_search.training.settings import Lora, TrainingSettings
from debater_search.training.steps import train_step
from debater_search.training.trainer import Run

WORDS = ["wing", "lift", "drag", "heat", "flow", "jet", "shock", "wake", "mach", "rotor", "blade", "skin"]


@pytest.fixture
def config(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., TrainingSettings]:
    """Settings for a short run on twelve one-word topics."""
    rows = [{"query": f"what of {w}", "positive": f"{w} {w} {'x' * (n % 5)}", "negative": WORDS[n - 1]}
            for n, w in enumerate(WORDS)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def make(family: str = "bert", **more: object) -> TrainingSettings:
        values = {
            "model": str(tiny_model(family)),
            "thinking_steps": 3,
            "data": [{"path": str(tmp_path / "rows.jsonl")}],
            "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
            "max_length": {"query": 32, "document": 60},
            "batch_size": 6,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "max_steps": 6,
            "save_steps": 2,
            "output": str(tmp_path / "out"),
            **more,
        }
        return TrainingSettings.model_validate(values)

    return make


def metrics(folder: Path, phase: str = "training") -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["phase"] == phase]


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_training_lowers_the_loss(config: Callable[..., TrainingSettings], family: str) -> None:
    folder = train(config(family, max_steps=40, save_steps=100, lora={"r": 8, "alpha": 16, "dropout": 0}))
    losses = [row["loss"] for row in metrics(folder)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_run_leaves_checkpoint_metrics_and_picture(config: Callable[..., TrainingSettings]) -> None:
    settings = config(warm_start={"steps": 2, "batch_size": 4})
    folder = train(settings)
    assert {"debater.json", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-0", "checkpoint-2", "checkpoint-4"]
    assert len(metrics(folder, "warm start")) == 2
    row = metrics(folder)[-1]
    assert {"step", "contrast", "distill", "learning_rate", "examples/s", "tokens/s"} <= set(row)
    made_by = json.loads((folder / "debater.json").read_text())["provenance"]
    assert made_by["config"]["learning_rate"] == settings.learning_rate
    assert made_by["step"] == 6
    assert set(made_by) == {"config", "data", "versions", "step"}


def test_the_rate_rises_and_decays_over_the_steps_really_run(config: Callable[..., TrainingSettings]) -> None:
    rates = [row["learning_rate"] for row in metrics(train(config(max_steps=10)))]
    assert rates[0] == 0
    assert max(rates) == rates[2] == 1e-2
    assert rates[-1] == pytest.approx(1e-2 / 8)


def test_a_checkpoint_loads_in_plain_peft(config: Callable[..., TrainingSettings]) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    folder = train(config("llama"))
    ours = Encoder.load(folder, device="cpu")
    texts = ["wing and lift"]
    [ids] = ours.token_ids(texts, "document")
    base = AutoModel.from_pretrained(
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    with torch.no_grad():
        states = PeftModel.from_pretrained(base, folder)(input_ids=torch.tensor([ids])).last_hidden_state[0, -3:]
    assert abs(ours.deliberate(texts)[0] - torch.nn.functional.normalize(states, dim=-1).numpy()).max() < 1e-5


def test_trained_thinking_tokens_are_part_of_the_adapter(config: Callable[..., TrainingSettings]) -> None:
    from safetensors.torch import load_file

    settings = config()
    start = Encoder.load(settings.model, thinking_steps=3, device="cpu")
    weights = load_file(train(settings) / "adapter_model.safetensors")
    [tokens] = [tensor for name, tensor in weights.items() if "trainable_tokens" in name]
    before = start.model.backbone.get_input_embeddings().weight[1:4]
    assert tokens.shape == before.shape
    assert not torch.allclose(tokens, before, atol=1e-4)


def test_published_reserved_tokens_keep_their_embeddings(
    config: Callable[..., TrainingSettings], minicpm_base: Path
) -> None:
    run = Run(config(model=str(minicpm_base), thinking_steps=8), Path("unused"), "cpu", False)
    trainable = [name for name, p in run.encoder.model.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


@pytest.mark.parametrize("family", ["bert", "llama", "minicpm3"])
def test_lora_is_on_every_projection(tiny_model: Callable[..., Path], family: str) -> None:
    encoder = Encoder.load(tiny_model(family), device="cpu")
    inside = [n for n, m in encoder.model.backbone.named_modules() if isinstance(m, torch.nn.Linear)]
    assert {n for n in inside if any(n.endswith(f".{p}") for p in projections(encoder.model.backbone))} == set(inside)
    make_trainable(encoder, Lora(r=2, alpha=4, dropout=0), gradient_checkpointing=False)
    adapted = {n for n, _ in encoder.model.backbone.named_modules() if n.endswith("lora_A")}
    assert len(adapted) == len(inside)


def test_full_weights_are_trained_and_saved_without_lora(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config(lora=None, learning_rate=1e-3))
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    assert Encoder.load(folder, device="cpu").thinking_steps == 3


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cached_gradients_equal_uncached_ones(
    config: Callable[..., TrainingSettings], family: str, dropout: float
) -> None:
    run = Run(config(family, lora={"r": 4, "alpha": 8, "dropout": dropout}), Path("unused"), "cpu", False)
    encoder, batch = run.encoder, run.data.batch(0)
    for name, parameter in encoder.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    encoder.model.train(dropout > 0)
    tokens = 70 if dropout == 0 else 10**6  # one chunk a kind draws the same dropout masks in both ways

    def gradients(cached: bool) -> tuple[float, list[torch.Tensor]]:
        encoder.model.zero_grad()
        torch.manual_seed(0)
        if not cached and dropout > 0:
            seeds = torch.randint(2**62, (2,)).tolist()
            views = encoder.views
            order = iter(seeds)

            def seeded(sequences: list[list[int]], kind: str) -> torch.Tensor:
                torch.manual_seed(next(order))
                return views(sequences, kind)

            encoder.views = seeded  # type: ignore[method-assign]
        facts = train_step(encoder, DeliberationLoss(), batch, cache_tokens=tokens if cached else None)
        encoder.__dict__.pop("views", None)
        return facts.loss, [p.grad.clone() for p in encoder.model.parameters() if p.grad is not None]

    (loss, plain), (cached_loss, cached) = gradients(False), gradients(True)
    assert cached_loss == pytest.approx(loss, abs=1e-5)
    largest = max(g.abs().max() for g in plain)
    assert largest > 0
    assert max((a - b).abs().max() for a, b in zip(plain, cached, strict=True)) <= 1e-5 * max(1.0, largest)


def test_a_killed_run_resumed_ends_with_the_same_weights(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(warm_start={"steps": 2, "batch_size": 4})
    whole = train(settings, output=tmp_path / "whole")
    step = Run._report

    def killed(self: Run, bar: object, phase: object, number: int, *rest: object) -> None:
        if getattr(phase, "name", "") == "Training" and number == 5:
            raise KeyboardInterrupt
        step(self, bar, phase, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_report", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, output=tmp_path / "killed")
    monkeypatch.undo()
    again = train(settings, output=tmp_path / "killed", resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert [row["step"] for row in metrics(again)] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in metrics(again)] == [row["loss"] for row in metrics(whole)]


def test_an_output_that_is_not_free_is_left_alone(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    settings = config(max_steps=2)
    folder = train(settings)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(DebaterError, match="finished training run"):
        train(settings)
    assert train(settings, resume=True) == folder
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("how", [{"force": True}, {"resume": True}, {"resume": True, "force": True}])
def test_files_that_training_did_not_write_are_never_deleted(
    config: Callable[..., TrainingSettings], tmp_path: Path, how: dict[str, bool]
) -> None:
    output = tmp_path / "mixed"
    output.mkdir()
    (output / "metrics.jsonl").write_text("")
    (output / "thesis.txt").write_text("keep")
    with pytest.raises(DebaterError, match="not a training run's"):
        train(config(), output=output, **how)
    assert (output / "thesis.txt").read_text() == "keep"


def test_resume_with_a_changed_config_names_what_changed(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config())
    (folder / "debater.json").unlink()  # as if killed before the end
    changed = config(learning_rate=1e-3, loss={"scale": 10.0})
    with pytest.raises(DebaterError, match=r"learning_rate, loss\.scale"):
        train(changed, resume=True)
    assert train(changed, resume=True, force=True) == folder
    assert metrics(folder)[-1]["learning_rate"] < 1e-3


def test_a_mistake_found_at_the_start_leaves_the_old_output(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = train(config(max_steps=2))
    before = {path.name for path in folder.iterdir()}
    for mistake in ({"data": [{"path": "nowhere.jsonl"}]}, {"eval": {"task": "nowhere"}}, {"model": "nowhere"}):
        with pytest.raises(DebaterError, match="nowhere"):
            train(config(**mistake), force=True)
    assert {path.name for path in folder.iterdir()} == before


def test_resume_with_nothing_complete_starts_from_zero_and_says_so(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(max_steps=2), output=tmp_path / "new", resume=True)
    assert "from step 0" in caplog.text
    assert (folder / "debater.json").is_file()


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    with pytest.raises(DebaterError, match="not a number at step"):
        train(config(lora=None, learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0, save_steps=1, max_steps=9))
    assert list((tmp_path / "out").glob("checkpoint-*/debater.json"))


def test_a_gradient_that_is_not_a_number_stops_before_it_reaches_the_weights(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = torch.nn.utils.clip_grad_norm_

    def spoiled(parameters: list[torch.Tensor], limit: float) -> torch.Tensor:
        if len(list((tmp_path / "out").glob("checkpoint-2"))):
            parameters[0].grad.fill_(float("inf"))  # type: ignore[union-attr]
        return clip(parameters, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spoiled)
    with pytest.raises(DebaterError, match="gradient is not a number at step 3"):
        train(config())
    assert np.isfinite(Encoder.load(tmp_path / "out" / "checkpoint-2", device="cpu").deliberate(["wing"])).all()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"max_length": {"query": 32, "document": 10}}, "prompt and the thinking tokens"),
        ({"max_length": {"query": 32, "document": 34}}, r"max_length\.document \(34\) leaves no room"),
        ({"max_length": {"query": 2, "document": 60}}, r"max_length\.query \(2\) leaves no room"),
        ({"search_instruction": "find " * 32}, "behind the instruction"),
        ({"warm_start": {"steps": 1, "length": 10}}, "prompt and the thinking tokens"),
    ],
)
def test_a_limit_that_leaves_nothing_of_a_text_is_found_at_the_start(
    config: Callable[..., TrainingSettings], mistake: dict, sentence: str
) -> None:
    folder = train(config("llama", max_steps=1))
    with pytest.raises(DebaterError, match=sentence):
        train(config("llama", **mistake), force=True)
    assert (folder / "debater.json").is_file()


def test_a_model_that_could_not_be_saved_is_refused_at_the_start(
    config: Callable[..., TrainingSettings], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "dense"
    shutil.copytree(tiny_model("bert"), folder)
    (folder / "modules.json").write_text(
        json.dumps([{"path": "", "type": "Transformer"}, {"path": "2", "type": "Dense"}])
    )
    (folder / "2").mkdir()
    (folder / "2" / "config.json").write_text(json.dumps({"in_features": 32, "out_features": 4, "bias": False}))
    save_file({"linear.weight": torch.zeros(4, 32)}, folder / "2" / "model.safetensors")
    with pytest.raises(DebaterError, match="dense layers"):
        train(config(model=str(folder), thinking_steps=1))
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_can_be_trained_on_with_fewer_steps(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    first = train(config(max_steps=1))
    second = train(config(model=str(first), thinking_steps=1, max_steps=1), output=tmp_path / "second")
    assert Encoder.load(second, device="cpu").deliberate(["wing"]).shape == (1, 1, 32)


def test_full_weights_of_an_adapter_are_not_trained_and_that_is_said(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = train(config(max_steps=1))
    second = train(config(model=str(first), lora=None, max_steps=1), output=tmp_path / "second")
    assert "adapter" in caplog.text
    assert (second / "adapter_config.json").is_file()


def test_a_warm_start_without_thinking_tokens_is_left_out(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(thinking_steps=1, warm_start={"steps": 2}, max_steps=1))
    assert "warm_start is left out" in caplog.text
    assert metrics(folder, "warm start") == []


def test_a_checkpoint_is_a_start_for_more_training(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    first = train(config())
    second = train(config(model=str(first)), output=tmp_path / "second")
    vectors = [Encoder.load(folder, device="cpu").deliberate(["wing"]) for folder in (first, second)]
    assert vectors[0].shape == vectors[1].shape == (1, 3, 32)
    assert abs(vectors[0] - vectors[1]).max() > 1e-4


def test_the_checkpoint_knows_its_search_instruction(config: Callable[..., TrainingSettings]) -> None:
    encoder = Encoder.load(train(config(search_instruction="find:", max_steps=2)), device="cpu")
    assert encoder.token_ids(["wing"], "query") == encoder.token_ids(["wing"], "query", "find:")


def test_warm_start_brings_the_last_step_to_the_base_models_embedding(
    config: Callable[..., TrainingSettings],
) -> None:
    folder = train(config(warm_start={"steps": 60, "batch_size": 12, "learning_rate": 1e-2}, max_steps=1))
    distance = [row["distance"] for row in metrics(folder, "warm start")]
    assert distance[-1] < 0.5 * distance[0]


def test_evaluation_while_training_keeps_the_best_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    task = tmp_path / "task"
    (task / "qrels").mkdir(parents=True)
    (task / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"{w} {w}"}) + "\n" for w in WORDS))
    (task / "queries.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"what of {w}"}) + "\n" for w in WORDS))
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{w}\t{w}\t1\n" for w in WORDS))
    settings = config(eval={"task": str(task), "every": 3})
    folder = train(settings)
    scores = [row["ndcg@10"] for row in metrics(folder, "evaluation")]
    assert len(scores) == 2
    assert json.loads((folder / "best" / "debater.json").read_text())["provenance"]["ndcg@10"] == max(scores)

    log = (folder / "metrics.jsonl").read_text().splitlines()
    better = [line.replace(f'"ndcg@10": {scores[0]}', '"ndcg@10": 2.0') for line in log]
    (folder / "metrics.jsonl").write_text("\n".join(better) + "\n")
    best = (folder / "best" / "debater.json").stat().st_mtime_ns
    (folder / "debater.json").unlink()
    train(settings, resume=True)  # from step 4: its score cannot beat the one before
    assert (folder / "best" / "debater.json").stat().st_mtime_ns == best


def test_a_run_killed_before_it_is_marked_as_finished_has_its_picture(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("debater_search.training.checkpoints.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(max_steps=1))
    assert (tmp_path / "out" / "training.png").is_file()


def test_a_checkpoint_is_written_after_its_evaluation(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("debater_search.evaluation.load_task", lambda task: type("Task", (), {"qrels": print}))
    monkeypatch.setattr(Run, "_evaluate", lambda self, step, task: done.append(f"score {step}"))
    monkeypatch.setattr(Run, "_save", lambda self, step, optimizer: done.append(f"save {step}"))
    train(config(eval={"task": "task", "every": 2}, max_steps=4))
    assert done == ["score 2", "save 2", "score 4"]


@pytest.mark.parametrize("mistake", ["gradient_cache=true", "gradient_cache=-1", "seed=-1", f"seed={2**63}"])
def test_numbers_that_training_cannot_use_are_refused(tmp_path: Path, mistake: str) -> None:
    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    with pytest.raises(DebaterError, match=mistake.partition("=")[0]):
        load_config(tmp_path / "c.yaml", [mistake])


def test_paths_in_a_config_are_relative_to_it(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    values = {"model": "minilm", "output": "out", "data": [{"path": "rows.jsonl"}]}
    config()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    settings = load_config(tmp_path / "c.yaml", ["loss.scale=20", "lora.r=4"])
    assert len(TrainingData(settings.model_copy(update={"batch_size": 4})).sets[0]) == len(WORDS)
    assert (settings.loss.scale, settings.lora and settings.lora.r) == (20, 4)


@pytest.mark.parametrize("name", ["demo", "minicpm2-2b", "minicpm3-4b", "smollm2-135m"])
def test_every_shipped_config_is_valid(name: str) -> None:
    path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    assert load_config(path).thinking_steps == 8


def test_a_released_config_is_recognised_and_its_translation_is_valid(tmp_path: Path) -> None:
    released = {
        "model_name_or_path": "openbmb/MiniCPM-2B-sft-bf16", "dataset_file_path": "cache/echo-data",
        "pooling_mode": "M_token", "per_device_train_batch_size": 64, "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4, "warmup_steps": 300, "stop_after_n_steps": 1000, "lora_r": 16, "max_seq_length": 512,
        "output_dir": "output/x", "bf16": True,
    }  # fmt: skip
    (tmp_path / "released.json").write_text(json.dumps(released))
    (tmp_path / "ours.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    assert is_released_config(tmp_path / "released.json")
    assert not is_released_config(tmp_path / "ours.yaml")
    translated = translate_released_config(tmp_path / "released.json")
    assert "bf16" in translated
    (tmp_path / "translated.yaml").write_text(translated)
    settings = load_config(tmp_path / "translated.yaml")
    assert (settings.batch_size, settings.max_steps, settings.thinking_steps) == (256, 1000, 8)
    assert settings.lora is not None
    assert settings.lora.alpha == 32


@pytest.mark.parametrize(
    ("more", "key", "wanted"),
    [
        ({"lora_r": "8"}, "lora", {"r": 8, "alpha": 16, "dropout": 0.05}),
        ({"max_steps": -1, "num_train_epochs": 1}, "max_steps", 1000),
        ({"lr_scheduler_type": "constant"}, "schedule", "linear"),
        ({"per_device_train_batch_size": "16", "gradient_accumulation_steps": 2}, "batch_size", 128),
        ({"pooling_mode": "last_token"}, "thinking_steps", 1),
        ({"learning_rate": "1e-4"}, "learning_rate", 1e-4),
    ],
)
def test_unusual_released_configs_translate_to_valid_ones(tmp_path: Path, more: dict, key: str, wanted: object) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"model_name_or_path": "m", "dataset_file_path": "d", **more}))
    (tmp_path / "new.yaml").write_text(translate_released_config(tmp_path / "old.json"))
    assert load_config(tmp_path / "new.yaml").model_dump()[key] == wanted


def test_a_released_config_with_a_number_that_is_none_names_it(tmp_path: Path) -> None:
    old = {"model_name_or_path": "m", "dataset_file_path": "d", "per_device_train_batch_size": "many"}
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(DebaterError, match=r"per_device_train_batch_size is 'many'"):
        translate_released_config(tmp_path / "old.json")
