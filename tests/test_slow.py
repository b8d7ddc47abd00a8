"""What takes minutes: numbers on whole collections, with the real model. `make test-slow`."""

from pathlib import Path

import pytest

from debater_search.encoder import Encoder
from debater_search.evaluation import evaluate
from debater_search.training import load_config, train
from debater_search.training.starting import load_start

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def test_minilm_scores_what_it_should_on_cranfield() -> None:
    assert evaluate(ROOT / "data" / "cranfield", "minilm").metrics["ndcg@10"] == pytest.approx(0.3713, abs=0.0005)


def test_the_demos_training_clearly_beats_its_own_start(tmp_path: Path) -> None:
    settings = load_config(ROOT / "configs" / "demo.yaml")
    start = load_start(settings, "auto")
    trained = Encoder.load(train(settings, output=tmp_path / "demo"))
    for task, gain in (("cranfield", 0.015), ("heldout", 0.05)):
        before, after = (evaluate(ROOT / "data" / task, model).metrics["ndcg@10"] for model in (start, trained))
        assert after > before + gain, task
