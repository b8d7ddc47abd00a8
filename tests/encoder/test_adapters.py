"""An adapter gives what it gives in peft, or is refused by the name of what is not supported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError

TEXTS = ["lift of a wing", "x", "the slipstream of a propeller " * 8]
TARGETS = ["q_proj", "v_proj", "gate_proj"]


@pytest.fixture(scope="module")
def base(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with its head, whose two layers differ."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("base")
    body = tiny_model("llama")
    torch.manual_seed(0)
    whole = AutoModelForCausalLM.from_config(AutoModelForCausalLM.from_pretrained(body).config)
    whole.model.load_state_dict(load_file(body / "model.safetensors"))
    whole.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(body / name, folder)
    return folder


def save_adapter(base: Path, folder: Path, *, head: bool, **settings: Any) -> Path:
    """A random adapter, made on the model with its head or on its body alone."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    torch.manual_seed(0)
    model = (AutoModelForCausalLM if head else AutoModel).from_pretrained(base)
    model = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **settings}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("lora_", "modules_to_save", "trainable_tokens")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    declare(folder)
    return folder


def declare(folder: Path, **changed: Any) -> None:
    """Add the file of the published layout, and change settings of the adapter."""
    (folder / "llm2vec_config.json").write_text(json.dumps({"pooling_mode": "last_token", "max_length": 64}))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def in_peft(adapter: Path, base: Path, sequences: list[list[int]], *, head: bool) -> np.ndarray:
    """Normalised last states by peft and transformers alone."""
    from peft import PeftModel
    from transformers import AutoModel, AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        (AutoModelForCausalLM if head else AutoModel).from_pretrained(base), adapter
    ).eval()
    body = model.base_model.model.model if head else model.base_model.model
    with torch.no_grad():
        states = [body(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] for ids in sequences]
    return torch.nn.functional.normalize(torch.stack(states), dim=-1).numpy()


def require_peft(base: Path, folder: Path, settings: dict[str, Any], *, head: bool) -> None:
    """An adapter with these settings gives peft's vectors, also after it was saved as a checkpoint."""
    adapter = save_adapter(base, folder / "adapter", head=head, **settings)
    encoder = Encoder.load(adapter, base_model=base, device="cpu")
    vectors = encoder.encode_documents(TEXTS)
    assert abs(vectors - in_peft(adapter, base, encoder.token_ids(TEXTS, "document"), head=head)).max() < 1e-5
    encoder.save(folder / "saved")
    assert abs(Encoder.load(folder / "saved", device="cpu").encode_documents(TEXTS) - vectors).max() < 1e-6


@pytest.mark.parametrize("head", [True, False], ids=["head", "body"])
@pytest.mark.parametrize(
    "settings",
    [
        {"alpha_pattern": {"layers.0.self_attn.q_proj": 64}, "rank_pattern": {"gate_proj": 2}},
        {"exclude_modules": ["layers.0.mlp.gate_proj"], "use_rslora": True},
        {"target_modules": r".*layers\.\d+\.self_attn\.(q|v)_proj", "use_dora": True},
        {"layer_replication": [[0, 2], [0, 2]]},
        {"modules_to_save": ["norm", "embed_tokens"]},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_an_adapter_gives_the_vectors_of_peft(base: Path, tmp_path: Path, settings: dict[str, Any], head: bool) -> None:
    require_peft(base, tmp_path, settings, head=head)


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 64}},
        {"rank_pattern": {"^model.layers.1.self_attn.q_proj": 8}},
        {"exclude_modules": r"model\.layers\.0\..*"},
        {"layers_to_transform": 0},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"lora_bias": True},
        {"init_lora_weights": "pissa"},
        {"trainable_token_indices": [5, 40]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": r"model\.layers\.\d+\.self_attn\.(q_proj|k_proj)"},
        {"modules_to_save": ["model.embed_tokens", "lm_head"]},
        {"modules_to_save": ["layers.1"]},
        {"trainable_token_indices": {"model.embed_tokens": [5, 40]}},
    ],
    ids=lambda settings: "-".join(settings),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_names_are_those_of_the_model_with_its_head(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    require_peft(base, tmp_path, settings, head=True)


def test_an_adapter_of_a_bert_with_its_head_fits_its_body(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForMaskedLM.from_pretrained(tiny_model("bert")),
        LoraConfig(target_modules=["query"], layers_to_transform=[0], init_lora_weights=False),
    )
    model.eval().save_pretrained(tmp_path)
    declare(tmp_path)
    encoder = Encoder.load(tmp_path, base_model=tiny_model("bert"), device="cpu")
    [ids] = encoder.token_ids(["lift"], "document")
    with torch.no_grad():
        state = model.base_model.model.bert(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    assert abs(encoder.encode_documents(["lift"])[0] - torch.nn.functional.normalize(state, dim=0).numpy()).max() < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"use_dora": True}, {"modules_to_save": ["norm"], "trainable_token_indices": [5, 40]}],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_an_adapter_is_added_in_float32_and_rounded_once(
    base: Path, tmp_path: Path, settings: dict[str, Any], dtype: str
) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", head=True, **settings)
    whole, half = (Encoder.load(adapter, base_model=base, device="cpu", dtype=kind) for kind in ("float32", dtype))
    rounded = dict(half.model.named_parameters())
    for name, weight in whole.model.named_parameters():
        own = any(part in name for part in ("lora_", "trainable_tokens_"))
        assert torch.equal(rounded[name], weight if own else weight.to(getattr(torch, dtype))), name
    assert (half.dtype, half.fingerprint) == (dtype, whole.fingerprint)
    assert (whole.encode_documents(TEXTS) * half.encode_documents(TEXTS)).sum(-1).min() > 0.999
    half.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved", device="cpu")
    assert abs(again.encode_documents(TEXTS) - whole.encode_documents(TEXTS)).max() < 0.01


def test_an_adapter_stays_beside_its_base_where_that_is_asked_for(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path, head=True)
    beside = Encoder.load(adapter, base_model=base, device="cpu", dtype="bfloat16", merged=False)
    layer = beside.model.backbone.base_model.model.layers[0].self_attn.q_proj
    stored = load_file(base / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(layer.base_layer.weight, stored.bfloat16())
    assert not layer.merged


def test_layers_that_share_weights_stay_apart_when_many_texts_are_encoded(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path, head=True, layer_replication=[[0, 2], [0, 2]])
    encoder = Encoder.load(adapter, base_model=base, device="cpu")
    texts = [f"lift of wing {number}" for number in range(70)]  # enough for weights to be laid out anew
    vectors = encoder.encode_documents(texts)
    assert abs(vectors - in_peft(adapter, base, encoder.token_ids(texts, "document"), head=True)).max() < 1e-5


def test_layer_replication_is_refused_where_layers_have_kinds(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    base = tiny_model("qwen2")
    adapter = save_adapter(base, tmp_path, head=False, layer_replication=[[0, 2], [0, 2]])
    with pytest.raises(DebaterError, match="layer_replication"):
        Encoder.load(adapter, base_model=base, device="cpu")


@pytest.mark.parametrize(("added", "compared"), [(4, "larger"), (-4, "smaller")])
def test_a_vocabulary_of_another_size_is_refused_by_both_sizes(
    base: Path, tmp_path: Path, added: int, compared: str
) -> None:
    adapter = save_adapter(base, tmp_path, head=True, modules_to_save=["embed_tokens"])
    weights = load_file(adapter / "adapter_model.safetensors")
    weights["base_model.model.model.embed_tokens.weight"] = torch.zeros(1156 + added, 32)
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(DebaterError, match=rf"vocabulary.*{compared}.*{1156 + added} and 1156 tokens"):
        Encoder.load(adapter, base_model=base, device="cpu")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, "PROMPT_TUNING"),
        ({"peft_type": None}, "None"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens"),
        ({"use_qalora": True}, "use_qalora"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights"),
        ({"setting_of_the_future": {"x": 1}}, "setting_of_the_future"),
    ],
)
def test_a_setting_that_is_not_supported_is_refused_by_its_name(
    minicpm_adapter: Path, tmp_path: Path, changed: dict[str, Any], named: str
) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    declare(tmp_path / "adapter", **changed)
    (tmp_path / "adapter" / "llm2vec_config.json").unlink()
    with pytest.raises(DebaterError, match=named):  # before its pooling is missed, or its base model
        Encoder.load(tmp_path / "adapter", base_model="nowhere", device="cpu")


@pytest.mark.parametrize(
    "changed",
    [
        {"target_modules": "("},
        {"rank_pattern": {"(": 3}},
        {"exclude_modules": "("},
        {"modules_to_save": [1]},
        {"r": "x"},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_a_sentence(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    declare(tmp_path / "adapter", **changed)
    with pytest.raises(DebaterError, match=r"does not fit its base model: ."):
        Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu")


def test_a_module_that_only_its_name_below_the_head_tells_apart_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path, head=True, modules_to_save=["model.norm"])  # not the norms of the layers
    with pytest.raises(DebaterError, match=r"model\.norm in modules_to_save"):
        Encoder.load(adapter, base_model=base, device="cpu")


def test_an_adapter_of_another_size_says_which_tensor_differs(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path, head=True)
    declare(adapter, r=2)
    with pytest.raises(DebaterError, match=r"does not fit its base model: size mismatch for .*q_proj") as caught:
        Encoder.load(adapter, base_model=base, device="cpu")
    assert "base_model" in caught.value.hint


def test_a_length_beyond_the_positions_of_the_base_is_cut_to_them(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    get_peft_model(AutoModel.from_pretrained(tiny_model("bert")), LoraConfig(target_modules=["query"])).save_pretrained(
        tmp_path
    )
    declare(tmp_path)
    (tmp_path / "llm2vec_config.json").write_text(json.dumps({"pooling_mode": "last_token", "max_length": 512}))
    encoder = Encoder.load(tmp_path, base_model=tiny_model("bert"), device="cpu")
    assert np.isfinite(encoder.encode_documents(["a " * 600])).all()
