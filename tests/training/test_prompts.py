"""What stands before queries and documents in training is what their encoder puts there in search."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.encoder import Encoder
from debater_search.errors import InvalidError
from debater_search.training import plan
from debater_search.training.batches import TrainingData
from debater_search.training.kept import KeptVectors
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start, require_room
from debater_search.training.steps import prepare, tokenized, vectors
from debater_search.training.student import Student
from tests.encoder.conftest import sentence_transformer as sentence_transformer

PROMPTS = {"prompts": {"query": "query: ", "passage": "passage: "}}


@pytest.fixture
def prompted(sentence_transformer: Callable[..., Path]) -> Path:
    """A model whose folder declares a prompt for queries and one for documents."""
    return sentence_transformer("mean_tokens", config_sentence_transformers=PROMPTS)


def read(settings: TrainingSettings) -> tuple[Student, list[list[int]]]:
    """A student, and the first batch as it reads it."""
    student = load_start(settings, "cpu")
    batch = prepare(student, TrainingData(settings).batch(0), settings.max_length.document)
    return student, [text.ids for text in batch.tokens]


def as_searched(student: Student, settings: TrainingSettings) -> list[list[int]]:
    batch = TrainingData(settings).batch(0)
    return [*student.token_ids(batch.queries, "query"), *student.token_ids(batch.documents, "document")]


def test_prompts_that_a_folder_declares_are_used_in_training(config: Callable[..., Any], prompted: Path) -> None:
    student, ids = read(settings := config(model=str(prompted)))
    assert ids == as_searched(student, settings)
    assert "p a s s a g e" in student.tokenizer.decode(ids[-1]).replace("##", "")
    assert "q u e r y" in student.tokenizer.decode(ids[0]).replace("##", "")


def test_an_instruction_stands_in_the_place_of_the_folders_prompt(config: Callable[..., Any], prompted: Path) -> None:
    data = config().data[0].model_dump()
    _, ids = read(config(model=str(prompted), data=[{**data, "instruction": "ask"}]))
    student, bare = read(config(model=str(prompted), search_instruction="find"))
    first = TrainingData(config()).batch(0).queries[0]
    assert ids[0] == student.token_ids([f"ask {first}"], "query", "")[0]
    assert bare[0] == student.token_ids([first], "query", "")[0]


def test_a_documents_prompt_is_trained_with_and_kept_in_the_checkpoint(
    config: Callable[..., Any], tmp_path: Path
) -> None:
    student, ids = read(settings := config(document_prompt="passage: "))
    bare, without = read(config())
    assert ids == as_searched(student, settings)
    assert ids[-1] != without[-1]
    student.save(tmp_path / "saved")
    loaded = Encoder.load(tmp_path / "saved", device="cpu")
    assert loaded.token_ids(["lift"], "document") == student.token_ids(["lift"], "document")
    bare.save(tmp_path / "bare")
    assert Encoder.load(tmp_path / "bare", device="cpu").fingerprint != loaded.fingerprint


def test_a_set_has_a_prompt_of_its_own(config: Callable[..., Any]) -> None:
    data = config().data[0].model_dump()
    mixed = config(data=[{**data, "document_prompt": "title: "}, data], homogeneous=False, document_prompt="x: ")
    student, ids = read(mixed)
    rows = TrainingData(mixed).rows(0)
    batch = TrainingData(mixed).batch(0)
    assert len({row.set for row in rows}) == 2
    assert len(batch.document_prompts) == len(batch.documents)
    for row, text, got in zip(rows, batch.positives, ids[len(rows) :], strict=False):
        prompt = ("title: ", "x: ")[row.set]
        assert got == student.spec.template.document_ids(student.tokenizer, [text], 60, prompt)[0]


def test_a_prompt_that_fills_a_document_is_refused(config: Callable[..., Any]) -> None:
    data = config().data[0].model_dump()
    settings = config(data=[{**data, "document_prompt": "passage " * 20}])
    with pytest.raises(InvalidError, match=r"max_length\.document \(60\) leaves no room"):
        require_room(load_start(settings, "cpu"), settings)


def test_teachers_read_with_their_own_prompts_from_the_cache_too(config: Callable[..., Any], prompted: Path) -> None:
    teacher = Encoder.load(prompted, device="cpu")
    batch = TrainingData(config(document_prompt="other: ")).batch(0)
    read_by = tokenized(teacher, batch, 60)
    assert [text.ids for text in read_by[:6]] == teacher.token_ids(batch.queries, "query")
    kept = KeptVectors(teacher, 60)
    for _ in range(2):
        found = kept.of(batch, lambda texts: vectors(teacher, tokenized(teacher, texts, 60)))
        assert found.allclose(vectors(teacher, read_by), atol=1e-5)


def test_a_dry_run_shows_the_prompt(config: Callable[..., Any]) -> None:
    from debater_search.training.dry_run import plan

    [example] = plan(config(document_prompt="zz "), device="cpu").examples
    assert "z" in json.dumps(example["positive"])


@pytest.mark.parametrize(("length", "told"), [(6, True), (32, False)])
def test_queries_that_are_cut_are_told_before_training(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture, length: int, told: bool
) -> None:
    plan(config(max_length={"query": length, "document": 60}))
    assert [m for m in caplog.messages if "queries fill max_length.query (6 tokens" in m] == [
        m for m in caplog.messages if told and m.startswith("6 of the first 6 queries")
    ]
    assert told == any("queries fill" in message for message in caplog.messages)
