"""The ablation benchmark from config to table, on a random model of a few thousand parameters."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORDS = ["wing", "lift", "drag", "heat", "flow", "jet", "shock", "wake"]


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablation", ROOT / "benchmarks" / "ablation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablation"] = module  # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        spec.loader.exec_module(module)
    return module


def rewrite(saved: Path, score: float) -> None:
    """Saved scores of a run, all of them `score`."""
    known = json.loads(saved.read_text())
    for task in known["tasks"].values():
        task["scores"] = {way: [score] * len(values) for way, values in task["scores"].items()}
    saved.write_text(json.dumps(known))


@pytest.fixture
def arguments(tiny_model: Callable[..., Path], tmp_path: Path) -> list[str]:
    rows = [{"query": f"of {w}", "positive": f"{w} {w}", "negative": WORDS[n - 1]} for n, w in enumerate(WORDS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "model": str(tiny_model("bert")), "thinking_steps": 2, "data": [{"path": "rows.jsonl"}], "batch_size": 4,
        "max_length": {"query": 32, "document": 60}, "lora": {"r": 4, "alpha": 8, "dropout": 0}, "warmup_steps": 0,
        "save_steps": 1, "output": "unused",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    task = tmp_path / "topics"
    (task / "qrels").mkdir(parents=True)
    (task / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"{w} {w}"}) + "\n" for w in WORDS))
    (task / "queries.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"of {w}"}) + "\n" for w in WORDS))
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{w}\t{w}\t1\n" for w in WORDS))
    return [
        str(tmp_path / "config.json"), "learning_rate=1e-3", "--tasks", str(task), "--seeds", "1",
        "--depths", "1", "2", "--max-steps", "2", "--output", str(tmp_path / "out"), "--device", "cpu",
    ]  # fmt: skip


def test_the_ablation_trains_scores_and_tells(
    ablation: ModuleType, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    real = ablation.train
    monkeypatch.setattr(ablation, "train", lambda s, **more: trained.append((s, more["resume"])) or real(s, **more))
    ablation.main(arguments)
    losses = {(s.thinking_steps, s.loss.contrast, s.loss.distill, s.seed, s.max_steps, resume) for s, resume in trained}
    assert losses == {
        (steps, contrast, distill, 1, 2, False)
        for steps, contrast, distill in ((1, "last", False), (2, "last", True), (2, "max", False), (2, "max", True))
    }  # fmt: skip
    table = (tmp_path / "out" / "ablation.md").read_text()
    for row in (
        "vanilla",
        "self-distillation only",
        "Chain-of-Deliberation only",
        "both",
        "1 step (vanilla)",
        "2 steps",
    ):
        assert f"| {row} | " in table
    assert (tmp_path / "out" / "ablation.png").read_bytes().startswith(b"\x89PNG")

    # again, with one run killed half-way and not scored: nothing else is done, the table is the same
    runs, scores, weights = tmp_path / "out" / "runs", tmp_path / "out" / "scores", "adapter_model.safetensors"
    killed = runs / "steps2-max-distill-seed1"
    before = {path: path.read_bytes() for path in runs.glob(f"*/{weights}")}
    for name in (weights, "debater.json"):
        (killed / name).unlink()
    (scores / "steps2-max-distill-seed1.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in runs.glob(f"*/{weights}")}
    (tmp_path / "out" / "ablation.md").unlink()
    ablation.main(arguments)
    assert (tmp_path / "out" / "ablation.md").read_text() == table
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert (killed / weights).read_bytes() == before[killed / weights]

    # the scores alone are enough elsewhere
    trained.clear()
    shutil.rmtree(runs)
    ablation.main([*arguments, "--output", str(tmp_path / "elsewhere"), "--scores", str(scores)])
    assert not trained
    assert (tmp_path / "elsewhere" / "ablation.md").read_text() == table


def test_chosen_parts_stand_beside_models_as_they_are_and_show_how_they_learned(
    ablation: ModuleType, arguments: list[str], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    config = json.loads(Path(arguments[0]).read_text())
    Path(arguments[0]).write_text(json.dumps(config | {"eval": {"task": "topics", "every": 1}}))
    model = str(tiny_model("bert"))
    again = [*arguments, "--parts", "vanilla", "both", "--depths", "--seeds", "1", "2", "--beside", model]
    ablation.main(again)
    folder = tmp_path / "out"
    table = (folder / "ablation.md").read_text().partition("## All steps")[0].splitlines()
    rows = [line.split(" | ")[0].strip("| ") for line in table if line.startswith("| ")]
    assert rows == ["variant", f"{Path(model).name} as it is", "vanilla", "both"]
    assert len({line.count("|") for line in table if line.startswith("|")}) == 1
    assert {path.name for path in (folder / "runs").iterdir() if path.is_dir()} == {
        f"{key}-seed{seed}" for key in ("steps1-last-plain", "steps2-max-distill") for seed in (1, 2)
    }
    for picture in ("ablation", "curves"):
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")

    # measured once, what is saved is what counts; the model is the same for both seeds
    for pattern, score in ((Path(model).name, 0.125), ("steps1-*-seed1", 0.25), ("steps1-*-seed2", 0.75)):
        [saved] = (folder / "scores").glob(f"{pattern}.json")
        rewrite(saved, score)
    ablation.main(again)
    assert "| .125 | .125 (.125 … .125) | -0.375 (" in (folder / "ablation.md").read_text()
    ablation.main([*again, "--parts", "both"])
    assert "as it is | .125 | .125 (.125 … .125) |  | | |" in (folder / "ablation.md").read_text()


def test_a_curve_is_the_mean_over_the_seeds_that_reached_a_step(ablation: ModuleType) -> None:
    def log(*scores: float) -> list[dict[str, Any]]:
        measured = [{"phase": "evaluation", "step": n, "ndcg@10": score} for n, score in enumerate(scores, start=1)]
        return [{"phase": "training", "step": 1, "contrast": 9.0}, *measured]

    pictures = sys.modules["ablation_pictures"]
    assert pictures._mean_curve([log(0.25, 0.5), log(0.75)], "evaluation", "ndcg@10") == ([1, 2], [0.5, 0.5])
    assert pictures._mean_curve([log(0.25)], "training", "contrast") == ([1], [9.0])


def test_scores_of_other_settings_are_not_reused(ablation: ModuleType, arguments: list[str], tmp_path: Path) -> None:
    options = ablation.parsed(arguments)
    [vanilla, *_] = ablation.parts(2)
    right = ablation.run(vanilla, 1, options)
    [saved] = (tmp_path / "out" / "scores").glob("*.json")
    rewrite(saved, 9.0)
    assert next(iter(ablation.run(vanilla, 1, options)[options.tasks[0]]["last"].values())) == 9.0
    shutil.rmtree(tmp_path / "out" / "runs")
    other = ablation.parsed([*arguments, "--max-steps", "1"])
    assert next(iter(ablation.run(vanilla, 1, other)[options.tasks[0]]["last"].values())) != 9.0
    shutil.rmtree(tmp_path / "out" / "runs")
    assert ablation.run(vanilla, 1, options) == right


def test_means_and_intervals_count_tasks_alike_and_pair_queries(ablation: ModuleType) -> None:
    low = ablation.Summary([{"a": {"last": {"1": 0.0, "2": 1.0}}, "b": {"last": {"1": 0.5}}}] * 2)
    high = ablation.Summary([{"a": {"last": {"1": 0.1, "2": 1.1}}, "b": {"last": {"1": 0.6}}}] * 2)
    assert low.mean == pytest.approx(0.5)
    assert low.interval() == pytest.approx((0.25, 0.75))
    assert high.interval(low) == pytest.approx((0.1, 0.1))
    difference = sys.modules["ablation_tables"]._difference
    assert difference(high, low) == "+0.100 (+0.100 … +0.100)"
    more = {"a": {"last": {"1": 1.0, "2": 1.0}}, "b": {"last": {"1": 1.0}}}  # of a seed that high lacks
    assert difference(high, ablation.Summary([*low.scores, more])) == "+0.100 (+0.100 … +0.100)"


def test_steps_learn_from_their_teachers_and_the_last_from_all(ablation: ModuleType) -> None:
    def overrides(steps: int, teachers: list[str]) -> str:
        return " ".join(ablation.depths([steps])[0].overrides(teachers))

    own = ["base", "words", "mpnet"]
    assert 'loss.step_teachers=["base", "words", "mpnet", "base", "all"]' in overrides(5, own)
    assert 'loss.step_teachers=["base", "all"]' in overrides(2, own)
    assert "loss.step_teachers=[] thinking.diversity=0" in overrides(1, own)
    assert "loss.step_teachers=[]" in overrides(4, [])


def test_documents_are_also_scored_by_all_their_steps(
    ablation: ModuleType, arguments: list[str], tmp_path: Path
) -> None:
    options = ablation.parsed(arguments)
    vanilla, *_, both = ablation.parts(2)
    [ways] = ablation.run(both, 1, options).values()
    assert list(ways) == ["last", "max", "mean", "oracle"]
    assert all(ways["oracle"][word] >= ways["last"][word] for word in WORDS)
    [alone] = ablation.run(vanilla, 1, options).values()
    assert list(alone) == ["last"]
    table = sys.modules["ablation_tables"].together
    done = {vanilla.key: ablation.Summary([{"t": alone}]), both.key: ablation.Summary([{"t": ways}])}
    assert [line.split(" | ")[:2] for line in table(["t"], [vanilla, both, both], done) if "both" in line] == [
        ["| both", way] for way in ("max", "mean", "oracle")
    ]


def test_a_sample_of_the_corpus_stands_beside_the_judged_documents(
    ablation: ModuleType, arguments: list[str], tmp_path: Path
) -> None:
    corpus = tmp_path / "topics" / "corpus.jsonl"
    corpus.write_text(corpus.read_text() + "".join(json.dumps({"_id": f"x{n}", "text": "x"}) + "\n" for n in range(9)))
    ids = {document.id for document in ablation.measured(str(tmp_path / "topics"), 2).corpus()}
    assert ids > set(WORDS)
    assert len(ids) == len(WORDS) + 2
    assert len(list(ablation.measured(str(tmp_path / "topics"), None).corpus())) == len(WORDS) + 9


def test_scores_over_a_sample_are_not_those_over_the_corpus(
    ablation: ModuleType, arguments: list[str], tmp_path: Path
) -> None:
    corpus = tmp_path / "topics" / "corpus.jsonl"
    corpus.write_text(
        corpus.read_text() + "".join(json.dumps({"_id": f"of {w}", "text": f"of {w}"}) + "\n" for w in WORDS)
    )
    [vanilla, *_] = ablation.parts(2)
    sampled = ablation.run(vanilla, 1, ablation.parsed([*arguments, "--sample", "0"]))
    assert ablation.run(vanilla, 1, ablation.parsed(arguments)) != sampled
