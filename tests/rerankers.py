"""Tiny random rerankers of each kind, as folders that transformers or sentence-transformers would save."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import GOLDENS, save_wordpiece

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'query' %}Query: {{ m['content'] }} {% elif m['role'] == 'document' %}"
    "Document: {{ m['content'] }} {% endif %}{% endfor %}Answer: "
)


def save_bert(folder: Path, **settings: Any) -> Path:
    """A sequence classifier with one label, unless `settings` say other."""
    from tokenizers import Tokenizer, processors
    from transformers import AutoConfig, AutoModelForSequenceClassification

    values = {**SMALL, "vocab_size": 200, "max_position_embeddings": 64, "num_labels": 1, **settings}
    _save(AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", **values)), folder)
    save_wordpiece(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings_of_tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_of_tokenizer))
    return folder


def save_qwen3(folder: Path, *, causal: bool, pad_token: str | None = "</s>", answers: bool = True) -> Path:
    """A decoder: a sequence classifier, or a causal model whose vocabulary has "yes" and "no"."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    values = {
        **SMALL, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 1160, "eos_token_id": 2, "num_labels": 1,
        "max_position_embeddings": 128,
    }  # fmt: skip
    kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
    _save(kind.from_config(AutoConfig.for_model("qwen3", **values)), folder)
    tokenizer = Tokenizer.from_file(str(GOLDENS / "tiny_minicpm" / "base" / "tokenizer.json"))
    if answers:
        tokenizer.add_tokens([AddedToken("yes", normalized=False), AddedToken("no", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    declared = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": pad_token,
        "model_max_length": 128, **({"chat_template": TEMPLATE} if causal else {}),
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(declared))
    return folder


def _save(model: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
