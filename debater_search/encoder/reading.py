"""What an encoder does with texts before a model sees them: it needs a spec and a tokenizer, and no torch."""

import logging
import sys
from collections.abc import Sequence
from reprlib import repr as short

import numpy as np
from tokenizers import Tokenizer

from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.texts import encodable
from debater_search.errors import InvalidError

log = logging.getLogger(__name__)


class TextReader:
    """Texts → token ids, cut to the model's lengths."""

    def __init__(self, spec: EncoderSpec, tokenizer: Tokenizer) -> None:
        self.spec, self.tokenizer = spec, tokenizer

    @property
    def thinking_steps(self) -> int:
        """Views of a document; 1 for models that do not deliberate."""
        return self.spec.thinking_steps

    @property
    def document_length(self) -> int:
        """The longest document in tokens, the model's own tokens included."""
        return self.spec.document_length

    @property
    def query_length(self) -> int:
        """The longest query in tokens, the model's own tokens included."""
        return self.spec.query_length

    @property
    def trained_with_instructions(self) -> bool:
        """Whether queries were preceded by instructions in training."""
        return self.spec.trained_with_instructions

    @property
    def instruction(self) -> str:
        """The text before queries by default; "" for none."""
        return self.spec.template.query_prompt.strip()

    def leaves_room(self, instruction: str | None) -> bool:
        """Whether a query has room behind an instruction (None: the model's default)."""
        [ids] = self.spec.template.query_ids(self.tokenizer, [""], sys.maxsize, instruction)
        return len(ids) < self.spec.query_length

    def warn_without_room(self, instruction: str | None) -> None:
        """Log a warning if no query has room behind an instruction; InvalidError if that is no text."""
        if not isinstance(instruction, str | None):
            raise InvalidError(f"`instruction` is {short(instruction)}, not a text.", 'Give a text, or "" for none.')
        if not self.leaves_room(instruction):
            log.warning(
                "The instruction fills the %d tokens of a query: the query itself is not read.", self.spec.query_length
            )

    def token_ids(self, texts: Sequence[str], kind: str, instruction: str | None = None) -> list[list[int]]:
        """Texts of `kind` query or document as token ids, cut to the model's lengths."""
        texts = encodable(texts)
        template, spec = self.spec.template, self.spec
        if kind == "query":
            return template.query_ids(self.tokenizer, texts, spec.query_length, instruction)
        return template.document_ids(self.tokenizer, texts, spec.document_length)

    def token_offsets(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Begin and end of each token of the bare texts, in characters: int64 [tokens, 2] per text, nothing cut."""
        found = self.tokenizer.encode_batch(encodable(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in found]
