"""What the encoder takes as texts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from debater_search.encoder import Encoder
from debater_search.errors import InvalidError
from debater_search.types import Document


@pytest.fixture
def encoder(tiny_model: Callable[..., Path]) -> Encoder:
    return Encoder.load(tiny_model("bert"))


def test_one_string_is_one_text(encoder: Encoder) -> None:
    expected = encoder.encode_documents(["what is lift"])
    assert expected.shape == (1, encoder.dim)
    for given in ("what is lift", Document("1", "lift", "what is"), {"title": "what is", "text": "lift"},
                  [("1", "what is", "lift")], [("1", "what is lift")], np.array(["what is lift"])):  # fmt: skip
        np.testing.assert_array_equal(encoder.encode_documents(given), expected)  # type: ignore[arg-type]
    assert encoder.encode_queries("what is lift").shape == (1, encoder.dim)
    assert encoder.encode_queries({"q1": "what is lift", "q2": "what is drag"}).shape == (2, encoder.dim)
    assert encoder.deliberate("what is lift").shape == (1, encoder.thinking_steps, encoder.dim)
    assert len(encoder.token_ids("what is lift", "query")) == 1


@pytest.mark.parametrize("given", [None, 3, [None], [3], [object()], [b"lift"], [["a", "b"]]])
def test_what_is_no_text_is_refused_by_name(encoder: Encoder, given: object) -> None:
    for encode in (encoder.encode_queries, encoder.encode_documents, encoder.deliberate):
        with pytest.raises(InvalidError, match=r"^texts"):
            encode(given)  # type: ignore[arg-type]
