"""A trained adapter becomes a model that is shipped."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from debater_search.encoder import Encoder
from debater_search.training import train
from debater_search.training.settings import TrainingSettings

TEXTS = ["wing drag", "heat of a jet"]


@pytest.fixture(scope="module")
def shipping() -> ModuleType:
    path = Path(__file__).parents[2] / "models" / "ship.py"
    spec = importlib.util.spec_from_file_location("ship", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_shipped_reads_as_the_adapter_and_names_no_place(
    shipping: ModuleType, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    rows = tmp_path / "configs" / "rows.jsonl"
    rows.parent.mkdir()
    rows.write_text("".join(json.dumps({"query": f"of {n}", "positive": f"{n} {n}"}) + "\n" for n in range(8)))
    values = {
        "model": str(tiny_model("bert")), "thinking_steps": 2, "data": [{"path": str(rows)}], "batch_size": 4,
        "max_length": {"query": 32, "document": 60}, "learning_rate": 1e-2, "warmup_steps": 0, "max_steps": 2,
        "output": str(tmp_path / "run"),
    }  # fmt: skip
    checkpoint = train(TrainingSettings.model_validate(values))
    shipping.ship(checkpoint, tmp_path / "whole" / "tiny", "owner/base")
    shipping.ship(checkpoint, tmp_path / "none" / "tiny", "owner/base", share=0.0)
    trained, start = Encoder.load(checkpoint, device="cpu"), Encoder.load(tiny_model("bert"), device="cpu")
    whole, none = (Encoder.load(tmp_path / name / "tiny", device="cpu") for name in ("whole", "none"))
    assert not np.allclose(trained.encode_queries(TEXTS), start.encode_queries(TEXTS), atol=0.02)
    assert np.allclose(whole.encode_documents(TEXTS), trained.encode_documents(TEXTS), atol=0.02)
    assert np.allclose(none.encode_queries(TEXTS), start.encode_queries(TEXTS), atol=0.02)
    described = json.loads((tmp_path / "whole" / "tiny" / "debater.json").read_text())
    assert described["base_model"] == "owner/base"
    assert described["provenance"]["config"]["data"][0]["path"] == "rows.jsonl"
    assert described["provenance"]["config"]["output"] == "checkpoints/tiny"
    assert json.loads((tmp_path / "none" / "tiny" / "debater.json").read_text())["provenance"]["share"] == 0
