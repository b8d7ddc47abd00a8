"""Linear layers on a CPU by oneDNN's own kernels: weights laid out once, in float32 or as 8-bit integers.

PyTorch's `linear` lays the weights out anew at each call. The operators used here are those that its compiler emits
for CPUs; they are no public interface, so they are tried on a layer first and left alone where they differ.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from debater_search.encoder.speed.tricks import is_on
from debater_search.errors import UnavailableError

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 30
"""Of weights that are laid out a second time; larger models keep one copy, and PyTorch's own kernels."""
CLOSE, CLOSE_INT8 = 1e-4, 0.1
"""Largest differences to PyTorch's `linear` that are taken for rounding."""
LEVELS = 127
"""8-bit integers on either side of 0."""

Forward = Callable[[Tensor], Tensor]


def lay_out(model: nn.Module, *, int8: bool = False) -> None:
    """Make the float32 linear layers of a model on a CPU faster at inference; outside it they are as they were.

    Whatever needs gradients, and layers whose weights have changed since (but not through `.data`, as peft merges
    adapters: merge first), go through PyTorch's `linear`. Weights stay where they are, so that the model is saved and
    trained as before. A second call does nothing.
    """
    if not int8 and not is_on("linear"):
        return
    layers = _plain_layers(model)
    if not layers or (not int8 and sum(layer.weight.nbytes for layer in layers) > MOST_BYTES):
        return
    make, tolerance = (_in_int8, CLOSE_INT8) if int8 else (_in_float32, CLOSE)
    if _difference(make, layers[0]) > tolerance:
        if int8:
            raise UnavailableError("This build of PyTorch has no 8-bit kernels for the CPU.", "Use another dtype.")
        return
    for layer in layers:
        layer.forward = _unless_changed(layer, make(layer))  # type: ignore[method-assign,assignment]


def lay_out_frozen(model: nn.Module) -> None:
    """Make the frozen float32 linear layers of a model on a CPU faster in training: forward, and back to their inputs.

    What low-rank adapters stand beside. Layers whose weights learn, or have changed since, go through PyTorch's
    `linear`.
    """
    layers = [layer for layer in _plain_layers(model) if not layer.weight.requires_grad]
    if not is_on("frozen") or not layers or 2 * sum(layer.weight.nbytes for layer in layers) > MOST_BYTES:
        return
    if _difference(_in_float32, layers[0]) <= CLOSE:
        for layer in layers:
            layer.forward = _with_way_back(layer)  # type: ignore[method-assign,assignment]


def _plain_layers(model: nn.Module) -> list[nn.Linear]:
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and "forward" not in vars(layer)]
    return [layer for layer in layers if layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32]


class _Frozen(torch.autograd.Function):
    """A linear layer whose weights get no gradient: both ways by oneDNN."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, ahead: Forward, back: Forward) -> Tensor:
        ctx.back = back
        return ahead(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradient.contiguous()), None, None


def _with_way_back(layer: nn.Linear) -> Forward:
    made_of, ahead = _identity(layer), _in_float32(layer)
    turned = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().T.contiguous())

    def back(gradient: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(gradient, turned, None, "none", [], "")

    def forward(states: Tensor) -> Tensor:
        if states.dtype != torch.float32 or layer.weight.requires_grad or _identity(layer) != made_of:
            return linear(states, layer.weight, layer.bias)
        return _Frozen.apply(states, ahead, back)

    return forward


def _unless_changed(layer: nn.Linear, fast: Forward) -> Forward:
    made_of = _identity(layer)

    def forward(states: Tensor) -> Tensor:
        if torch.is_grad_enabled() or states.dtype != torch.float32 or _identity(layer) != made_of:
            return linear(states, layer.weight, layer.bias)
        return fast(states)

    return forward


def _identity(layer: nn.Linear) -> tuple[int, int]:
    return layer.weight.data_ptr(), layer.weight._version


def _in_float32(layer: nn.Linear) -> Forward:
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
    bias = layer.bias
    return lambda states: torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")


def _in_int8(layer: nn.Linear) -> Forward:
    """Weights with a scale for each output, states with one for each token: a vector does not depend on its batch."""
    weight = layer.weight.detach()
    scales = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / LEVELS
    whole = (weight / scales[:, None]).round_().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(whole, None)
    zeros = torch.zeros(len(whole), dtype=torch.int64)
    bias = layer.bias if layer.bias is not None else torch.zeros(len(whole))

    def forward(states: Tensor) -> Tensor:
        rows = states.reshape(-1, states.shape[-1])
        sizes = rows.abs().amax(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny).div_(LEVELS)
        integers = (rows / sizes).round_().add_(LEVELS + 1).to(torch.uint8)
        sums = torch.ops.onednn.qlinear_pointwise(
            integers, 1.0, LEVELS + 1, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return torch.addcmul(bias, sums, sizes).view(*states.shape[:-1], -1)

    return forward


@torch.inference_mode()
def _difference(make: Callable[[nn.Linear], Forward], layer: nn.Linear) -> float:
    """To PyTorch's `linear` on random states, as a share of the largest output; infinite where there is no kernel."""
    states = torch.randn(4, layer.in_features, generator=torch.Generator().manual_seed(0))
    usual = linear(states, layer.weight, layer.bias)
    try:
        return float((make(layer)(states) - usual).abs().max() / usual.abs().max())
    except (AttributeError, RuntimeError, TypeError) as error:
        log.debug("oneDNN's kernels are not used: %s", error)
        return float("inf")
