"""The base model and BM25 as teachers of a whole batch."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from debater_search.data import open_training_set
from debater_search.encoder import Encoder
from debater_search.encoder.loading.hub import locate
from debater_search.errors import UnavailableError
from debater_search.training import DeliberationLoss, load_config, train
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.candidates import Labels
from debater_search.training.chunks import Text
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_teachers
from debater_search.training.steps import prepare, vectors
from debater_search.training.teacher import BaseTeacher
from tests.training.topics import metrics

COUNTED = ["a b", "a c", "a d d"]


def batch(queries: list[str], positives: list[str]) -> Batch:
    lexical = torch.tensor([0.5, 1.5][: len(queries)])
    return Batch(queries, positives, [], Labels(lexical=lexical), questions=queries)


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


def test_other_encoders_cosines_are_added_with_their_weight(tiny_model: Callable[..., Path]) -> None:
    given = batch(["d", "a b"], ["a d d", "c c"])
    base, other = (Encoder.load(tiny_model(family), device="cpu") for family in ("bert", "llama"))
    teacher = BaseTeacher(base, 32, COUNTED, others=[(other, 0.5)])
    labels = teacher.labelled(replace(given, targets=teacher.reads(given))).labels
    assert labels.teacher_sizes.tolist() == [32, 200, 32]  # base, words, the other
    asked, held = labels.teacher_queries[:, -32:], labels.teacher_documents[:, -32:]
    expected = 0.5 * other.encode_queries(given.queries) @ other.encode_documents(given.documents).T
    assert np.allclose(asked @ held.T, expected, atol=1e-5)


def test_only_the_base_model_reads_a_querys_instruction(tiny_model: Callable[..., Path]) -> None:
    base, other = (Encoder.load(tiny_model(family), device="cpu") for family in ("bert", "llama"))
    teacher = BaseTeacher(base, 32, COUNTED, others=[(other, 1.0)])
    plain = batch(["d", "a b"], ["a d d", "c c"])
    led = replace(plain, queries=["c d", "c a b"])

    def asked(given: Batch) -> tuple[torch.Tensor, ...]:
        queries = teacher.labelled(replace(given, targets=teacher.reads(given))).labels.teacher_queries
        assert queries is not None
        return queries.split([32, 200, 32], 1)

    (by_base, words, by_other), (plain_base, plain_words, plain_other) = asked(led), asked(plain)
    assert torch.equal(words, plain_words)
    assert torch.allclose(by_other, plain_other, atol=1e-6)
    assert not torch.allclose(by_base, plain_base, atol=1e-3)
    assert np.allclose(by_base, base.encode_queries(led.queries, instruction=""), atol=1e-5)


def test_kept_vectors_are_made_once_for_queries_and_documents_each(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = batch(["d", "a"], ["a", "c c"])
    plain = BaseTeacher(Encoder.load(tiny_model("bert"), device="cpu"), 32)
    kept = BaseTeacher(plain.base, 32, cached=True)
    encoded: list[Text] = []

    def labels(of: BaseTeacher, given: Batch) -> Labels:
        return of.labelled(replace(given, targets=of.reads(given))).labels

    def noted(encoder: Encoder, texts: Sequence[Text]) -> torch.Tensor:
        encoded.extend(texts)
        return vectors(encoder, texts)

    expected = labels(plain, first)
    monkeypatch.setattr("debater_search.training.teacher.vectors", noted)
    for times in (4, 0):
        encoded.clear()
        found = labels(kept, first)
        assert len(encoded) == times
        assert torch.allclose(found.teacher_queries, expected.teacher_queries, atol=1e-6)
        assert torch.allclose(found.teacher_documents, expected.teacher_documents, atol=1e-6)
    labels(BaseTeacher(plain.base, 32, cached=True), batch(["a", "b"], ["c c", "a"]))
    assert len(encoded) == 1  # the query b; another teacher of the same model finds the rest
    labels(BaseTeacher(plain.base, 30, cached=True), first)
    assert len(encoded) == 5  # another length is another vector


def test_a_damaged_cache_of_vectors_is_told_and_a_cut_vector_made_again(
    tiny_model: Callable[..., Path], cache: Path
) -> None:
    given = batch(["d", "a"], ["a", "c c"])
    base = Encoder.load(tiny_model("bert"), device="cpu")
    teacher = BaseTeacher(base, 28, cached=True)
    given = replace(given, targets=teacher.reads(given))
    first = teacher.labelled(given).labels.teacher_queries
    [path] = (cache / "debater" / "teachers").glob("*-28.sqlite")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE vectors SET vector = substr(vector, 1, 9)")
    assert torch.equal(teacher.labelled(given).labels.teacher_queries, first)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(UnavailableError, match="cannot be used") as told:
        BaseTeacher(base, 28, cached=True)
    assert "loss.teacher_cache=false" in told.value.hint
    path.unlink()


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


def test_a_run_gives_steps_teachers_of_their_own(
    config: Callable[..., TrainingSettings], tiny_model: Callable[..., Path]
) -> None:
    other = {"name": "other", "model": str(tiny_model("llama")), "weight": 0.5}
    loss = {"teacher": "base", "teacher_lexical": 0.3, "teacher_models": [other], "teacher_cache": True,
            "step_teachers": ["words", "other", "all"], "contrast": "step", "diversity": 0.1}  # fmt: skip
    settings = config(loss=loss)
    assert settings.loss.arguments(settings.teachers)["step_teachers"] == [1, 2, -1]
    rows = metrics(train(settings))
    assert len(rows) == 6
    assert all(row["step_teachers"] > 0 and 0 < row["diversity"] < 10 for row in rows)


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
    settings = load_config(Path(__file__).parents[2] / "configs" / "debater-small.yaml")
    shipped = json.loads((locate("debater-small").folder / "debater.json").read_text(encoding="utf-8"))
    if not (made := shipped["provenance"]):
        pytest.skip("the model in the package was not trained yet")
    made_by = TrainingSettings.model_validate(made["config"])  # settings that came later: as default
    assert without_folders(made_by.model_dump()) == without_folders(settings.model_dump())
    files = {Path(data.path).name.split(".")[0]: open_training_set(data.path).fingerprint for data in settings.data}
    assert made["data"] == files


def without_folders(value: Any) -> Any:
    """Settings whose paths are names alone: a model is trained from wherever its data lies."""
    if isinstance(value, dict):
        return {name: without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_folders(inner) for inner in value]
    return value.rsplit("/", 1)[-1] if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"loss": {"teacher_lexical": 0.3}}, "teacher: base"),
        ({"data": [{"path": "x", "teacher_lexical": 0.3}]}, "teacher: base"),
        ({"loss": {"teacher_cache": True}}, "teacher: base"),
        ({"loss": {"step_teachers": ["base"]}}, "teacher: base"),
        (
            {"loss": {"teacher": "base", "step_teachers": ["base", "words"]}},
            "names 'words'; the teachers are all, data, base",
        ),
        ({"loss": {"teacher": "base", "teacher_models": [{"name": "base", "model": "x"}]}}, "names of their own"),
        ({"loss": {"step_scales": [1.0, 2.0, 3.0]}}, "contrast: step"),
        ({"loss": {"contrast": "step", "step_scales": [1.0, 2.0]}}, "each of thinking_steps"),
        ({"thinking_weight": 0.5}, "readout: residual"),
        ({"max_length": {"query": 32, "document": 40, "search": 39}}, "below document"),
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
    [_, read] = load_teachers(settings, run.data, run.student, "cpu").reads(given)
    [_, document] = prepare(run.student, given, settings.max_length.document).tokens
    assert document.ids[:-3] == read.ids


def test_texts_with_broken_characters_are_counted(tiny_model: Callable[..., Path]) -> None:
    base = Encoder.load(tiny_model("bert"), device="cpu")
    assert BaseTeacher(base, 32, ["a \ud800 b"]).usual_length > 1
