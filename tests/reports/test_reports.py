"""The picture of a run says what its log says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from debater_search.reports.training import draw_training, read_metrics, smoothed


def entries(*, warm: bool = False, teacher: bool = False, scores: tuple[float, ...] = (), depth: int = 3) -> list[dict]:
    rows: list[dict] = []
    if warm:
        rows += [{"phase": "warm start", "step": n, "distance": 1 / n, "order": 0.1, "learning_rate": 1e-3 / n}
                 for n in range(1, 4)]  # fmt: skip
    more = {"teacher": 0.5} if teacher else {}
    rows += [{"phase": "training", "step": n, "contrast": 3 / n, "distill": 2 / n, "learning_rate": 1e-4, **more}
             for n in range(1, 9)]  # fmt: skip
    for n, score in enumerate(scores, start=1):
        steps = {"steps": [score - 0.01 * (depth - 1 - i) for i in range(depth)]} if depth else {}
        rows.append({"phase": "evaluation", "step": 2 * n, "ndcg@10": score, **steps})
    return rows


def drawn(folder: Path, rows: list[dict], cut_off: str = "") -> str:
    """The words of the picture."""
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + cut_off, encoding="utf-8")
    draw_training(folder / "metrics.jsonl", folder / "training.png")
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    return "\n".join(re.findall(r"<!-- (.*?) -->", (folder / "training.svg").read_text(encoding="utf-8")))


def test_the_picture_shows_losses_rate_and_every_thinking_step(tmp_path: Path) -> None:
    words = drawn(tmp_path, entries(warm=True, teacher=True, scores=(0.3, 0.36, 0.35)))
    for label in ("Warm start", "Training", "contrast", "self-distillation", "teacher", "Learning rate", "step 1"):
        assert label in words
    assert "step 3, used for search" in words
    assert "0.360 at step 4" in words


def test_of_equal_scores_the_first_is_the_best_checkpoint(tmp_path: Path) -> None:
    assert "0.300 at step 2" in drawn(tmp_path, entries(scores=(0.3, 0.3)))


def test_no_legend_covers_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("debater_search.reports.training.save", lambda figure, picture: made.append(figure))
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in entries(warm=True, teacher=True, scores=(0.3, 0.36, 0.35), depth=8))
    )
    draw_training(tmp_path / "metrics.jsonl", tmp_path / "training.png")
    [figure] = made
    figure.draw_without_rendering()
    whole, panels = figure.bbox, [axes.get_window_extent() for axes in figure.axes]
    legends = [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
    assert len(legends) == 3
    for n, legend in enumerate(legends):
        assert not any(legend.overlaps(other) for other in [*panels, *legends[:n]])
        assert whole.x0 <= legend.x0 < legend.x1 <= whole.x1
        assert whole.y0 <= legend.y0 < legend.y1 <= whole.y1


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    words = drawn(tmp_path, entries())
    assert "Training" in words
    for label in ("nDCG@10", "teacher", "Warm start"):
        assert label not in words


def test_scores_without_thinking_steps_are_one_curve(tmp_path: Path) -> None:
    words = drawn(tmp_path, entries(scores=(0.3, 0.4), depth=0))
    assert "nDCG@10" in words
    assert "used for search" not in words


def test_a_log_that_a_kill_cut_off_is_drawn(tmp_path: Path) -> None:
    drawn(tmp_path, entries(scores=(0.3,)), cut_off='{"phase": "trai')
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 9


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    pictures = []
    for _ in range(2):
        drawn(tmp_path, entries(scores=(0.3,)))
        pictures.append([(tmp_path / f"training.{kind}").read_bytes() for kind in ("png", "svg")])
    assert pictures[0] == pictures[1]


def test_smoothing_has_no_start_from_zero() -> None:
    assert smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2, 2, 2])
