"""The published recipes are planned where neither their data nor their backbones are at hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.errors import MissingError, UnavailableError
from debater_search.training import TrainingSettings, load_config, plan, train
from debater_search.training.backbones import SIZES
from debater_search.training.echo_data import INSTRUCTIONS

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("recipe", "weights", "vocabulary"),
    [
        ("minicpm2-2b", 2_442_057_984, 122_753 * 2304),  # weights but for embeddings, as arXiv 2404.06395 counts them
        ("minicpm3-4b", 3_885_849_088, 73_448 * 2560),
    ],
)
def test_a_plan_says_where_the_data_comes_from_and_estimates_by_published_sizes(
    tmp_path: Path, recipe: str, weights: int, vocabulary: int
) -> None:
    settings = load_config(CONFIGS / f"{recipe}.yaml", output=tmp_path / "out")
    facts = plan(settings, device="cpu").facts
    assert facts["parameters"] - facts["trainable"] == weights + vocabulary
    assert facts["tokens_per_step"] == 256 * (512 + 2 * 512)
    assert facts["memory_per_device"] > 4 * facts["parameters"]
    assert "https://github.com/jakespringer/echo-embeddings" in facts["missing"]
    assert facts["assumed"].startswith(f"{settings.model} is not here, and the hub does not answer")
    in_chunks = plan(settings.model_copy(update={"gradient_cache": 8192}), device="cpu").facts
    assert in_chunks["memory_per_device"] < facts["memory_per_device"]


def test_tokens_of_a_backbone_that_is_not_at_hand_are_estimated_by_lengths_also_where_the_data_is(
    config: Callable[..., TrainingSettings],
) -> None:
    model = next(iter(SIZES))
    planned = plan(config(model=model, max_length={"query": 32, "document": 60}))
    assert planned.facts["rows"] == 12
    assert planned.facts["tokens_per_step"] == 6 * (32 + 2 * 60)
    assert planned.facts["missing"] is None
    assert planned.examples == []
    with pytest.raises(UnavailableError, match="the hub could not be asked for it"):
        plan(config(model="openbmb/of-unknown-size"))


def test_training_without_the_published_data_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"training data is not in .*echo-data") as told:
        train(CONFIGS / "minicpm2-2b.yaml", output=tmp_path / "out")
    assert "echo-embeddings" in told.value.hint
    assert "data_folder=FOLDER" in told.value.hint


def test_a_missing_file_of_a_published_name_is_not_taken_for_the_published_data(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    with pytest.raises(MissingError, match=r"There is no file .*squad\.jsonl"):
        plan(config(data=[{"path": str(tmp_path / "squad.jsonl")}]))


def test_one_file_of_the_published_data_that_lacks_is_named(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    there, lacking = list(INSTRUCTIONS)[:2]
    (tmp_path / f"{there}.jsonl").write_text(json.dumps({"query": "q", "positive": "p"}) + "\n")
    sets = [{"path": str(tmp_path / f"{name}.jsonl")} for name in (there, lacking)]
    with pytest.raises(MissingError, match=rf"There is no file .*{lacking}\.jsonl"):
        plan(config(data=sets, batch_size=1))
