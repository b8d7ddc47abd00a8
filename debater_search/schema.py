"""What a settings model says of itself: the table of its settings, and the setting that a place in it means."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

Key = tuple[str | int, ...]


def schema_reference(schema: type[BaseModel]) -> str:
    """A Markdown table of all settings of `schema`, nested ones by dotted key: type, default, description."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *_reference_rows(schema, "")]) + "\n"


def _reference_rows(schema: type[BaseModel], prefix: str) -> Iterator[str]:
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
        in_list = get_origin(_without_none(field.annotation)) is list
        for model in nested:
            yield from _reference_rows(model, f"{prefix}{name}.{'N.' if in_list else ''}")


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


def followed(schema: type[BaseModel], location: Key) -> tuple[Key, type[BaseModel] | None]:
    """The key that pydantic's `loc` means (it also names members of unions), and the model that its last part is of."""
    key: list[str | int] = []
    holder: type[BaseModel] | None = schema
    annotation: Any = schema
    for position, part in enumerate(location):
        model = next(models_in(annotation), None)
        inner = get_args(_without_none(annotation))
        if isinstance(part, int):
            annotation = inner[0] if inner else Any
        elif get_origin(_without_none(annotation)) is dict:
            annotation = inner[1]
        elif model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
        elif model is None or position < len(location) - 1:
            continue
        key.append(part)
        holder = model
    return tuple(key), holder


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings models in an annotation such as `list[Loss] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next((member for member in get_args(annotation) if get_args(member)), annotation)
