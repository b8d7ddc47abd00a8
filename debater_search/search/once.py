"""A cached property for objects that several threads share."""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 (a decorator)
    """As `functools.cached_property`, but the value is computed once per object: other threads wait for it.

    If the computation raises an error, the next thread tries again.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | Self:
        if instance is None:
            return self
        values = vars(instance)  # once the value is there, Python finds it without this method
        with values.setdefault(f"{self._name} lock", RLock()):
            if self._name not in values:
                values[self._name] = self._compute(instance)
        value: T = values[self._name]
        return value
