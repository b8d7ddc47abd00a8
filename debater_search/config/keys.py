"""Where in a settings model a setting is: the key that pydantic's `loc` means."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

Key = tuple[str | int, ...]


def followed(schema: type[BaseModel], location: Key) -> tuple[Key, type[BaseModel] | None]:
    """The key that pydantic's `loc` means (it also names members of unions), and the model that its last part is of."""
    key: list[str | int] = []
    holder: type[BaseModel] | None = schema
    annotation: Any = schema
    for position, part in enumerate(location):
        model = next(models_in(annotation), None)
        inner = get_args(without_none(annotation))
        if isinstance(part, int):
            annotation = inner[0] if inner else Any
        elif get_origin(without_none(annotation)) is dict:
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


def without_none(annotation: Any) -> Any:
    """`list[Loss] | None` as `list[Loss]`; of other unions the first member that has arguments."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next((member for member in get_args(annotation) if get_args(member)), annotation)
