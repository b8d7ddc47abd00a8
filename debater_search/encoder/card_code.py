"""Code of a model card: vectors of an exported folder by transformers alone, one text at a time."""

import json
from collections.abc import Iterator
from typing import Any

_HEAD = """\
import torch
from torch.nn.functional import normalize
from transformers import AutoModel, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast.from_pretrained("FOLDER OR OWNER/NAME")
model = AutoModel.from_pretrained("FOLDER OR OWNER/NAME").eval()


@torch.inference_mode()
def read(before, text, after):
    ids = tokenizer.convert_tokens_to_ids(before) + text + tokenizer.convert_tokens_to_ids(after)
    return model(torch.tensor([ids])).last_hidden_state[0].float()


def tokens(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]
"""
_PLAIN_READ = "def read(before, text, after):\n"
_MASKED_READ = "def read(before, text, after, thinking=0):\n"
_PLAIN_PASS = "    return model(torch.tensor([ids])).last_hidden_state[0].float()\n"
_MASKED_PASS = """\
    seen = torch.ones(len(ids), len(ids)).tril()  # a thinking token sees the text and the thinking tokens before it
    seen[: len(ids) - thinking, : len(ids) - thinking] = 1  # the text sees itself
    mask = ((1 - seen) * torch.finfo(model.dtype).min).to(model.dtype)
    return model(torch.tensor([ids]), attention_mask=mask[None, None]).last_hidden_state[0].float()
"""
_STATES = {
    "cls": "states[0]",
    "last": "states[-1]",
    "mean": "states.mean(0)",
    "mean_sqrt_len": "states.mean(0)",  # the same direction
    "max": "states.amax(0)",
    "weightedmean": "torch.arange(1.0, len(states) + 1) @ states",
}
"""How the states of one text become a vector, which is brought to length 1 afterwards."""


def is_plain(about: dict[str, Any]) -> bool:
    """Whether one pass of transformers gives the states; `about` is the folder's `debater.json`."""
    told = about["template"].get("query_thinking"), about.get("bidirectional")
    return not any(told) and about.get("thinking_input", "token") == "token"


def transformers_code(about: dict[str, Any]) -> str:
    """Python that defines `query(text)` and `document(text)`, each of which gives a vector of length 1."""
    thinking = len(about["template"]["thinking_tokens"])
    head = _HEAD
    if thinking and not about["causal"]:
        head = head.replace(_PLAIN_READ, _MASKED_READ).replace(_PLAIN_PASS, _MASKED_PASS)
    return "\n".join([head, "", *_function(about, "query", 0), "", "", *_function(about, "document", thinking)])


def _function(about: dict[str, Any], kind: str, thinking: int) -> Iterator[str]:
    template, longest = about["template"], about[f"{kind}_length"]
    before, after = template["prefix"], template[f"{kind}_suffix"]
    lead, tail = template[f"{kind}_prompt"], template["prompt"] if kind == "document" else ""
    ends = [*after, *template["thinking_tokens"]] if thinking else after
    text = " + ".join(part for part in (_said(lead), "text.strip()" if tail else "text", _said(tail)) if part)
    room = longest - len(before) - len(ends)
    cut = "" if tail else f"[-{room}:]" if template.get("cuts_left") else f"[:{room}]"
    yield f"def {kind}(text):" + (f"  # of at most {longest} tokens with all around it" if tail else "")
    masked = f", {thinking}" if thinking and not about["causal"] else ""
    yield f"    states = read({json.dumps(before)}, tokens({text}){cut}, {json.dumps(ends)}{masked})"
    yield f"    return normalize({_pooled(about, kind, thinking)}, dim=0)"


def _said(words: str) -> str:
    return json.dumps(words, ensure_ascii=False) if words else ""


def _pooled(about: dict[str, Any], kind: str, thinking: int) -> str:
    pooling, template = about[f"{kind}_pooling"], about["template"]
    if pooling in _STATES:
        return _STATES[pooling]
    before, after = len(template["prefix"]), len(template[f"{kind}_suffix"]) + thinking
    body = f"states[{before} : len(states) - {after}].mean(0)"
    if pooling == "body":
        return body
    return f"normalize({body}, dim=0) + {about.get('thinking_weight', 1.0)} * normalize(states[-1], dim=0)"
