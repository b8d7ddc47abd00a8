"""A trained adapter as a model to ship: `python models/ship.py CHECKPOINT OUTPUT --base NAME [--share 1]`

OUTPUT gets the merged weights in 8 bits. Its base model is called NAME, config and data without places on this disk.
`--share` takes a part of what was learned, between 0, the base model's weights, and 1, the trained ones (arXiv
2109.01903); what new tokens learned stays whole.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder
from debater_search.encoder.loading.files import read_json, write_json
from debater_search.encoder.spec import CHECKPOINT_FILE
from debater_search.files import atomic_folder

ADAPTER = "adapter_model.safetensors"


def with_share(checkpoint: Path, share: float, folder: Path) -> None:
    """Copy an adapter to `folder`, its update multiplied by `share`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in checkpoint.iterdir():
        if path.is_file() and path.suffix in (".json", ".safetensors") and not path.name.startswith("optimizer"):
            shutil.copyfile(path, folder / path.name)
    tensors = load_file(checkpoint / ADAPTER)
    scaled = {name: share * tensor if ".lora_B" in name else tensor for name, tensor in tensors.items()}
    save_file(scaled, folder / ADAPTER, {"format": "pt"})


def without_places(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A run's config as configs/NAME.yaml has it: paths relative to that folder."""

    def written(path: str) -> str:
        return path.rpartition("configs/")[2]

    teachers = [{**teacher, "model": written(teacher["model"])} for teacher in config["loss"]["teacher_models"]]
    return {
        **config,
        "model": written(config["model"]),
        "data": [{**data, "path": written(data["path"])} for data in config["data"]],
        "loss": {**config["loss"], "teacher_models": teachers},
        "output": f"checkpoints/{name}",
    }


def ship(checkpoint: Path, output: Path, base: str, share: float = 1.0) -> None:
    """Write the model folder, whole or not at all."""
    with tempfile.TemporaryDirectory() as temporary, atomic_folder(output) as folder:
        with_share(checkpoint, share, Path(temporary))
        encoder = Encoder.load(temporary, device="cpu")
        made_by = encoder.parts.provenance
        config = without_places(made_by["config"], output.name)
        provenance = {**made_by, "config": config, **({} if share == 1 else {"share": share})}
        encoder.save(folder, provenance=provenance, int8=True)
        described = read_json(folder / CHECKPOINT_FILE)
        described["base_model"] = base
        write_json(folder / CHECKPOINT_FILE, described)


def main() -> None:
    """Ship one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base", required=True, help="what the base model is called where it is published")
    parser.add_argument("--share", type=float, default=1.0)
    options = parser.parse_args()
    ship(options.checkpoint, options.output, options.base, options.share)


if __name__ == "__main__":
    main()
