"""The published models' function, against the reference implementation's own values."""

import json
from pathlib import Path

import numpy as np
import pytest

from debater_search.encoder import Encoder
from debater_search.types import Document

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def inputs(goldens: Path) -> dict:
    return json.loads((goldens / "tiny_minicpm" / "inputs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def expected(goldens: Path) -> dict[str, np.ndarray]:
    return dict(np.load(goldens / "tiny_minicpm" / "expected.npz"))


@pytest.fixture(scope="module")
def documents(inputs: dict) -> list[Document]:
    return [Document(id=str(i), title=d["title"], text=d["text"]) for i, d in enumerate(inputs["documents"])]


@pytest.fixture(scope="module")
def published(minicpm_adapter: Path, minicpm_base: Path) -> Encoder:
    return Encoder.load(minicpm_adapter, base_model=minicpm_base, device="cpu")


def test_documents_become_the_published_token_ids(published: Encoder, inputs: dict, documents: list[Document]) -> None:
    ids = published.token_ids([d.content for d in documents], "document")
    assert ids == inputs["document_input_ids"]


def test_queries_become_the_published_token_ids(published: Encoder, inputs: dict) -> None:
    ids = [published.token_ids([q["text"]], "query", q["instruction"])[0] for q in inputs["queries"]]
    assert ids == inputs["query_input_ids"]


def test_every_thinking_step_equals_the_reference(
    published: Encoder, documents: list[Document], expected: dict[str, np.ndarray]
) -> None:
    assert abs(published.deliberate(documents) - expected["deliberate"]).max() < TOLERANCE
    assert abs(published.encode_documents(documents, batch_tokens=1) - expected["documents"]).max() < TOLERANCE


def test_queries_equal_the_reference(published: Encoder, inputs: dict, expected: dict[str, np.ndarray]) -> None:
    for query, vector in zip(inputs["queries"], expected["queries"], strict=True):
        ours = published.encode_queries([query["text"]], instruction=query["instruction"])[0]
        assert abs(ours - vector).max() < TOLERANCE


def test_shorter_limit_cuts_the_body_and_keeps_the_thinking_tokens(
    minicpm_adapter: Path, minicpm_base: Path, inputs: dict, documents: list[Document], expected: dict[str, np.ndarray]
) -> None:
    encoder = Encoder.load(minicpm_adapter, base_model=minicpm_base, device="cpu", max_length=400)
    long = documents[inputs["long_document_index"]]
    assert encoder.token_ids([long.content], "document")[0] == inputs["long_document_max400_input_ids"]
    assert abs(encoder.deliberate([long])[0] - expected["long_document_max400"]).max() < TOLERANCE


def test_base_model_alone_deliberates_with_its_reserved_tokens(
    minicpm_base: Path, documents: list[Document], expected: dict[str, np.ndarray]
) -> None:
    encoder = Encoder.load(minicpm_base, thinking_steps=8, device="cpu")
    assert abs(encoder.deliberate(documents[:1])[0] - expected["base_only_document0"]).max() < TOLERANCE


def test_minicpm_named_only_by_its_architecture_is_recognised(
    minicpm_base: Path, tmp_path: Path, documents: list[Document], expected: dict[str, np.ndarray]
) -> None:
    for file in minicpm_base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    encoder = Encoder.load(tmp_path, thinking_steps=8, device="cpu")
    assert abs(encoder.deliberate(documents[:1])[0] - expected["base_only_document0"]).max() < TOLERANCE


def test_a_published_model_read_out_early_gives_its_first_steps(
    minicpm_adapter: Path, minicpm_base: Path, documents: list[Document], expected: dict[str, np.ndarray]
) -> None:
    early = Encoder.load(minicpm_adapter, base_model=minicpm_base, device="cpu", thinking_steps=3)
    assert abs(early.deliberate(documents) - expected["deliberate"][:, :3]).max() < TOLERANCE
