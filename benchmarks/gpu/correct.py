"""Whether encoding gives the same vectors whatever kernel, batch, number type or form of an adapter it goes through."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from report import Report, Setting
from shapes import FAMILIES, SMALL, body, decoder, kernels, texts
from torch import Tensor

from debater_search.encoder import Encoder
from debater_search.encoder.families import is_causal
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.saving import save_checkpoint
from debater_search.encoder.spec import Reading
from debater_search.encoder.speed.attention import FLASH, PACKED
from debater_search.training.loss import DeliberationLoss
from debater_search.training.precision import allow_tf32, exactly

EXACT, ROUNDED = 5e-5, 5e-2
"""Largest difference in float32 and in half precision, as a share of the largest number.

EXACT is 1e-5 between vectors of 384 dimensions; a wrong mask gives .4 and more.
"""
HALF = torch.bfloat16
"""What FlashAttention computes in."""
LENGTHS = [40, 4, 17, 8, 40, 1]
READING = Reading("last", 1)


def attention(setting: Setting, report: Report) -> None:
    """Every kernel beside eager attention in float32."""
    for family in families(setting):
        expected = views(model(family, setting, "eager", torch.float32), setting)
        for kernel in kernels(setting):
            dtype = HALF if kernel == FLASH else torch.float32
            other = model(family, setting, kernel, dtype)
            limit = EXACT if dtype == torch.float32 else ROUNDED
            report.check(f"{family}: {kernel} = eager", difference(views(other, setting), expected), limit)
    if FLASH not in kernels(setting):
        report.note("FlashAttention 2 cannot be used here.")


def packing(setting: Setting, report: Report) -> None:
    """Sequences laid end to end beside each alone, and their gradients beside padded ones."""
    if FLASH not in kernels(setting):
        report.note("Left out: FlashAttention 2 cannot be used here.")
        return
    for family in families(setting):
        packed, padded = (model(family, setting, kernel, HALF) for kernel in (FLASH, "sdpa"))
        report.check(f"{family}: packs as the table says", abs(packed.packs - (family in PACKED)), 0)
        alone = torch.cat([views(packed, setting, [row]) for row in range(len(LENGTHS))])
        report.check(f"{family}: together = alone", difference(views(packed, setting), alone), ROUNDED)
        for each in (packed, padded):
            views(each, setting).square().sum().backward()
        own, others = (torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (packed, padded))
        report.check(f"{family}: gradients = padded", difference(own, others), 4 * ROUNDED)


def batches(setting: Setting, report: Report) -> None:
    """A text's vector whatever texts are encoded with it, and on whatever device."""
    given = [*texts(setting.sized(48, 3), words=(1, setting.sized(200, 60))), "", "x"]
    for dtype in ("float32", "bfloat16") if setting.on_gpu else ("float32",):
        limit = EXACT if dtype == "float32" else ROUNDED
        encoder = Encoder.load("debater-small", device=setting.device, dtype=dtype)
        together = encoder.encode_documents(given)
        alone = np.concatenate([encoder.encode_documents([text]) for text in given])
        backwards = encoder.encode_documents(given[::-1], batch_tokens=600)[::-1].copy()
        report.check(f"debater-small, {dtype}: together = alone", difference(together, alone), limit)
        report.check(f"debater-small, {dtype}: other batches", difference(backwards, together), limit)
    small = decoder(setting, steps=4, sizes=SMALL if setting.on_gpu else {})
    together = small.deliberate(given)
    alone = np.concatenate([small.deliberate([text]) for text in given])
    limit = EXACT if small.dtype == "float32" else ROUNDED
    report.check(f"a decoder, {small.dtype}: together = alone", difference(together, alone), limit)


def precision(setting: Setting, report: Report) -> None:
    """Number types beside float32 on a CPU."""
    given = texts(setting.sized(64, 3), words=(8, setting.sized(200, 40)))
    exact = Encoder.load("debater-small", device="cpu", dtype="float32").encode_documents(given)
    limits = {"float32": 1e-4, "bfloat16": ROUNDED, "float16": ROUNDED} if setting.on_gpu else {"float32": EXACT}
    for dtype, limit in limits.items():
        found = Encoder.load("debater-small", device=setting.device, dtype=dtype).encode_documents(given)
        cosine = float((found * exact).sum(1).mean())
        report.row(**{"number type": dtype, "mean cosine to float32 on a CPU": f"{cosine:.6f}"})
        report.check(f"debater-small in {dtype}: 1 - mean cosine", 1 - cosine, limit / 10)
        report.check(f"debater-small in {dtype}: largest difference", difference(found, exact), 4 * limit)
    allow_tf32(torch.device(setting.device))
    generator = torch.Generator().manual_seed(0)
    given_views = [torch.randn(shape, generator=generator) for shape in ((32, 256), (32, 4, 256), (32, 4, 256))]
    with exactly():
        loss = DeliberationLoss()(*(part.to(setting.device) for part in given_views)).item()
    true = DeliberationLoss()(*(part.double() for part in given_views)).item()
    report.check("the loss, where TF32 is on = float64", abs(loss - true) / abs(true), EXACT)


def adapters(setting: Setting, report: Report) -> None:
    """An adapter merged into its base model beside the two apart."""
    given = texts(setting.sized(48, 3), words=(8, setting.sized(200, 40)))
    with tempfile.TemporaryDirectory() as scratch:
        adapter = _random_adapter(Path(scratch) / "adapter")
        apart = Encoder.load(adapter, device=setting.device, dtype="float32", merged=False).deliberate(given)
        for dtype in ("float32", "bfloat16") if setting.on_gpu else ("float32",):
            merged = Encoder.load(adapter, device=setting.device, dtype=dtype)
            limit = EXACT if dtype == "float32" else ROUNDED
            report.check(f"merged, {dtype} = apart, float32", difference(merged.deliberate(given), apart), 2 * limit)
            updates = {p.dtype for name, p in merged.model.named_parameters() if "lora_" not in name}
            report.check(f"merged, {dtype}: weights of another number type", len(updates - {getattr(torch, dtype)}), 0)


def _random_adapter(folder: Path) -> Path:
    """A checkpoint of random LoRA updates on debater-small."""
    torch.manual_seed(0)
    encoder = Encoder.load("debater-small", device="cpu", dtype="float32")
    lora = LoraConfig(r=8, target_modules=["query", "value"], init_lora_weights=False)
    encoder.model.backbone = get_peft_model(encoder.model.backbone, lora)
    save_checkpoint(encoder.model, encoder.parts, folder, None)
    return folder


def families(setting: Setting) -> list[str]:
    return list(FAMILIES)[: setting.sized(len(FAMILIES), 2)]


def model(family: str, setting: Setting, kernel: str, dtype: torch.dtype) -> DeliberationModel:
    backbone = body({"model_type": family, **SMALL, **FAMILIES[family]}, setting.device, torch.float32, "eager")
    if kernel != "eager" or dtype != torch.float32:
        same = body({"model_type": family, **SMALL, **FAMILIES[family]}, setting.device, dtype, kernel)
        same.load_state_dict(backbone.state_dict())
        backbone = same
    return DeliberationModel(backbone, causal=is_causal(backbone.config))


def views(model: DeliberationModel, setting: Setting, rows: list[int] | None = None) -> Tensor:
    """Views of random sequences of `LENGTHS`, or of some of them."""
    rows = rows if rows is not None else list(range(len(LENGTHS)))
    ids = torch.randint(5, 1000, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(LENGTHS)
    ids[torch.arange(max(LENGTHS)) >= lengths[:, None]] = 0
    longest = int(lengths[rows].max())
    return model(ids[rows, :longest].to(setting.device), lengths[rows].to(setting.device), READING)


def difference(found: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> float:
    """The largest difference, as a share of the largest number."""
    found, expected = (torch.as_tensor(part).detach().float().cpu() for part in (found, expected))
    return float((found - expected).abs().max() / expected.abs().max())
