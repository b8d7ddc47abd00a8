"""Python, the libraries that debater needs, and the extras."""

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_OLDEST = (3, 11)
_NOT_FOR_USERS = ("dev", "cpu")
TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "tokenizers": "0.23.3",
    "numpy": "2.4.6",
    "pyarrow": "26.0.1",
    "faiss-cpu": "1.15.1",
    "mteb": "2.26.24",
}
"""The versions of constraints.txt, which were tested together, of libraries that change results or speed."""


def gather(_: Asked) -> Iterator[Facts]:
    """Versions of Python and of the libraries, and what is missing."""
    yield {"python": platform.python_version(), "old": sys.version_info < _OLDEST}
    yield {"installed": {name: found for name in TESTED if (found := version_of(name))}, "tested": TESTED}
    from packaging.requirements import Requirement

    try:
        about = metadata("debater-search")
    except PackageNotFoundError:  # a clone on the path, not installed
        return
    extras: dict[str, list[str]] = {name: [] for name in about.get_all("Provides-Extra") or []}
    missing = []
    for requirement in map(Requirement, about.get_all("Requires-Dist") or []):
        if _fits(requirement.name, requirement.specifier):
            continue
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            missing.append(f"{requirement.name}{requirement.specifier}")
            continue
        for name, absent in extras.items():
            if marker.evaluate({"extra": name}):
                absent.append(requirement.name)
    yield {"missing": missing, "extras": {name: extras[name] for name in extras if name not in _NOT_FOR_USERS}}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Too old a Python, missing or unfitting libraries; versions that were not tested together."""
    if "python" in facts:
        oldest = ".".join(map(str, _OLDEST))
        if facts["old"]:
            yield problem("python", f"Python {facts['python']} is too old.", f"Install Python {oldest} or newer.")
        else:
            yield ok("python", facts["python"])
    if facts.get("missing"):
        wanted = " ".join(f"'{requirement}'" for requirement in facts["missing"])
        yield problem("versions", f"Missing, or of another version than needed: {wanted}.", f"pip install {wanted}")
    if "installed" in facts:
        yield _compared(facts["installed"], facts["tested"])
    if "extras" in facts:
        present = [name for name, absent in facts["extras"].items() if not absent]
        absent = [name for name, absent in facts["extras"].items() if absent]
        said = f"installed: {', '.join(present) or 'none'}"
        yield ok("extras", said + (f"; not installed: {', '.join(absent)}" if absent else ""))


def _compared(installed: dict[str, str], tested: dict[str, str]) -> Finding:
    others = [
        f"{name} {found} ({tested[name]})"
        for name, found in installed.items()
        if found.partition("+")[0] != tested[name]
    ]
    if not others:
        return ok("versions", ", ".join(f"{name} {found}" for name, found in installed.items()) + ", as tested")
    asked = " ".join(f"{name}=={tested[name]}" for name in installed)
    message = f"Not the versions that were tested together (in brackets): {', '.join(others)}."
    return note("versions", message, f"If something fails: pip install {asked}")


def _fits(name: str, wanted: "SpecifierSet") -> bool:
    """Whether a library is there in a version that is wanted; any wheel of FAISS will do."""
    if name.startswith("faiss-") and find_spec("faiss") is not None:
        return True
    found = version_of(name)
    return found is not None and wanted.contains(found, prereleases=True)


def version_of(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
