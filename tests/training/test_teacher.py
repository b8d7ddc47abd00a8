"""The base model and BM25 as teachers of a whole batch."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from debater_search.data import open_training_set
from debater_search.encoder import Encoder
from debater_search.encoder.loading.hub import locate
from debater_search.training import DeliberationLoss, load_config, train
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.loss import Labels
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import prepare
from debater_search.training.teacher import BaseTeacher
from tests.training.topics import metrics

COUNTED = ["a b", "a c", "a d d"]


def batch(queries: list[str], positives: list[str]) -> Batch:
    return Batch(queries, positives, [], Labels(lexical=torch.tensor([0.5, 1.5][: len(queries)])))


def test_its_scores_are_cosines_and_a_share_of_bm25(tiny_model: Callable[..., Path]) -> None:
    queries, documents = ["d", "a b"], ["a d d", "c c"]
    given = batch(queries, documents)
    base = Encoder.load(tiny_model("bert"), device="cpu")
    both, cosine = BaseTeacher(base, 32, COUNTED), BaseTeacher(base, 32)

    def scores(of: BaseTeacher) -> np.ndarray:
        labels = of.labelled(replace(given, targets=of.reads(given))).labels
        assert labels.teacher_queries is not None
        assert labels.teacher_documents is not None
        return (labels.teacher_queries @ labels.teacher_documents.T).numpy()

    vectors = cosine.base.encode_queries(queries) @ cosine.base.encode_documents(documents).T
    assert np.allclose(scores(cosine), vectors, atol=1e-5)

    idf = {word: np.log(1 + (3 - n + 0.5) / (n + 0.5)) for word, n in {"a": 3, "b": 1, "d": 1}.items()}
    usual = 13 / 3  # tokens of a counted text, special ones included
    length = 5 / usual  # of "a d d"
    held = {n: n / (n + 1.5 * (0.25 + 0.75 * length)) for n in (1, 2)}
    assert scores(both)[0] - vectors[0] == pytest.approx([0.5 * held[2], 0], abs=1e-5)
    assert scores(both)[1] - vectors[1] == pytest.approx(
        [1.5 * held[1] * idf["a"] / (idf["a"] + idf["b"]), 0], abs=1e-5
    )


def test_words_weigh_in_each_set_as_it_says(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    rows = str(tmp_path / "rows.jsonl")
    loss = {"teacher": "base", "teacher_lexical": 0.3}
    data = TrainingData(config(data=[{"path": rows}, {"path": rows, "teacher_lexical": 0}], loss=loss))
    for step in range(data.steps_per_epoch):
        [chosen] = {row.set for row in data.rows(step)}
        assert data.batch(step).labels.lexical.tolist() == pytest.approx([(0.3, 0)[chosen]] * 6)


def test_a_run_is_taught_by_the_model_before_training(config: Callable[..., TrainingSettings]) -> None:
    loss = {"teacher": "base", "teacher_scale": 30, "teacher_lexical": 0.3, "teacher_weight": 4}
    folder = train(config(max_steps=40, save_steps=100, readout="residual", loss=loss, lora={"r": 8, "dropout": 0}))
    taught = [row["teacher"] for row in metrics(folder)]
    assert np.mean(taught[-5:]) < 0.7 * np.mean(taught[:5])
    assert json.loads((folder / "debater.json").read_text())["document_pooling"] == "residual"


def test_documents_are_longer_in_search_than_in_training(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = config(max_length={"query": 32, "document": 10, "search": 20})
    run = Run(settings, tmp_path / "unused", "cpu", False)
    given = batch(["a"], ["b " * 30])
    [_, document] = prepare(run.student, given, settings.max_length.document).tokens
    assert len(document.ids) == 10
    assert len(run.student.token_ids(["b " * 30], "document")[0]) == 20
    assert Encoder.load(train(settings), device="cpu").spec.document_length == 20


def test_the_shipped_model_says_what_made_it_and_its_config_would_make_it_again() -> None:
    settings = load_config(Path(__file__).parents[2] / "configs" / "debater-mini.yaml")
    shipped = json.loads((locate("debater-mini").folder / "debater.json").read_text(encoding="utf-8"))
    made_by = TrainingSettings.model_validate(shipped["provenance"]["config"])  # settings that came later: as default
    assert made_by.model_dump(exclude={"data"}) == settings.model_dump(exclude={"data"})
    assert [(Path(d.path).name, d.weight, d.teacher_lexical) for d in made_by.data] == [
        (Path(d.path).name, d.weight, d.teacher_lexical) for d in settings.data
    ]
    assert shipped["document_pooling"] == "residual"
    files = {Path(data.path).name.split(".")[0]: open_training_set(data.path).fingerprint for data in settings.data}
    assert shipped["provenance"]["data"] == files


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"loss": {"teacher_lexical": 0.3}}, "teacher: base"),
        ({"data": [{"path": "x", "teacher_lexical": 0.3}]}, "teacher: base"),
        ({"thinking_weight": 0.5}, "readout: residual"),
        ({"max_length": {"query": 32, "document": 40, "search": 39}}, "below document"),
        (
            {"loss": {"teacher": "base", "teacher_lexical": 0.3}, "data": [{"path": "x", "instruction": "Find:"}]},
            "words of the instruction",
        ),
    ],
)
def test_settings_that_would_do_nothing_or_harm_are_refused(
    config: Callable[..., TrainingSettings], more: dict[str, object], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        config(**more)


def test_cosines_are_scaled_as_the_students(config: Callable[..., TrainingSettings]) -> None:
    assert DeliberationLoss(**config(loss={"teacher": "base", "scale": 20}).loss.arguments()).teacher_scale == 20
    assert DeliberationLoss(**config(loss={"teacher": "kl"}).loss.arguments()).teacher_scale == 1


def test_a_teacher_sees_no_more_of_a_text_than_the_student(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = config(max_length={"query": 32, "document": 12}, loss={"teacher": "base", "teacher_lexical": 0.3})
    run = Run(settings, tmp_path / "unused", "cpu", False)
    given = batch(["a"], ["b " * 30])
    [_, read] = run._teacher().reads(given)
    [_, document] = prepare(run.student, given, settings.max_length.document).tokens
    assert document.ids[:-3] == read.ids


def test_texts_with_broken_characters_are_counted(tiny_model: Callable[..., Path]) -> None:
    base = Encoder.load(tiny_model("bert"), device="cpu")
    assert BaseTeacher(base, 32, ["a \ud800 b"]).usual_length > 1
