"""The one place where a query or a document becomes token ids, for training, indexing, search and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tokenizers import Tokenizer

from debater_search.errors import InvalidError

CHARACTERS_PER_TOKEN = 16
"""A text is tokenized only as far as the limit can reach, and whole only where that part did not fill the limit:
a 10 MB document of words costs no more than a long one."""

_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def deliberation_prompt(steps: int) -> str:
    """The words between a document and its thinking tokens (for eight steps, the published ones)."""
    words = _NUMBER_WORDS.split()
    number = words[steps] if steps < len(words) else str(steps)
    return f" Use {number} words to represent the above text in multiple aspects: "


@dataclass(frozen=True)
class Template:
    """How texts become token ids. Kept in the checkpoint; all parts but the body are whole at every length.

    query    = prefix + tokens(query_prompt or instruction, query)   + query_suffix [+ its thinking tokens]
    document = prefix + tokens(document_prompt, document, prompt)    + document_suffix + thinking_tokens
                        └──── body: what is cut to fit ────┘

    Examples:
        >>> Template(thinking_tokens=("[T1]", "[T2]", "[T3]")).with_steps(2).thinking_tokens
        ('[T1]', '[T2]')
    """

    prefix: tuple[str, ...] = ()
    """Special tokens before every text: BOS, [CLS]."""
    query_suffix: tuple[str, ...] = ()
    document_suffix: tuple[str, ...] = ()
    query_prompt: str = ""
    """The model's default for queries, written right before the query."""
    document_prompt: str = ""
    prompt: str = ""
    """Words between the document and its thinking tokens, tokenized together with the document."""
    thinking_tokens: tuple[str, ...] = ()
    query_thinking: int = 0
    """How many of the thinking tokens, the first ones, stand behind a query."""
    cuts_left: bool = False
    """Whether a body that does not fit loses its beginning, prompt included, and not its end."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Template":
        """The template as it stands in a checkpoint's `debater.json`."""
        known: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
        return cls(**known)

    def with_steps(self, steps: int) -> "Template":
        """The same template read out after the first `steps` thinking tokens."""
        tokens = self.thinking_tokens[:steps]
        return replace(self, thinking_tokens=tokens, query_thinking=min(self.query_thinking, steps))

    def query_ids(
        self, tokenizer: Tokenizer, queries: Sequence[str], max_length: int, instruction: str | None = None
    ) -> list[list[int]]:
        """Token ids of queries. `instruction` None means the template's default, "" none."""
        lead = self.query_prompt if instruction is None else f"{instruction} " if instruction else ""
        suffix = self.query_suffix + self.thinking_tokens[: self.query_thinking]
        return self._render(tokenizer, queries, max_length, lead, "", suffix)

    def document_ids(
        self, tokenizer: Tokenizer, documents: Sequence[str], max_length: int, lead: str | None = None
    ) -> list[list[int]]:
        """Token ids of documents, given as title and text joined; the last `thinking_steps` ids are thinking tokens.

        `lead` stands before each document; None is the template's own `document_prompt`.
        """
        if self.prompt:  # as published: a blank at the end would make another token of the prompt's first blank
            documents = [text.strip() for text in documents]
        suffix = self.document_suffix + self.thinking_tokens
        lead = self.document_prompt if lead is None else lead
        return self._render(tokenizer, documents, max_length, lead, self.prompt, suffix)

    def _render(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        max_length: int,
        lead: str,
        tail: str,
        suffix: tuple[str, ...],
    ) -> list[list[int]]:
        head, end = token_ids(tokenizer, self.prefix), token_ids(tokenizer, suffix)
        around = len(head) + len(end)
        reach = max(max_length - around, 1) * CHARACTERS_PER_TOKEN
        bodies = [(lead + text)[-reach:] if self.cuts_left else lead + text[:reach] for text in texts]
        encoded = tokenizer.encode_batch_fast if not tail else tokenizer.encode_batch
        rows = []
        for text, body, encoding in zip(
            texts, bodies, encoded([b + tail for b in bodies], add_special_tokens=False), strict=True
        ):
            ids, filled = cut_body(encoding, len(body), max_length, around, tail, left=self.cuts_left)
            full = lead + text
            if len(body) < len(full) and not filled:  # the part looked at was too short to fill the limit: long tokens
                whole = tokenizer.encode(full + tail, add_special_tokens=False)
                ids, _ = cut_body(whole, len(full), max_length, around, tail, left=self.cuts_left)
            rows.append(head + ids + end)
        return rows


def cut_body(
    encoding: Any, body_characters: int, max_length: int, around: int, tail: str, *, left: bool
) -> tuple[list[int], bool]:
    """Cut the tokens of the body so that it fits beside the tail and `around` more; says also whether it filled that.

    `left` cuts at the beginning of the body.
    """
    ids = encoding.ids
    # Tokens that begin after the body are the tail's; tokenized together, as the published models are.
    tail_length = sum(start >= body_characters for start, _ in encoding.offsets) if tail else 0
    body = len(ids) - tail_length
    room = max_length - around - tail_length
    if room < 0:
        raise InvalidError(
            f"max_length ({max_length}) is too small: what stands around a text takes {max_length - room} tokens.",
            f"Set max_length to {max_length - room + 1} or more.",
        )
    kept = min(body, room)
    return (ids[body - kept :] if left else ids[:kept] + ids[body:]), body > room


def token_ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> list[int]:
    """Ids of special tokens, each of which must be one entry of the vocabulary."""
    ids = []
    for token in tokens:
        token_id = tokenizer.token_to_id(token)
        if token_id is None:
            raise InvalidError(
                f"The tokenizer has no single token {token!r}.", "Is this the tokenizer the model was made with?"
            )
        ids.append(token_id)
    return ids
