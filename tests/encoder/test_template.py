"""What stands around a text is whole at every length; the body is what gives way."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from debater_search.encoder.loading.tokenizer import load_tokenizer
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.template import CHARACTERS_PER_TOKEN, Template, deliberation_prompt, token_ids
from debater_search.errors import DebaterError

THINKING = tuple(f"<reserved_{i}>" for i in range(12, 20))
DEBATER = Template(prefix=("<s>",), query_suffix=("</s>",), prompt=deliberation_prompt(8), thinking_tokens=THINKING)
GOLDEN_BASE = Path(__file__).parent.parent / "goldens" / "tiny_minicpm" / "base"
TOKENIZER = load_tokenizer(GOLDEN_BASE)
PROMPT_IDS = TOKENIZER.encode("a" + DEBATER.prompt, add_special_tokens=False).ids[1:]
SUFFIX = PROMPT_IDS + token_ids(TOKENIZER, THINKING)

texts = st.text(max_size=400) | st.text(alphabet="机翼升力 ab", max_size=400)


@pytest.fixture
def tokenizer() -> Tokenizer:
    return TOKENIZER


@settings(max_examples=200, deadline=None)
@given(text=texts, length=st.integers(40, 600))
def test_bos_prompt_and_thinking_tokens_are_whole_at_every_length(text: str, length: int) -> None:
    [ids] = DEBATER.document_ids(TOKENIZER, [text.strip()], length)
    assert len(ids) <= length
    assert ids[0] == 1
    assert ids[-len(SUFFIX) :] == SUFFIX


@settings(max_examples=200, deadline=None)
@given(text=texts, length=st.integers(4, 100), instruction=st.sampled_from(["", "Given a question:"]))
def test_a_query_ends_in_its_suffix_at_every_length(text: str, length: int, instruction: str) -> None:
    [ids] = DEBATER.query_ids(TOKENIZER, [text], length, instruction)
    assert len(ids) <= length
    assert (ids[0], ids[-1]) == (1, 2)


@settings(max_examples=100, deadline=None)
@given(text=texts, shorter=st.integers(45, 200), longer=st.integers(200, 2000))
def test_a_shorter_limit_keeps_a_beginning_of_the_same_body(text: str, shorter: int, longer: int) -> None:
    [short] = DEBATER.document_ids(TOKENIZER, [text.strip()], shorter)
    [long] = DEBATER.document_ids(TOKENIZER, [text.strip()], longer)
    body = short[: -len(SUFFIX)]
    assert long[: len(body)] == body


def test_an_empty_document_still_deliberates(tokenizer: Tokenizer) -> None:
    [ids] = DEBATER.document_ids(tokenizer, [""], 512)
    assert ids[-8:] == token_ids(tokenizer, THINKING)


def test_a_long_text_is_tokenized_only_as_far_as_the_limit_reaches(tokenizer: Tokenizer) -> None:
    text = "boundary layer " * 700_000
    [ids] = DEBATER.document_ids(tokenizer, [text], 512)
    [same] = DEBATER.document_ids(tokenizer, [text[: 3 * 512 * CHARACTERS_PER_TOKEN]], 512)
    assert ids == same
    assert len(ids) == 512


def test_a_limit_below_the_prompt_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DebaterError, match="max_length"):
        DEBATER.document_ids(tokenizer, ["text"], 20)


def test_instruction_none_is_the_default_and_empty_is_none(tokenizer: Tokenizer) -> None:
    template = Template(prefix=("<s>",), query_suffix=("</s>",), query_prompt="Given a claim: ")
    default, none, explicit = (template.query_ids(tokenizer, ["lift"], 64, i)[0] for i in (None, "", "Given a claim:"))
    assert default == explicit
    assert len(none) < len(default)


def test_fields_of_later_releases_leave_the_fingerprints_of_earlier_ones_as_they_are() -> None:
    values = EncoderSpec(Template(), "mean", "mean").as_dict()
    assert "thinking_weight" not in values
    assert "cuts_left" not in values["template"]
    cut = EncoderSpec(Template(cuts_left=True), "mean", "mean", thinking_weight=0.5)
    assert EncoderSpec.from_dict(cut.as_dict()) == cut


def test_a_token_that_is_not_in_the_vocabulary_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(DebaterError, match="reserved_99"):
        token_ids(tokenizer, ["<reserved_99>"])
