"""The number types of a run: what learns is kept in float32, and multiplied in the type that `precision` names."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from debater_search.encoder.speed.hardware import choose_dtype
from debater_search.errors import InvalidError
from debater_search.training.settings import DTYPES

FIRST_SCALE, LEAST_SCALE = 2.0**16, 2.0**-8
STEPS_TO_GROW = 2000


def computes_in(precision: str, device: torch.device) -> torch.dtype:
    """What the model multiplies in on a device. `auto`: as `Encoder.load`."""
    return choose_dtype(DTYPES[precision], device)


def allow_tf32(device: torch.device) -> None:
    """Let a GPU multiply float32 in TF32, but for the loss (`exactly`)."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


@contextmanager
def exactly() -> Iterator[None]:
    """Inside, float32 is multiplied as such: TF32 rounds cosines too much for a loss."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class LossScale:
    """Keeps small gradients from becoming 0 in float16: they are multiplied in the backward pass, divided after it.

    In the other number types the scale is 1. All processes see the same gradients, so that their scales agree.
    """

    def __init__(self, compute: torch.dtype, scale: float | None = None) -> None:
        self.scales = compute == torch.float16
        self.value = (scale or FIRST_SCALE) if self.scales else 1.0
        self._good = 0

    @property
    def saved(self) -> float | None:
        """What a resumed run begins with; None if nothing is scaled."""
        return self.value if self.scales else None

    def scaled(self, gradients: Tensor) -> Tensor:
        """Gradients of the model's outputs, as its backward pass takes them."""
        return gradients * self.value if self.scales else gradients

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Bring the gradients of parameters back to their size, in place."""
        if self.scales:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(1 / self.value)

    def overflowed(self, norm: float) -> bool:
        """Whether a step is left out, since its gradients were too large for float16; sets the scale of the next one.

        Raises InvalidError if no scale is small enough.
        """
        if not self.scales:
            return False
        if norm < float("inf"):  # false if it is not a number
            self._good += 1
            if self._good == STEPS_TO_GROW:
                self.value, self._good = 2 * self.value, 0
            return False
        self.value, self._good = self.value / 2, 0
        if self.value < LEAST_SCALE:
            raise InvalidError("Gradients are too large for float16 at any scale.", "Use precision: bf16 or fp32.")
        return True
