"""Small real models, made once a session."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("debater", deadline=None)  # a busy machine is no failure
settings.load_profile("debater")

GOLDENS = Path(__file__).parent / "goldens"
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' own cache, also for the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(Path("~/.cache/matplotlib").expanduser()))  # to find fonts takes seconds
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _nothing_evaluated_yet(cache: Path) -> Iterator[None]:
    """Every test encodes for itself, though fake encoders of several tests have one fingerprint."""
    yield
    for kept in ("evaluation", "rerank", "teachers"):
        shutil.rmtree(cache / "debater" / kept, ignore_errors=True)


@pytest.fixture(scope="session")
def goldens() -> Path:
    return GOLDENS


@pytest.fixture(scope="session")
def minicpm_base() -> Path:
    return GOLDENS / "tiny_minicpm" / "base"


@pytest.fixture(scope="session")
def minicpm_adapter() -> Path:
    return GOLDENS / "tiny_minicpm" / "adapter"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a random model of a family, with the goldens' tokenizer (decoders) or a word-piece one (BERT)."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = save_random_model(family, tmp_path_factory.mktemp(family))
        return made[family]

    return make


def save_random_model(family: str, folder: Path) -> Path:
    import torch
    from transformers import AutoModel

    from debater_search.encoder.families import native_config

    small = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
    configs: dict[str, dict[str, object]] = {
        "llama": {**small, "vocab_size": 1156, "eos_token_id": 2, "bos_token_id": 1},
        "qwen2": {**small, "num_key_value_heads": 2, "vocab_size": 1156, "eos_token_id": 2},
        "gemma2": {  # its class has no SDPA
            **small, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16, "vocab_size": 1156,
        },
        "minicpm3": {
            **small, "vocab_size": 1156, "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16,
            "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "eos_token_id": [2, 3],
        },
        "bert": {**small, "vocab_size": 200, "max_position_embeddings": 64},
        "roberta": {**small, "vocab_size": 200, "max_position_embeddings": 66, "type_vocab_size": 1},
        "mpnet": {**small, "vocab_size": 200, "max_position_embeddings": 66},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 1156, "eos_token_id": 2},
        "qwen3_moe": {
            **small, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 1156, "eos_token_id": 2, "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        },
    }  # fmt: skip
    torch.manual_seed(0)
    model = AutoModel.from_config(native_config({"model_type": family, **configs[family]}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    if family in ("bert", "mpnet", "roberta"):
        save_wordpiece(folder)
    else:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((GOLDENS / "tiny_minicpm" / "base" / name).read_bytes())
    return folder


def save_wordpiece(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", *(f"[unused{i}]" for i in range(20)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = {t: i for i, t in enumerate([*special, *letters, *(f"##{letter}" for letter in letters)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
