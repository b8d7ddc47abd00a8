"""What is measured on, and how fast it multiplies."""

from importlib.metadata import PackageNotFoundError, version

import torch
from report import Report, Setting
from shapes import seconds

from debater_search.encoder.speed.hardware import choose_dtype
from debater_search.errors import UnavailableError
from debater_search.vectors.faiss.library import gpu_count, has_cuvs

DATA_SHEET = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 operations per second, by a part of the card's name; the first that fits (SXM cards)."""


def describe(setting: Setting, report: Report) -> None:
    if setting.on_gpu and not torch.cuda.is_available():
        raise UnavailableError("There is no NVIDIA GPU that PyTorch can use.", "Use `--tiny` to try it without one.")
    name = torch.cuda.get_device_name() if setting.on_gpu else "no GPU"
    facts = {"device": name, "GPUs": torch.cuda.device_count()}
    if setting.on_gpu:
        facts["memory, GB"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9)
        facts["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
    for package in ("torch", "transformers", "peft", "flash-attn"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "missing"
    faiss = f"{gpu_count()} GPUs{', cuVS' if has_cuvs() else ''}"
    report.row(**facts, FAISS=faiss, **{"measured peak, TFLOP/s": peak(setting) / 1e12})


def peak(setting: Setting) -> float:
    """Operations per second of one large product of matrices, in the device's number type: what can be reached."""
    size = setting.sized(8192, 256)
    dtype = choose_dtype("auto", torch.device(setting.device))
    left, right = torch.randn(2, size, size, device=setting.device, dtype=dtype)
    seconds(lambda: left @ right, setting.device, 3)
    return 2 * size**3 / seconds(lambda: left @ right, setting.device, 9)


def on_data_sheet(setting: Setting) -> float | None:
    if not setting.on_gpu:
        return None
    name = torch.cuda.get_device_name()
    return next((rate for part, rate in DATA_SHEET.items() if part in name), None)
