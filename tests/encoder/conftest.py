"""Folders of sentence-transformers, written file by file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

IDENTITY = "torch.nn.modules.linear.Identity"
SENTENCE = "sentence_transformers.models."


@pytest.fixture
def sentence_transformer(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A sentence-transformers folder with a declared pooling, and more as asked."""

    def make(pooling: str = "cls_token", **more: dict) -> Path:
        folder = tmp_path / "st"
        shutil.copytree(tiny_model("bert"), folder)
        modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
        modules += [(name, kind) for name, kind in more.pop("modules", {}).items()]
        write(folder / "modules.json", [{"path": p, "type": SENTENCE + kind} for p, kind in modules])
        write(folder / "1_Pooling" / "config.json", {"pooling_mode_max_tokens": False, f"pooling_mode_{pooling}": True})
        for name, values in more.items():
            write(folder / f"{name}.json", values)
        return folder

    return make


def write(path: Path, values: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def save_dense(folder: Path, **declared: object) -> None:
    folder.mkdir()
    write(folder / "config.json", {"in_features": 32, "out_features": 5, "activation_function": IDENTITY, **declared})
    save_file({"linear.weight": torch.randn(5, 32), "linear.bias": torch.randn(5)}, folder / "model.safetensors")
