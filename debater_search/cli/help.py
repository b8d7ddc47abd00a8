"""--help without the types of Python: a flag takes no value, and an argument is named by its metavar."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose --help names values by metavars alone."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, --help included."""
        return _untyped(super().get_params(ctx))


class Group(TyperGroup):
    """The program, whose --help does so too."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, --help included."""
        return _untyped(super().get_params(ctx))


def _untyped(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) or parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
    return parameters


def _no_type(ctx: Any) -> None:
    """Typer asks this for the column of types."""
