"""Batches cut into forward passes: every text once, little padding."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from debater_search.encoder import Encoder
from debater_search.encoder.base import TorchEncoder
from debater_search.training.chunks import KINDS, MOST_PADDING, Text, cut, padding
from debater_search.training.steps import passes
from debater_search.training.student import Student

ROOT = Path(__file__).parents[2]


@given(
    lengths=st.lists(st.tuples(st.integers(1, 300), st.sampled_from(["query", "document"])), min_size=1, max_size=60),
    budget=st.integers(1, 2000),
)
def test_every_text_is_encoded_once_with_its_kind_and_little_padding(
    lengths: list[tuple[int, str]], budget: int
) -> None:
    texts = [Text([7] * n, kind) for n, kind in lengths]
    chunks = cut(texts, budget)
    assert sorted(position for chunk in chunks for position in chunk.positions) == list(range(len(texts)))
    for chunk in chunks:
        longest = max(len(texts[position].ids) for position in chunk.positions)
        assert chunk.tokens == longest * len(chunk.positions)
        assert chunk.tokens <= budget or len(chunk.positions) == 1
        assert {texts[position].kind for position in chunk.positions} == {chunk.kind}
    assert padding(sum(n for n, _ in lengths), sum(chunk.tokens for chunk in chunks)) <= MOST_PADDING


LENGTHS = st.lists(st.tuples(st.integers(1, 300), st.sampled_from(["query", "document"])), min_size=1, max_size=60)


@given(lengths=LENGTHS, budget=st.integers(1, 2000), least=st.integers(1, 2000))
def test_padding_is_not_saved_by_passes_too_small_for_a_gpu(
    lengths: list[tuple[int, str]], budget: int, least: int
) -> None:
    texts = [Text([7] * n, kind) for n, kind in lengths]
    chunks, whole = cut(texts, budget, least=least), cut(texts, budget, least=10**9)
    assert sorted(position for chunk in chunks for position in chunk.positions) == list(range(len(texts)))
    assert sum(chunk.tokens < least for chunk in chunks) <= sum(chunk.tokens < least for chunk in whole)


@given(lengths=LENGTHS, budget=st.integers(1, 2000))
def test_texts_that_are_packed_fill_as_few_passes_as_their_tokens_need(
    lengths: list[tuple[int, str]], budget: int
) -> None:
    texts = [Text([7] * n, kind) for n, kind in lengths]
    chunks = cut(texts, budget, packed=KINDS)
    assert sorted(position for chunk in chunks for position in chunk.positions) == list(range(len(texts)))
    for chunk in chunks:
        assert chunk.tokens == sum(len(texts[position].ids) for position in chunk.positions)
        assert chunk.tokens <= budget or len(chunk.positions) == 1
    for one, following in pairwise(chunks):
        assert one.kind != following.kind or one.tokens + len(texts[following.positions[0]].ids) > budget


@pytest.mark.parametrize(
    ("device", "packs", "passes_needed"), [("cpu", False, 12), ("cuda", False, 3), ("cuda", True, 2)]
)
def test_a_gpu_gets_few_and_large_passes(device: str, packs: bool, passes_needed: int) -> None:
    spec, model = SimpleNamespace(reading=lambda kind: kind), SimpleNamespace(packs_read=lambda reading: packs)
    encoder = SimpleNamespace(device=torch.device(device), spec=spec, model=model)
    lengths = [16 + (n * n) % 240 for n in range(128)]
    texts = [Text([1] * n, "document") for n in lengths] + [Text([1] * 9, "query")] * 64
    chunks = passes(cast(TorchEncoder, encoder), texts)
    assert len(chunks) == passes_needed


@pytest.mark.parametrize(
    ("change", "packed"),
    [
        ({}, {"document", "query"}),
        ({"thinking_input": "state"}, {"query"}),  # a pass for each step, beside kept keys and values
        ({"query_pooling": "mean"}, {"document"}),  # all states are read
        ({"query_pooling": "mean", "document_pooling": "mean", "thinking_steps": 1}, set()),
    ],
)
def test_chunks_are_counted_as_packed_only_where_the_model_lays_texts_end_to_end(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], packed: set[str]
) -> None:
    student = Student(Encoder.load(tiny_model("llama"), device="cpu", thinking_steps=3))
    student.model.packs = True
    student.spec = replace(student.spec, **change)
    ran: set[str] = set()
    kind = ""

    def laid_end_to_end(ids: torch.Tensor, lengths: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        ran.add(kind)
        return torch.zeros(*at.shape, 32)

    monkeypatch.setattr(student.model, "_packed", laid_end_to_end)
    texts = [Text([5] * (4 + n), kind) for n in range(5) for kind in KINDS]
    for chunk in passes(student, texts, gathers=True):
        kind = chunk.kind
        lengths = [len(texts[position].ids) for position in chunk.positions]
        student.views([texts[position].ids for position in chunk.positions], kind)
        assert chunk.tokens == (sum(lengths) if kind in packed else len(lengths) * max(lengths))
    assert ran == packed


def test_texts_of_like_length_stay_in_one_pass() -> None:
    assert len(cut([Text([1] * (100 + n % 4), "document") for n in range(50)], 10**6)) == 1


@pytest.mark.parametrize("name", ["medquad", "pubmedqa", "scifact"])
def test_real_batches_need_few_passes(name: str) -> None:
    with gzip.open(ROOT / "data" / "train" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(64), file, strict=False)]
    words = [(row["query"], "query") for row in rows] + [(row["positive"], "document") for row in rows]
    chunks = cut([Text([1] * min(512, len(text.split())), kind) for text, kind in words], 16384)
    assert len(chunks) <= 12
