"""A model's tokenizer, and what it says of itself: the tokens around a text, the one that ends it."""

from pathlib import Path

from tokenizers import Tokenizer

from debater_search.encoder.loading.files import read_json
from debater_search.errors import DamagedError, InvalidError

VOCABULARIES = ("vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model")
"""Older forms of a tokenizer, rebuilt by transformers where there is no tokenizer.json."""
FILES_OF_TOKENIZERS = (
    *VOCABULARIES,
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
"""What transformers rebuilds such a tokenizer from."""


def special_tokens(tokenizer: Tokenizer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the tokenizer itself puts before and after a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    special = [i for i, flag in enumerate(encoding.special_tokens_mask) if not flag]
    first, last = (special[0], special[-1]) if special else (len(encoding.tokens), len(encoding.tokens) - 1)
    return tuple(encoding.tokens[:first]), tuple(encoding.tokens[last + 1 :])


def declared_end(folder: Path, tokenizer: Tokenizer) -> str:
    """The end-of-text token that the files beside a tokenizer name. Raises InvalidError if they name none."""
    declared = None
    if (folder / "tokenizer_config.json").is_file():
        declared = read_json(folder / "tokenizer_config.json").get("eos_token")
    if isinstance(declared, dict):
        declared = declared.get("content")
    if declared is None:
        ids = read_json(folder / "config.json").get("eos_token_id")
        ids = ids if isinstance(ids, list) else [ids]
        declared = tokenizer.id_to_token(ids[0]) if ids[0] is not None else None
    if declared is None:
        raise InvalidError(f"The tokenizer in {folder} declares no end-of-text token.", "Set eos_token in its config.")
    return declared


def load_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` as it is; transformers rebuilds some tokenizers and loses a leading blank."""
    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        elif not any((folder / name).is_file() for name in VOCABULARIES):
            raise ValueError(f"none of tokenizer.json, {', '.join(VOCABULARIES)} is there")
        else:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)._tokenizer
    except Exception as error:  # the tokenizers library raises bare Exception
        raise DamagedError(f"The tokenizer in {folder} cannot be read ({error}).", "Fetch the model again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
