"""What a dry run advises where the estimated memory is more than the device has."""

from collections.abc import Callable
from typing import Any

import pytest

from debater_search.cli.output import results
from debater_search.cli.train import show_plan
from debater_search.training import plan
from debater_search.training.settings import TrainingSettings


@pytest.fixture
def planned(config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Facts of a plan of long texts for a device of so many bytes; beside libraries the tiny model would not count."""
    monkeypatch.setattr("debater_search.training.memory.LIBRARIES", 0)

    def facts(has: int, **settings: Any) -> dict[str, Any]:
        monkeypatch.setattr("debater_search.training.dry_run.memory_of", lambda device, processes: has)
        lengths = {"query": 512, "document": 4096}
        long = config("llama", **{"max_length": lengths, "batch_size": 12, "lora": None, **settings})
        return plan(long, device="cpu", without_data=True).facts

    return facts


def test_settings_that_lower_the_memory_are_named_until_it_fits(planned: Callable[..., dict[str, Any]]) -> None:
    need = planned(0)["memory_per_device"]
    assert planned(need)["savings"] == []
    assert [saving["setting"] for saving in planned(need - 1)["savings"]] == ["gradient_cache=8192"]
    assert [saving["setting"] for saving in planned(0)["savings"]] == [
        "gradient_cache=8192",
        "gradient_checkpointing=true",
        "gradient_cache=2048",
    ]
    assert "batch_size=2048" in [saving["setting"] for saving in planned(0, batch_size=4096)["savings"]]


def test_an_advised_setting_gives_the_memory_that_was_promised(planned: Callable[..., dict[str, Any]]) -> None:
    first, second, third = (saving["memory_per_device"] for saving in planned(0)["savings"])
    assert planned(0, gradient_cache=8192)["memory_per_device"] == first
    assert planned(0, gradient_cache=8192, gradient_checkpointing=True)["memory_per_device"] == second
    assert planned(0, gradient_cache=2048, gradient_checkpointing=True)["memory_per_device"] == third


def test_settings_that_exclude_each_other_are_not_advised_together(planned: Callable[..., dict[str, Any]]) -> None:
    reads_states = planned(0, thinking={"input": "state"})
    assert "gradient_checkpointing=true" not in [saving["setting"] for saving in reads_states["savings"]]


def test_a_plan_that_does_not_fit_says_what_helps_and_how_to_plan_for_a_gpu(
    planned: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with results(False) as out:
        show_plan(out, {**planned(10**4), "examples": []})
    said = capsys.readouterr().out
    assert "GB per device (float32 on cpu)" in said
    assert "cpu has 0.0 GB for each process" in said
    assert "add precision=bf16" in said
    assert said.index("gradient_cache=8192  ") < said.index("gradient_checkpointing=true  ")
    assert "train a smaller model" in said
