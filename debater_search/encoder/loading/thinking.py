"""Thinking tokens on a model that was not made with them: which entries of the vocabulary, and where they start."""

import logging
from dataclasses import replace
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedModel

from debater_search.encoder.families import MINICPM, is_causal
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.template import deliberation_prompt, token_ids
from debater_search.errors import InvalidError

log = logging.getLogger(__name__)

START_NOISE = 0.05
START_SEED = 0

_SMOLLM2 = ("gh_stars", "issue_start", "issue_comment", "issue_closed",
            "jupyter_start", "jupyter_text", "jupyter_code", "jupyter_output")  # fmt: skip
RESERVED = [
    lambda steps: [f"<reserved_{12 + i}>" for i in range(steps)],  # MiniCPM: the published choice
    lambda steps: [f"[unused{1 + i}]" for i in range(steps)],  # BERT vocabularies
    lambda steps: [f"<{name}>" for name in _SMOLLM2[:steps]],  # SmolLM2: single, never trained
    # Llama 3 and EuroBERT; the first ones have other uses in some releases
    lambda steps: [f"<|reserved_special_token_{10 + i}|>" for i in range(steps)],
    lambda steps: [f"<unused{10 + i}>" for i in range(steps)],  # Gemma
]
"""Entries that vocabularies keep free, by family, tried in order; where none fits, tokens are added."""

PREFIX_MASK_FAMILIES = (
    "bert", "camembert", "distilbert", "electra", "eurobert", "modernbert", "mpnet", "nomic_bert", "roberta",
    "xlm-roberta",
)  # fmt: skip
"""Bidirectional models that take a mask of their own for every pair of tokens: each is in the tests."""

WITHOUT_PREFIX_MASK = {
    "bert-generation": "its class was made for decoders, and no encoder for search is built on it",
    "deberta-v2": "its relative attention makes the mask for itself, of one number per token",
    "xlnet": "it takes masks in another form, by the order of a permutation",
}
"""Why other bidirectional models get no thinking tokens."""


def add_thinking_tokens(
    spec: EncoderSpec, steps: int, backbone: PreTrainedModel, tokenizer: Tokenizer, family: str
) -> EncoderSpec:
    """Turn a plain model into an untrained DEBATER start of `steps` thinking tokens; returns its spec.

    Sets the tokens' embeddings apart from each other (except MiniCPM's reserved tokens, which the published models use
    as they are), and grows tokenizer and embedding table where the vocabulary has no free entries.
    """
    causal = is_causal(backbone.config)
    if not causal and family not in PREFIX_MASK_FAMILIES:
        why = WITHOUT_PREFIX_MASK.get(family)
        raise InvalidError(
            f"Thinking tokens on bidirectional models of type {family!r} are not supported"
            + (f": {why}." if why is not None else "."),
            f"Use a decoder, or one of {', '.join(PREFIX_MASK_FAMILIES)}.",
        )
    tokens = reserved_tokens(tokenizer, steps) or added_tokens(tokenizer, steps, family)
    if tokenizer.get_vocab_size() > backbone.get_input_embeddings().weight.shape[0]:
        backbone.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
    start: dict[str, Any] = {}
    if not (family in MINICPM and tokens[0].startswith("<reserved_")):
        origin = "mean" if causal or not spec.template.prefix else spec.template.prefix[0]
        start = {"from": origin, "noise": START_NOISE, "seed": START_SEED}
        start_thinking_tokens(backbone, tokenizer, tokens, start)
    return replace(with_thinking_tokens(spec, tokens, causal=causal), start=start)


def with_thinking_tokens(spec: EncoderSpec, tokens: list[str], *, causal: bool) -> EncoderSpec:
    """The spec of a model whose documents end in `tokens`, after the words that ask for them on decoders."""
    template = replace(
        spec.template,
        prompt=deliberation_prompt(len(tokens)) if causal else "",
        document_suffix=() if causal else spec.template.document_suffix,
        thinking_tokens=tuple(tokens),
    )
    return replace(spec, template=template, document_pooling="last", thinking_steps=len(tokens))


def reserved_tokens(tokenizer: Tokenizer, steps: int) -> list[str]:
    """The vocabulary's free entries where a known family of them is there, else none."""
    for names in RESERVED:
        tokens = names(steps)
        if len(tokens) == steps and all(tokenizer.token_to_id(token) is not None for token in tokens):
            return tokens
    return []


def added_tokens(tokenizer: Tokenizer, steps: int, family: str) -> list[str]:
    """Thinking tokens newly added to a tokenizer, in place."""
    if family in MINICPM:
        log.warning("This tokenizer has no single tokens <reserved_12>…: thinking tokens are added to it instead.")
    tokens = [f"<|thinking_{i + 1}|>" for i in range(steps)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokens


def start_thinking_tokens(
    backbone: PreTrainedModel, tokenizer: Tokenizer, tokens: list[str], start: dict[str, Any]
) -> None:
    """Set the embeddings of thinking tokens: `from` one token ([CLS]) or the `mean` of all, plus seeded noise.

    The noise keeps the steps apart; on encoders its size is absolute (.05 beside embeddings of std .05), on decoders
    the spread of the table itself.
    """
    table = backbone.get_input_embeddings().weight
    if table.is_meta:  # shapes only
        return
    generator = torch.Generator().manual_seed(start["seed"])
    noise = torch.randn(len(tokens), table.shape[1], generator=generator)
    with torch.no_grad():
        if start["from"] == "mean":
            origin, spread = table.float().mean(0), table.float().std().item()
        else:
            origin, spread = table[token_ids(tokenizer, [start["from"]])[0]].float(), start["noise"]
        table[token_ids(tokenizer, tokens)] = (origin + spread * noise.to(table.device)).to(table.dtype)
