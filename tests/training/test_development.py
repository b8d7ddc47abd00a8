"""nDCG@10 while training: the best checkpoint, early stopping, a sampled corpus, shared work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from debater_search.encoder import Encoder
from debater_search.evaluation import evaluate, load_task
from debater_search.training import load_config, train
from debater_search.training.development import DevelopmentSet, SampledTask
from debater_search.training.measurements import Measurements
from debater_search.training.run import Run
from debater_search.training.run_folder import best_measured
from debater_search.training.sections import Evaluation
from debater_search.training.settings import TrainingSettings
from tests.training.topics import WORDS, metrics


def test_evaluation_while_training_keeps_the_best_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    task = tmp_path / "task"
    (task / "qrels").mkdir(parents=True)
    (task / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"{w} {w}"}) + "\n" for w in WORDS))
    (task / "queries.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"what of {w}"}) + "\n" for w in WORDS))
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{w}\t{w}\t1\n" for w in WORDS))
    settings = config(eval={"task": str(task), "every": 3})
    folder = train(settings)
    scores = [row["ndcg@10"] for row in metrics(folder, "evaluation")]
    assert len(scores) == 2
    assert json.loads((folder / "best" / "debater.json").read_text())["provenance"]["metrics"]["evaluation"][
        "ndcg@10"
    ] == max(scores)

    log = (folder / "metrics.jsonl").read_text().splitlines()
    better = [line.replace(f'"ndcg@10": {scores[0]}', '"ndcg@10": 2.0') for line in log]
    (folder / "metrics.jsonl").write_text("\n".join(better) + "\n")
    best = (folder / "best" / "debater.json").stat().st_mtime_ns
    (folder / "debater.json").unlink()
    train(settings, resume=True)  # from step 4: its score cannot beat the one before
    assert (folder / "best" / "debater.json").stat().st_mtime_ns == best


def test_a_checkpoint_is_written_after_its_evaluation(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(
        "debater_search.training.run.DevelopmentSet", lambda settings, seed: SimpleNamespace(settings=settings)
    )
    monkeypatch.setattr(Measurements, "measure_start", lambda self: done.append("start"))
    monkeypatch.setattr(Measurements, "measure", lambda self, step: done.append(f"score {step}"))
    monkeypatch.setattr(Run, "_save", lambda self, step, optimizer: done.append(f"save {step}"))
    train(config(eval={"task": "task", "every": 2}, max_steps=4))
    assert done == ["start", "score 2", "save 2", "score 4", "save 4"]


def test_training_stops_when_measurements_bring_no_new_best(
    config: Callable[..., TrainingSettings],
    development: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "debater_search")
    scores = iter([0.45, 0.3, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(DevelopmentSet, "measure", lambda *_: {"ndcg@10": next(scores)})
    folder = train(config(max_steps=9, eval={"task": str(development), "every": 1, "patience": 2}))
    assert [row["ndcg@10"] for row in metrics(folder, "evaluation")] == [0.3, 0.5, 0.4, 0.5]
    assert json.loads((folder / "debater.json").read_text())["provenance"]["step"] == 4
    assert json.loads((folder / "best" / "debater.json").read_text())["provenance"]["step"] == 2
    assert [line for line in caplog.messages if "nDCG" in line] == [
        "Before training: nDCG@10 0.4500",
        "Step 1: nDCG@10 0.3000 (-0.1500 to before training), the best while training",
        "Step 2: nDCG@10 0.5000 (+0.0500 to before training), the best",
        "Step 3: nDCG@10 0.4000 (-0.0500 to before training)",
        "Step 4: nDCG@10 0.5000 (+0.0500 to before training)",
    ]
    assert best_measured(folder) == (2, 0.5)


def test_a_run_that_makes_the_model_worse_says_so(
    config: Callable[..., TrainingSettings],
    development: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scores = iter([0.45, 0.3, 0.4, 0.35])
    monkeypatch.setattr(DevelopmentSet, "measure", lambda *_: {"ndcg@10": next(scores)})
    settings = config(max_steps=2, eval={"task": str(development), "every": 1})
    folder = train(settings)
    assert [row["ndcg@10"] for row in metrics(folder, "before training")] == [0.45]
    said = "Training made the model worse: nDCG@10 was 0.4500 before, and is 0.4000 at best."
    assert [line.startswith(said) for line in caplog.messages if "worse" in line] == [True]
    assert f"| {development.name}, before training | ndcg@10 | 0.4500 |" in (folder / "best" / "README.md").read_text()
    longer = settings.model_copy(update={"max_steps": 3})
    train(longer, resume=True, force=True)  # the start is not measured again
    assert [row["ndcg@10"] for row in metrics(folder, "evaluation")] == [0.3, 0.4, 0.35]
    assert [line.startswith(said) for line in caplog.messages if "worse" in line] == [True, True]


def test_a_sample_keeps_all_judged_documents(development: Path) -> None:
    more = [json.dumps({"_id": f"other{n}", "text": f"other {n}"}) for n in range(50)]
    with (development / "corpus.jsonl").open("a") as file:
        file.write("\n".join(more) + "\n")
    task = SampledTask(load_task(development), 7, seed=1)
    ids = [document.id for document in task.corpus()]
    assert len(ids) == len(set(ids)) == len(WORDS) + 7
    assert set(WORDS) <= set(ids)
    assert [document.id for document in SampledTask(load_task(development), 7, seed=1).corpus()] == ids
    assert [document.id for document in SampledTask(load_task(development), 7, seed=2).corpus()] != ids


def test_a_measurement_writes_nothing_and_scores_as_an_evaluation_does(
    tiny_model: Callable[..., Path], development: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = [Encoder.load(tiny_model("bert"), thinking_steps=steps, device="cpu") for steps in (1, 3)]
    expected = [evaluate(str(development), encoder).metrics["ndcg@10"] for encoder in encoders]
    for writer in ("store.corpus.new_database", "store.embedding_writer.EmbeddingWriter", "vectors.backend"):
        monkeypatch.setattr(f"debater_search.{writer}", None)
    alone: Any = SimpleNamespace(processes=1, sharded=False)
    task = DevelopmentSet(Evaluation(task=str(development)), seed=1)
    assert [task.measure(encoder, alone)["ndcg@10"] for encoder in encoders] == pytest.approx(expected)


def test_every_thinking_step_is_measured(config: Callable[..., TrainingSettings], development: Path) -> None:
    folder = train(config(max_steps=2, eval={"task": str(development), "every": 2, "sample": 3}))
    [row] = metrics(folder, "evaluation")
    assert len(row["steps"]) == 3
    assert row["steps"][-1] == row["ndcg@10"]


def test_of_several_tasks_the_mean_counts(tiny_model: Callable[..., Path], development: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(development, other)
    judged = "".join(f"{word}\t{WORDS[n - 1]}\t1\n" for n, word in enumerate(WORDS))
    (other / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    encoder = Encoder.load(tiny_model("bert"), thinking_steps=2, device="cpu")
    alone: Any = SimpleNamespace(processes=1, sharded=False)

    def measured(task: str | list[str]) -> dict[str, Any]:
        return DevelopmentSet(Evaluation(task=task), seed=1).measure(encoder, alone)

    one, two = measured(str(development)), measured([str(other)])
    both = measured([str(development), str(other)])
    assert one["ndcg@10"] != two["ndcg@10"]
    assert both["ndcg@10"] == pytest.approx((one["ndcg@10"] + two["ndcg@10"]) / 2)
    assert both["steps"] == pytest.approx([(a + b) / 2 for a, b in zip(one["steps"], two["steps"], strict=True)])
    assert (both["ndcg@10 task"], both["ndcg@10 other"]) == pytest.approx((one["ndcg@10"], two["ndcg@10"]))


@pytest.mark.parametrize("task", [[], ["a", "a"]])
def test_no_task_or_one_twice_is_refused(task: list[str]) -> None:
    with pytest.raises(ValidationError):
        Evaluation(task=task)


def test_tasks_lie_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: d}]\neval: {task: [a, b]}\n")
    evaluation = load_config(tmp_path / "c.yaml").eval
    assert evaluation is not None
    assert evaluation.tasks == [str(tmp_path / "a"), str(tmp_path / "b")]
