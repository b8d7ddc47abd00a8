"""A model's tokenizer, and what it says of itself: the tokens around a text, the one that ends it."""

from pathlib import Path
from typing import Any

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


def special_tokens(folder: Path, tokenizer: Tokenizer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the tokenizer itself puts before and after a text, and what tokenizer_config.json asks for beside it."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    special = [i for i, flag in enumerate(encoding.special_tokens_mask) if not flag]
    first, last = (special[0], special[-1]) if special else (len(encoding.tokens), len(encoding.tokens) - 1)
    before, after = tuple(encoding.tokens[:first]), tuple(encoding.tokens[last + 1 :])
    declared = _declared(folder)
    begin, end = (_content(declared.get(name)) for name in ("bos_token", "eos_token"))
    if declared.get("add_bos_token") is True and begin is not None and begin not in before:
        before = (begin, *before)
    if declared.get("add_eos_token") is True and end is not None and end not in after:
        after = (*after, end)
    return before, after


def cuts_left(folder: Path) -> bool:
    """Whether a text that is too long loses its beginning (truncation_side), not its end."""
    return _declared(folder).get("truncation_side") == "left"


def declared_end(folder: Path, tokenizer: Tokenizer) -> str:
    """The end-of-text token that the files beside a tokenizer name. Raises InvalidError if they name none."""
    declared = _content(_declared(folder).get("eos_token"))
    if declared is None:
        ids = read_json(folder / "config.json").get("eos_token_id")
        ids = ids if isinstance(ids, list) else [ids]
        declared = tokenizer.id_to_token(ids[0]) if ids[0] is not None else None
    if declared is None:
        raise InvalidError(f"The tokenizer in {folder} declares no end-of-text token.", "Set eos_token in its config.")
    return declared


def _declared(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _content(token: Any) -> str | None:
    """A token as a tokenizer's config writes it: a string, or an object that holds one."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


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
