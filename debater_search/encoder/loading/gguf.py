"""A GGUF file (llama.cpp's, weights of a few bits) as a plain Hugging Face folder in the cache; made once.

Weights become float16, whose rounding is small beside that of a few bits.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from debater_search.cache import cache_folder
from debater_search.encoder.fingerprint import weights_sha256
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.files import write_json
from debater_search.errors import DamagedError, InvalidError, UnavailableError
from debater_search.files import atomic_folder, from_json
from debater_search.locks import one_at_a_time
from debater_search.progress import progress

CONTENTS = "unpacked.json"
VERSION = 1
CONTROL = 3  # a token's type in GGUF: stands for something that is not text


def unpacked(path: Path, install: str) -> Path:
    """The folder of a GGUF file: config.json, model.safetensors, tokenizer.json; unpacked unless it is complete.

    `install` is the command that installs what reads such files.

    Raises UnavailableError if that is missing or the disk is full, DamagedError or InvalidError for a file that cannot
    be read.
    """
    folder = cache_folder("models") / f"{path.stem}-{weights_sha256(path)[:16]}"
    try:
        with one_at_a_time(folder.with_name(f"{folder.name}.lock")):
            if not _is_complete(folder):
                if find_spec("gguf") is None:
                    raise UnavailableError(f"To read {path.name}, the package gguf is needed.", install)
                with progress(f"Unpacking {path.name}, once", 1, "file", enabled=True) as bar:
                    with atomic_folder(folder) as temporary:
                        _unpack(path, temporary)
                    bar.advance()
    except OSError as error:
        raise UnavailableError(
            f"The weights of {path.name} cannot be unpacked to {folder}: {error.strerror or error}.",
            "Make room there, or set XDG_CACHE_HOME to a folder on another disk.",
        ) from error
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether every file of the folder is as it was written."""
    try:
        contents = from_json((folder / CONTENTS).read_text(encoding="utf-8"))
        files: dict[str, str] = contents["sha256"]
        return contents["version"] == VERSION and all(weights_sha256(folder / f) == h for f, h in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _unpack(path: Path, folder: Path) -> None:
    with quiet_transformers():
        model, report = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float16, local_files_only=True, output_loading_info=True
        )
    if lost := sorted(set(report["missing_keys"]) - {"lm_head.weight"}):  # those would be random numbers
        raise DamagedError(f"{path.name} lacks {len(lost)} tensors of the model (first: {lost[0]}).", "Fetch it again.")
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    unwanted = ("quantization_config", "_name_or_path", "_model_name_or_path")
    config = {name: value for name, value in model.config.to_diff_dict().items() if name not in unwanted}
    tokenizer, declared = _tokenizer(path)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", {**config, "architectures": [type(model).__name__]})
    write_json(folder / "tokenizer_config.json", declared)
    hashes = {file.name: weights_sha256(file) for file in sorted(folder.iterdir())}
    write_json(folder / CONTENTS, {"version": VERSION, "source": path.name, "sha256": hashes})


def _tokenizer(path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """A GGUF file's tokenizer and what its tokenizer_config.json says.

    Transformers makes it too, but without what splits texts before the merges: its blanks before digits differ.
    """
    from gguf import GGUFReader

    fields = GGUFReader(path).fields

    def said(name: str) -> Any:
        field = fields.get(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    if (said("model"), said("pre")) != ("gpt2", "smollm") or said("add_bos_token") or said("add_eos_token"):
        raise InvalidError(
            f"The tokenizer in {path.name} is of a kind that is not known (pre-tokenizer {said('pre')!r}).",
            "Use the model's own folder, with its tokenizer.json.",
        )
    tokens = said("tokens")
    merges = [tuple(merge.split(" ")) for merge in said("merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, said("token_type"), strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    numbers = {"bos": said("bos_token_id"), "eos": said("eos_token_id"), "pad": said("padding_token_id")}
    declared = {f"{name}_token": tokens[number] for name, number in numbers.items() if number is not None}
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **declared}
