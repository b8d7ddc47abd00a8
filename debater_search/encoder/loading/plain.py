"""How a plain model is read, whose folder says no more than its tokenizer and its config do. No torch is needed."""

from pathlib import Path

from tokenizers import Tokenizer

from debater_search.encoder.loading.tokenizer import cuts_left
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.template import Template, token_ids

DEFAULT_LENGTH = 512


def spec_between(
    edges: tuple[tuple[str, ...], tuple[str, ...]], folder: Path, tokenizer: Tokenizer, pooling: str, limit: int | None
) -> EncoderSpec:
    """The spec of a model by the special tokens before and after a text, its pooling and how many positions it has."""
    prefix, suffix = edges
    token_ids(tokenizer, prefix + suffix)
    template = Template(prefix=prefix, query_suffix=suffix, document_suffix=suffix, cuts_left=cuts_left(folder))
    length = min(DEFAULT_LENGTH, limit or DEFAULT_LENGTH)
    return EncoderSpec(template, pooling, pooling, query_length=length, document_length=length)
