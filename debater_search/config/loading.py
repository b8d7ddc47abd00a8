"""Settings of a stage: defaults that its model declares, under a YAML or JSON file, under `key=value` overrides.

Whatever is wrong is named by its dotted key (`data.0.path`), the file's line, and the nearest key that exists.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from debater_search.config.keys import Key
from debater_search.config.mistakes import explained
from debater_search.config.safe_yaml import YAML_ERRORS, ConfigLoader, lines_of
from debater_search.errors import InvalidError, MissingError, UnavailableError
from debater_search.refusals import quoted

Settings = TypeVar("Settings", bound=BaseModel)

_DIGITS = 1000
"""Python reads and writes integers of some thousands of digits only."""

DATA_FILE = re.compile(r"\.(jsonl|ndjson|csv|tsv|parquet|txt|gz|zst)$", re.IGNORECASE)
"""Names of files of rows or texts."""


def load_settings(
    schema: type[Settings],
    path: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    values: dict[str, Any] | None = None,
) -> Settings:
    """Settings of `schema` from the file at `path` (None: none) with `overrides` such as `loss.scale=20` on top.

    `values` stand for the file's own where it was translated: the file is then only named in messages.

    Values of overrides are read as YAML; a number in a key counts into a list (`data.0.weight=2`). Paths stay as they
    are written: see `beside`. Raises DebaterError for a file that is missing, not YAML or not a mapping, for an
    override that is not key=value, and for a key or value that `schema` does not take.
    """
    lines: dict[Key, int] = {}
    if values is None:
        values, lines = _read(Path(path)) if path is not None else ({}, {})
    given = {_apply(values, override): override for override in overrides}
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise explained(schema, error.errors(), path, lines, given) from error


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The values of a YAML or JSON file as they stand, for whoever must know what kind of config it is."""
    return _read(Path(path))[0]


def beside(config: str | Path | None, written: str) -> Path:
    """A path as a config means it: relative to the config file's folder (without a file: to the working directory)."""
    return (Path(config).parent if config is not None else Path()) / Path(written).expanduser()


def _read(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """The file's values, and the line of every key."""
    if DATA_FILE.search(path.name) and path.is_file():
        raise InvalidError(
            f"{path} is data, not a config.",
            f"Name it in a config: {{model: debater-small, data: [{{path: {path.name}}}], output: FOLDER}}.",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            text = text.replace("\t", " ")  # YAML takes JSON, but no tabs between its tokens
    except FileNotFoundError as error:
        names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"Did you mean {path.with_name(near[0])}?" if near else "Name a YAML or JSON file."
        raise MissingError(f"There is no config file {path}.", hint) from error
    except UnicodeDecodeError as error:
        raise InvalidError(f"The config {path} is not UTF-8 text.", "Name a YAML or JSON file.") from error
    except OSError as error:
        raise UnavailableError(
            f"The config {path} cannot be read: {error.strerror}.", "Name a YAML or JSON file."
        ) from error
    try:
        loader = ConfigLoader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else {}
        numbered = list(lines_of(node, (), set())) if node is not None else []
    except YAML_ERRORS as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "it does not parse"
        raise InvalidError(
            f"{where}: this is not YAML ({problem}).", "Check indentation, colons and quotes."
        ) from error
    if not isinstance(values, dict):
        raise InvalidError(f"The config {path} is not a mapping of keys to values.", "Write lines such as key: value.")
    lines = dict(numbered)
    if len(lines) < len(numbered):
        key, line = next(item for n, item in enumerate(numbered) if item[0] in dict(numbered[:n]))
        raise InvalidError(f"{path}, line {line}: {'.'.join(map(str, key))} is there twice.", "Leave one of them out.")
    return values, lines


def _apply(values: dict[str, Any], override: str) -> Key:
    """Set what `key=value` says in `values`; the key, for messages."""
    dotted, equals, text = override.partition("=")
    key: Key = tuple(_index(part) for part in dotted.strip().split("."))
    if not equals or not all(part != "" for part in key):
        raise InvalidError(f"{quoted(override)} is not key=value.", "Write overrides such as learning_rate=1e-4.")
    try:
        value = yaml.load(text, ConfigLoader)  # a SafeLoader
    except YAML_ERRORS as error:
        raise InvalidError(f"The value of {quoted(override)} is not YAML.", "Put quotes around it.") from error
    target: Any = values
    for part, following in zip(key, (*key[1:], None), strict=True):
        if isinstance(target, list):
            if not isinstance(part, int) or part >= len(target):
                items = f"{len(target)} item{'' if len(target) == 1 else 's'}"
                raise InvalidError(
                    f"Override {quoted(override)}: the list has {items}, and {quoted(part)} is none of them.",
                    "Items are counted from 0.",
                )
        elif not isinstance(target, dict):
            raise InvalidError(
                f"Override {quoted(override)}: the value before .{part} is not a mapping.",
                "Override the whole of it.",
            )
        else:
            part = str(part)
        if following is None:
            target[part] = value
        else:
            if isinstance(target, dict) and target.get(part) is None:
                target[part] = {}
            target = target[part]
    return tuple(map(str, key))


def _index(part: str) -> str | int:
    """A part of a key; a number counts into a list."""
    return int(part) if part.isdecimal() and len(part) < _DIGITS else part
