"""Model families: the table of those that transformers has no class for, and what every family's config says."""

from collections.abc import Callable
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from debater_search.errors import InvalidError

MINICPM = ("minicpm", "minicpm3")
"""Families whose template is the published one: `<s>` before and `</s>` after, whatever the tokenizer declares."""

PADDED_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Families whose first two positions belong to padding."""

LEARNED_POSITIONS = ("biogpt", "gpt2", "gpt_bigcode", "gpt_neo", "openai-gpt", "opt")
"""Decoders with a table of positions, beyond which they cannot read; those of other decoders are computed."""

BOTH_WAYS = (
    "bloom", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "granite", "llama",
    "minicpm3", "mistral", "opt", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip
"""Decoders whose tokens all see each other if the config says so: each is in the tests."""

STATES_AS_INPUT = ("gpt2", "gpt_neox", "granite", "llama", "minicpm3", "phi", "qwen2", "qwen3", "qwen3_moe")
"""Decoders that read one state after the other beside kept keys and values, all layers over the whole text: each is in
the tests."""

ENCODERS: dict[str, Callable[[PretrainedConfig], bool]] = {
    "bert-generation": lambda config: not config.is_decoder,
    "cpmant": lambda config: True,
    "xlnet": lambda config: config.attn_type == "bi",
}
"""Families that transformers lists among the generating ones, and when their tokens see each other all the same."""


def model_type(config: dict[str, Any]) -> str:
    """The family that a `config.json` names; MiniCPM's first releases name it only among the architectures."""
    declared = config.get("model_type", "")
    if not declared and config.get("architectures") == ["MiniCPMForCausalLM"]:
        return "minicpm"
    return declared


def native_config(values: dict[str, Any]) -> PretrainedConfig:
    """Configuration for transformers' own class of this family; no code from the model's repository is run.

    Raises InvalidError for a family that transformers does not know.
    """
    values = {k: v for k, v in values.items() if k != "auto_map"}
    family = model_type(values)
    if family in TRANSLATED:
        family, translate = TRANSLATED[family]
        values = translate(values)
    if family not in CONFIG_MAPPING:
        raise InvalidError(
            f"Models of type {family or '(none declared)'!r} are not known to transformers.",
            "Remote code is never run: use a model with a native class.",
        )
    config = CONFIG_MAPPING[family].from_dict({**values, "model_type": family})
    config.use_cache = False  # nothing is generated: keys and values are not kept
    _normalise_causality(config)
    for name in vars(config):  # LoRA's is the only dropout
        if name.endswith(("dropout", "_pdrop", "dropout_prob")) and isinstance(getattr(config, name), int | float):
            setattr(config, name, 0.0)
    return config


def _normalise_causality(config: PretrainedConfig) -> None:
    """Keep `is_causal` only if it is false, which is all that it can say beside the family.

    With true, encoders would be causal in batches without padding; with null, decoders would be read both ways by some
    kernels.
    """
    declared = vars(config).get("is_causal")
    if declared is not None and not isinstance(declared, bool):
        raise InvalidError(f"config.json has is_causal {declared!r}, which is neither true nor false.", "Correct it.")
    if declared is not False:
        vars(config).pop("is_causal", None)


def is_decoder(config: PretrainedConfig) -> bool:
    """Whether a model was made to generate text: it is read at its last token unless its folder declares otherwise."""
    family = config.model_type
    generates = family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and family not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if family in ENCODERS and ENCODERS[family](config):
        return False
    return generates and getattr(config, "use_bidirectional_attention", None) not in (True, "all")


def is_causal(config: PretrainedConfig) -> bool:
    """Whether tokens see only the tokens before them, so that padding behind a text needs no mask.

    A decoder whose config says `is_causal: false` is read in both directions.
    """
    return is_decoder(config) and getattr(config, "is_causal", None) is not False


def read_both_ways(config: PretrainedConfig) -> None:
    """Let all tokens of a decoder see each other (LLM2Vec, arXiv 2404.05961).

    Raises InvalidError for encoders, which do so anyway, and for families that cannot.
    """
    if not is_decoder(config) or config.model_type not in BOTH_WAYS:
        raise InvalidError(
            f"bidirectional is for decoders, and not possible for models of type {config.model_type!r}.",
            f"Leave it out, or use one of {', '.join(BOTH_WAYS)}.",
        )
    config.is_causal = False


def require_states_as_input(config: PretrainedConfig) -> None:
    """Raise InvalidError for a model that cannot read the state of one thinking step as the next one's input."""
    if config.model_type not in STATES_AS_INPUT or not is_causal(config):
        raise InvalidError(
            f"thinking.input: state is not possible for this model of type {config.model_type!r}.",
            f"Use input: token, or a decoder, one of {', '.join(STATES_AS_INPUT)}.",
        )


def positions(config: PretrainedConfig) -> int | None:
    """The longest sequence that a model has positions for; None if its positions are computed (most decoders)."""
    if is_causal(config) and config.model_type not in LEARNED_POSITIONS:
        return None
    limit = getattr(config, "max_position_embeddings", None)
    offset = 2 if config.model_type in PADDED_POSITIONS else 0
    return limit - offset if limit and limit > 0 else None  # XLNet says -1: none


def _minicpm_as_granite(values: dict[str, Any]) -> dict[str, Any]:
    """Granite computes the same function as MiniCPM, under other names for the same scalings."""
    hidden, layers = values["hidden_size"], values["num_hidden_layers"]
    scaling = dict(values.get("rope_scaling") or {})
    kind = scaling.pop("type", None) or scaling.pop("rope_type", None) or "default"
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
            "attention_bias", "bos_token_id", "eos_token_id", "pad_token_id", "is_causal")  # fmt: skip
    return {
        **{name: values[name] for name in same if name in values},
        "architectures": ["GraniteForCausalLM"],
        "embedding_multiplier": values.get("scale_emb", 1),
        "residual_multiplier": values.get("scale_depth", 1) / layers**0.5,
        "logits_scaling": hidden / values.get("dim_model_base", hidden),
        "attention_multiplier": (hidden / values["num_attention_heads"]) ** -0.5,
        "rope_parameters": {**scaling, "rope_type": kind, "rope_theta": values.get("rope_theta", 10000.0)},
        "tie_word_embeddings": values.get("tie_word_embeddings", True),
    }


TRANSLATED: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "minicpm": ("granite", _minicpm_as_granite),
}
"""Families without a class in transformers → a family that computes the same function, and its config from theirs."""
