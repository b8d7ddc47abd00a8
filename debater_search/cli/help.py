"""Typer's commands as ours: --help without the types of Python, and mistakes of usage in sentences."""

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup

from debater_search.cli.usage import in_sentences, unknown_command


class Command(TyperCommand):
    """A command whose --help says that a flag takes no value, and names an argument by its metavar."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        # line ends of the source would be kept, and break lines anywhere
        self.help = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, --help included."""
        return _untyped(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fill the context. Raises InvalidError for arguments that cannot be parsed."""
        with in_sentences(ctx):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """The program, whose --help and mistakes are so too."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, --help included."""
        return _untyped(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fill the context. Raises InvalidError for arguments that cannot be parsed."""
        with in_sentences(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named. Raises InvalidError if there is none."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown_command(args[0], self.commands)
        return super().resolve_command(ctx, args)


def _untyped(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) or parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
    return parameters


def _no_type(ctx: Any) -> None:
    """Typer asks this for the column of types."""
