"""The names that mteb knows, read from its source as text: to import mteb takes ten seconds or more.

mteb writes each name as a plain string beside the task or benchmark. A name that its source does not hold is therefore
unknown; for one that it holds, mteb itself says what it is.
"""

import difflib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from debater_search.data.bundled import CRANFIELD
from debater_search.errors import MissingError

_STRING = re.compile(r'"([^"\n]+)"')
_NAME = re.compile(r'\bname="([^"\n]*[A-Z][^"\n]*)"')
"""A task's or benchmark's name where it is defined; those of parts of data sets have no capitals."""


@dataclass(frozen=True)
class Source:
    """The text of mteb's modules."""

    retrieval: list[str]
    tasks: list[str]
    """All of them, those of retrieval included."""
    benchmarks: list[str]

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """That of the package in `folder`."""
        return cls(_texts(folder / "tasks" / "retrieval"), _texts(folder / "tasks"), _texts(folder / "benchmarks"))

    def holds(self, name: str) -> bool:
        """Whether it has a task or benchmark of this name, or may have: where mteb's folders are others, it may."""
        if not (self.retrieval and self.benchmarks) or any(f'"{name}"' in text for text in self.tasks):
            return True
        return slug(name) in {slug(string) for text in self.benchmarks for string in _STRING.findall(text)}

    def names(self) -> list[str]:
        """Its retrieval tasks and benchmarks, as users name them."""
        found = [name for text in [*self.retrieval, *self.benchmarks] for name in _NAME.findall(text)]
        return [slug(name) if "(" in name else name for name in found]


def require_known(name: str) -> None:
    """Raise MissingError, with the nearest name, unless the source of the installed mteb holds this name.

    It does nothing where mteb is imported already, or not installed.
    """
    package = find_spec("mteb") if "mteb" not in sys.modules else None
    if package is None or package.origin is None:
        return
    source = Source.in_folder(Path(package.origin).parent)
    if not source.holds(name):
        raise unknown(name, source.names())


def unknown(name: str, known: Iterable[str]) -> MissingError:
    """The error for a name that is not among `known`, with the nearest of them."""
    by_lower = {near.lower(): near for near in [CRANFIELD, *known]}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f"Did you mean {by_lower[nearest[0]]}?" if nearest else "Name a folder, beir/NAME or an mteb task."
    return MissingError(f"There is no retrieval task {name!r}, neither as a folder nor in mteb.", hint)


def slug(benchmark: str) -> str:
    """The name of an mteb benchmark without punctuation: `MTEB(eng, v2)` becomes mteb-eng-v2."""
    return re.sub(r"[^a-z0-9.]+", "-", benchmark.lower()).strip("-")


def _texts(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
