import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import REPOSITORY, Debater

CONFIG = "model: minilm\nthinking_steps: 2\ndata:\n  - path: train.jsonl\noutput: checkpoints/x\n"


@pytest.fixture
def config(workdir: Path) -> str:
    row = json.dumps({"query": "q", "positive": "p", "negative": "n"})
    (workdir / "train.jsonl").write_text(row + "\n", encoding="utf-8")
    (workdir / "train.yaml").write_text(CONFIG, encoding="utf-8")
    return "train.yaml"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What `training.train` was asked for; it trains nothing."""
    asked: list[tuple[Any, dict[str, Any]]] = []

    def train(settings: Any, **options: Any) -> Path:
        asked.append((settings, options))
        return Path(options["output"] or settings.output)

    monkeypatch.setattr("debater_search.training.train", train)
    return asked


def test_overrides_and_options_reach_the_trainer(
    debater: Debater, config: str, trained: list[tuple[Any, dict[str, Any]]]
) -> None:
    outcome = debater("train", config, "max_steps=7", "lora.r=4", "--output", "out", "--resume", "--device", "cpu",
                      "--processes", "3")  # fmt: skip
    assert outcome.code == 0
    ((settings, options),) = trained
    assert (settings.max_steps, settings.lora.r) == (7, 4)
    assert options == {
        "output": Path("out"), "resume": True, "force": False, "device": "cpu", "progress": True,
        "processes": 3,
    }  # fmt: skip
    assert "Next: debater index CORPUS --model out" in outcome.out


def test_json_names_the_checkpoint(debater: Debater, config: str, trained: list[tuple[Any, dict[str, Any]]]) -> None:
    assert debater("train", config, "--json").json == {"checkpoint": "checkpoints/x"}


def test_the_next_step_indexes_the_best_checkpoint_where_the_run_measured(
    debater: Debater, config: str, trained: list[tuple[Any, dict[str, Any]]]
) -> None:
    best = Path("checkpoints/x/best")
    best.mkdir(parents=True)
    provenance = {"step": 2, "metrics": {"evaluation": {"step": 2, "ndcg@10": 0.81}}}
    (best / "debater.json").write_text(json.dumps({"provenance": provenance}))
    assert "best" not in debater("train", config).out  # of an earlier run: this one measures nothing
    outcome = debater("train", config, "eval.task=task")
    assert "step 2: nDCG@10 0.8100, in checkpoints/x/best" in outcome.out
    assert "Next: debater index CORPUS --model checkpoints/x/best" in outcome.out
    assert debater("train", config, "eval.task=task", "--json").json["best"] == {"step": 2, "ndcg@10": 0.81}
    provenance["metrics"] |= {"before training": {"ndcg@10": 0.9}}
    (best / "debater.json").write_text(json.dumps({"provenance": provenance}))
    worse = debater("train", config, "eval.task=task").out
    assert "nDCG@10 0.9000, of the model before training" in worse
    assert "Next:" not in worse


@pytest.mark.parametrize(
    ("name", "flags", "sentence"),
    [
        ("checkpoint-3", [], "Interrupted. Go on with --resume; the last checkpoint is of step 3.\n"),
        ("warm-4", [], "Interrupted. Go on with --resume; the last checkpoint is of step 4 of the warm start.\n"),
        ("checkpoint-3", ["--resume", "--force"], "Interrupted. Go on with --resume --force; the last checkpoint is of "
         "step 3.\n"),
        ("tensorboard", [], "Interrupted.\n"),
    ],
)  # fmt: skip
def test_an_interrupted_run_says_how_to_go_on(
    debater: Debater, config: str, monkeypatch: pytest.MonkeyPatch, name: str, flags: list[str], sentence: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        folder = Path("checkpoints/x", name)
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("debater_search.training.train", interrupted)
    outcome = debater("train", config, *flags)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", sentence)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["none.yaml"], "none.yaml"),
        (["train.yaml", "learning_rat=1"], "learning_rate"),
        (["train.yaml", "seed=x"], "seed"),
        (["train.yaml", "lora.rank=8"], "Did you mean lora.r?"),
        (["train.yaml", "data=train.jsonl"], "each written as - path: FILE"),
        (["train.yaml", "data=[train.jsonl]"], "each written as - path: FILE"),
        (["train.jsonl"], "train.jsonl is data, not a config"),
        (["train.jsonl"], "data: [{path: train.jsonl}]"),
        (["train.yaml", "processes=2"], "Did you mean --processes?"),
    ],
)
def test_a_bad_config_is_a_sentence(debater: Debater, config: str, arguments: list[str], word: str) -> None:
    outcome = debater("train", *arguments, "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err
    assert "Traceback" not in outcome.err
    assert not Path("checkpoints").exists()


def test_a_config_of_the_released_code_is_shown_in_our_words_and_trained(
    debater: Debater, workdir: Path, trained: list[tuple[Any, dict[str, Any]]]
) -> None:
    (workdir / "echo-data").mkdir()
    (workdir / "echo-data" / "nq.jsonl").touch()
    released = {"model_name_or_path": "openbmb/MiniCPM-2B-sft-bf16", "dataset_file_path": "echo-data", "lora_r": 8}
    (workdir / "released.json").write_text(json.dumps(released), encoding="utf-8")
    outcome = debater("train", "released.json", "max_steps=7", "--output", "out")
    assert outcome.code == 0
    assert "model: openbmb/MiniCPM-2B-sft-bf16\n" in outcome.err
    ((settings, options),) = trained
    assert (settings.max_steps, settings.lora.r, settings.batch_size, options["output"]) == (7, 8, 256, Path("out"))
    assert [data.path for data in settings.data] == [str(workdir / "echo-data" / "nq.jsonl")]
    answer = debater("train", "released.json", "--output", "out", "--json").json
    assert answer["checkpoint"] == "out"
    assert "preset: released-code" in answer["translated"]


def test_the_data_of_a_shipped_config_is_all_there_is_to_set(
    debater: Debater, workdir: Path, trained: list[tuple[Any, dict[str, Any]]]
) -> None:
    shipped = REPOSITORY / "configs" / "minicpm2-2b.yaml"
    assert debater("train", str(shipped), "data_folder=my/echo-data").code == 0
    assert debater("train", str(shipped)).code == 0
    elsewhere, beside = ([data.path for data in settings.data] for settings, _ in trained)
    assert elsewhere[0] == "my/echo-data/allnli.jsonl"
    assert beside[0] == str(REPOSITORY / "configs" / ".." / "data" / "echo-data" / "allnli.jsonl")


def test_an_output_on_the_command_line_need_not_be_in_the_config(
    debater: Debater, config: str, trained: list[tuple[Any, dict[str, Any]]]
) -> None:
    Path(config).write_text(CONFIG.replace("output: checkpoints/x\n", ""), encoding="utf-8")
    assert "the setting output is missing" in debater("train", config).err
    for output in ("a: b", "~", "caf\udce9", "[x"):
        assert debater("train", config, "--output", output).code == 0
        assert trained[-1][0].output == output


def test_a_dry_run_without_the_data_shows_memory_and_fails(debater: Debater, config: str) -> None:
    Path("train.jsonl").unlink()
    outcome = debater("train", config, "--dry-run", "--json")
    assert (outcome.code, outcome.json["plan"]["missing"]) == (2, "There is no file train.jsonl.")
    assert outcome.json["plan"]["memory_per_device"] > 10**8
    assert "train.jsonl" in outcome.err
    outcome = debater("train", config, "--dry-run")
    assert "tokens per step  at most" in outcome.out
    assert "not known: data is missing" in outcome.out


def test_a_dry_run_of_a_published_recipe_works_without_its_data_and_its_backbone(
    debater: Debater, workdir: Path
) -> None:
    shipped = str(REPOSITORY / "configs" / "minicpm3-4b.yaml")
    outcome = debater("train", shipped, "--dry-run", "--device", "cpu")
    assert outcome.code == 0
    assert "memory           about " in outcome.out
    assert "tokens per step  at most 393,216" in outcome.out
    assert "https://github.com/jakespringer/echo-embeddings" in outcome.out
    assert "openbmb/MiniCPM3-4B is not here" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("A run cannot start yet: first get the data and the model")
    assert "/tmp" not in outcome.err
    assert debater("train", shipped, "--dry-run", "--json").json["plan"]["assumed"]
