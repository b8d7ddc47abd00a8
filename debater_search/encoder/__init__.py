"""Text to vectors: model families, template, token-budget batches, pooling."""

from debater_search.encoder.encoder import Encoder
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.template import Template

__all__ = ["Encoder", "EncoderSpec", "Template"]
