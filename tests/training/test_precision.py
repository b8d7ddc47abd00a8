"""What learns is float32 whatever the model multiplies in, and small updates move it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from debater_search.encoder.loading import backbone
from debater_search.errors import DebaterError, InvalidError
from debater_search.training import load_config, plan, train
from debater_search.training.loss import Terms
from debater_search.training.parallel import Parallel, shard
from debater_search.training.precision import LossScale
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from debater_search.training.steps import StepOptions, Text, accumulate


def gradients(settings: TrainingSettings, **options: Any) -> dict[str, torch.Tensor]:
    """Of the first batch, by the names of the parameters."""
    run = Run(settings, Path("unused"), "cpu", False)
    run.loss_scale = LossScale(run.student.compute, 256.0)
    phase = run._main_phase(0)
    phase.work(phase.read(0), StepOptions(1, run.parallel, scaled=run.loss_scale.scaled, **options))
    run.loss_scale.unscale(run._trainable())
    return {name: p.grad for name, p in run.student.model.named_parameters() if p.grad is not None}


def test_small_updates_of_all_weights_move_them_in_half_precision(config: Callable[..., TrainingSettings]) -> None:
    settings = config("llama", lora=None, precision="bf16", learning_rate=2e-5, warmup_steps=0, max_steps=2)
    before = load_file(Path(settings.model) / "model.safetensors")
    after = load_file(train(settings) / "model.safetensors")
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    moved = [(after[name] != tensor).float().mean() for name, tensor in before.items() if "proj" in name]
    assert min(moved) > 0.95


@pytest.mark.parametrize("lora", [None, {"r": 4}])
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_layers_multiply_in_half_precision_and_gradients_are_float32(
    config: Callable[..., TrainingSettings], lora: dict | None, precision: str, dtype: torch.dtype
) -> None:
    seen = set()

    def see(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen.add(output.dtype)

    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: see(module, inputs, output) if type(module) is torch.nn.Linear else None
    )
    with hook:
        found = gradients(config("llama", lora=lora, precision=precision))
    assert seen == {dtype}
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    exact = gradients(config("llama", lora=lora, precision="fp32"))
    one, other = (torch.cat([grads[name].flatten() for name in sorted(exact)]) for grads in (found, exact))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.98
    assert abs(one.norm() / other.norm() - 1) < 0.1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_gradients_in_chunks_are_those_of_the_whole_batch(
    config: Callable[..., TrainingSettings], precision: str
) -> None:
    settings = config("llama", lora={"r": 4, "dropout": 0}, precision=precision)
    whole, chunks = gradients(settings), gradients(settings, cache_tokens=128)
    one, other = (torch.cat([grads[name].flatten() for name in sorted(whole)]) for grads in (whole, chunks))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99


def test_frozen_weights_are_kept_in_half_precision(config: Callable[..., TrainingSettings]) -> None:
    run = Run(config("llama", precision="bf16"), Path("unused"), "cpu", False)
    kinds = {p.requires_grad: p.dtype for p in run.student.model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}


def test_the_kernel_is_chosen_for_the_type_that_is_multiplied(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def choose(attention: str, config: Any, device: torch.device, dtype: torch.dtype) -> None:
        asked.append(dtype)

    monkeypatch.setattr(backbone, "choose_attention", choose)
    start = load_start(config("llama", lora=None, precision="bf16"), "cpu")
    assert asked == [torch.bfloat16]
    assert start.model.backbone.dtype == torch.float32


def test_on_a_cpu_nothing_is_rounded_by_default(config: Callable[..., TrainingSettings]) -> None:
    assert load_start(config(), "cpu").compute == torch.float32
    assert plan(config(precision="bf16"), device="cpu").facts["dtype"] == "bfloat16"


def test_configs_that_say_dtype_are_still_read(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    for older, name in {"auto": "auto", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.items():
        assert config(dtype=older).precision == name
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config().model_dump(mode="json", exclude={"precision"}) | {"dtype": "float16"}))
    assert load_config(path).precision == "fp16"
    with pytest.raises(DebaterError, match="older name of precision"):
        load_config(path, ["precision=bf16"])


def test_gradients_that_overflow_change_nothing_and_lower_the_scale(config: Callable[..., TrainingSettings]) -> None:
    run = Run(config("llama", lora=None, precision="fp16"), Path("unused"), "cpu", False)
    phase, before = run._main_phase(0), run.loss_scale.value
    weights = [p.detach().clone() for p in run._trainable()]
    for parameter in run._trainable():
        parameter.grad = torch.full_like(parameter, float("inf"))
    run._clip(1.0, phase, 0)
    phase.optimizer.step()
    assert run.loss_scale.value == before / 2
    assert all(torch.equal(*pair) for pair in zip(weights, run._trainable(), strict=True))


def test_a_scale_grows_after_good_steps_and_gives_up_at_last() -> None:
    scale = LossScale(torch.float16, 4.0)
    assert [scale.overflowed(1.0) for _ in range(2000)] == [False] * 2000
    assert scale.value == scale.saved == 8
    assert all(scale.overflowed(float("nan")) for _ in range(11))
    with pytest.raises(InvalidError, match="too large for float16"):
        scale.overflowed(float("inf"))
    other = LossScale(torch.bfloat16, 4.0)
    assert not other.overflowed(float("nan"))
    assert (other.value, other.saved) == (1, None)


def test_a_resumed_run_keeps_its_scale(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config("llama", lora=None, precision="fp16", max_steps=3, save_steps=2))
    state = folder / "checkpoint-2" / "trainer_state.json"
    values = json.loads(state.read_text())
    state.write_text(json.dumps({**values, "loss_scale": 32.0}))
    resumed = Run(config("llama", lora=None, precision="fp16"), folder, "cpu", False, folder / "checkpoint-2")
    assert values["loss_scale"] >= 32
    assert resumed.loss_scale.value == 32


def test_the_loss_is_multiplied_exactly(config: Callable[..., TrainingSettings], tf32: None) -> None:
    student = load_start(config(), "cpu")

    def objective(views: list[torch.Tensor]) -> Terms:
        assert not torch.backends.cuda.matmul.allow_tf32
        total = torch.stack(views).sum()
        return Terms(total, total)

    accumulate(student, [Text([5, 6], "query")], objective, StepOptions(0, Parallel(student)))
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_shares_are_gathered_in_half_precision_and_gradients_added_in_float32(
    config: Callable[..., TrainingSettings], alone: None
) -> None:
    student = load_start(config("llama", lora=None, precision="bf16"), "cpu")
    student.model.requires_grad_(True)
    shard(student.model, student.compute, init_device_mesh("cpu", (1,)))
    used = set()
    layer = student.model.backbone.layers[0].self_attn.q_proj
    layer.register_forward_pre_hook(lambda module, _: used.add(module.weight.dtype))
    student.views([[5, 6, 7]], "document").sum().backward()
    assert used == {torch.bfloat16}
    weight = layer.weight
    assert isinstance(weight, DTensor)
    assert (weight.dtype, weight.grad.dtype) == (torch.float32, torch.float32)
