"""What the doctor finds, and what it is asked."""

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]

Facts = dict[str, Any]
"""What a check found out about this machine, as JSON; a judge turns it into findings."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to examine beside this machine: an index, a model, the services in the network."""

    index: str | None = None
    model: str | None = None
    online: bool = False

    @property
    def place(self) -> Path:
        """The folder that holds, or is to hold, indexes."""
        if self.index is not None:
            return Path(self.index).resolve().parent
        return Path("indexes") if Path("indexes").is_dir() else Path()


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination: how things are with `subject`, and the command that mends it."""

    level: Level
    subject: str
    message: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON."""
        return asdict(self)

    def without_private_paths(self) -> "Finding":
        """The same finding, with paths as `shown` says them: it may be posted in public."""
        return replace(self, message=without_private_paths(self.message), remedy=without_private_paths(self.remedy))


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding("ok", subject, message)


def note(subject: str, message: str, remedy: str = "") -> Finding:
    """It works; something is slow, missing or unusual."""
    return Finding("note", subject, message, remedy)


def problem(subject: str, message: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding("problem", subject, message, remedy)


_ABSOLUTE = re.compile(r"(?<![\w.:/~…])/(?:[\w.+@~,=-]+/)*[\w.+@~,=-]*[\w+@~=-]")


def without_private_paths(text: str) -> str:
    """`text` with every absolute path in it as `shown` says it."""
    for base, name in _bases():
        folder = re.escape(str(base))
        text = re.sub(f"{folder}/", name, text)
        text = re.sub(rf"{folder}(?![\w-])", name[:-1] or ".", text)
    return _ABSOLUTE.sub(lambda found: f"…/{Path(found[0]).name}", text)


def shown(path: Path) -> str:
    """A path below the working directory or below home as it is seen from there; of any other only its name."""
    absolute = Path(os.path.abspath(path))  # not resolved: where a link leads is nobody's business
    for base, name in _bases():
        if absolute.is_relative_to(base):
            return name + str(absolute.relative_to(base)) if absolute != base else name[:-1] or "."
    return f"…/{absolute.name}"


def _bases() -> Iterator[tuple[Path, str]]:
    """The folders that paths are seen from, and how a path below each begins."""
    for base, name in ((Path.cwd(), ""), (_home(), "~/")):
        if base is not None and base != Path(base.root):
            yield base, name


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user without a home
        return None
