"""The page of training settings, from their schema."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from debater_search.config.keys import models_in, without_none


def page() -> str:
    """All settings of training."""
    from debater_search.training import TrainingSettings

    return f"""# Training settings

What a config file for `debater train` may say; made from the schema by `make reference`. A setting can be replaced on
the command line: `debater train configs/demo.yaml learning_rate=1e-4 loss.scale=20 data.0.weight=2`. Numbers in dotted
names count into a list. Paths of data and evaluation tasks are relative to the config file, `output` to the working
directory.

{schema_table(TrainingSettings)}"""


def schema_table(schema: type[BaseModel]) -> str:
    """A Markdown table of all settings of `schema`, nested ones by dotted key: type, default, description."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *_rows(schema, "")]) + "\n"


def _rows(schema: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in schema.model_fields.items():
        nested = list(models_in(field.annotation))
        if field.is_required():
            default = "required"
        elif field.default is PydanticUndefined or isinstance(field.default, BaseModel):
            default = "below" if nested else _cell(field.get_default(call_default_factory=True))
        else:
            default = _cell(field.default)
        description = (field.description or "").replace("|", "\\|")
        yield f"| `{prefix}{name}` | {_type_name(field.annotation)} | {default} | {description} |"
        in_list = get_origin(without_none(field.annotation)) is list
        for model in nested:
            yield from _rows(model, f"{prefix}{name}.{'N.' if in_list else ''}")


def _cell(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value) or '""'
    return "`" + text.replace("|", "\\|") + "`"


def _type_name(annotation: Any) -> str:
    """`list[str] | None` as people read it: list of text, or null."""
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null", Path: "path"}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if arguments and origin is not dict:
        return " or ".join(_cell(argument) for argument in arguments)
    return "mapping"
