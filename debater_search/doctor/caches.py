"""The caches: debater's own, and the hub's models."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem
from debater_search.files import folder_size
from debater_search.terminal import size_in_words

_LARGE = 20 * 10**9
_LITTLE_ROOM = 10**9


def gather(_: Asked) -> Iterator[Facts]:
    """Sizes of the caches by their parts, and the room on their disk."""
    from debater_search.cache import cache_folder, cache_roots

    folder = cache_folder("doctor")  # DebaterError where no cache can be written to
    with suppress(OSError):
        folder.rmdir()
    root = folder.parent
    parts = {part.name: folder_size(part) for part in root.iterdir() if part.is_dir()}
    chosen = "XDG_CACHE_HOME" in os.environ
    replaced = root != next(cache_roots(), root)
    yield {"parts": parts, "free": shutil.disk_usage(root).free, "chosen": chosen, "replaced": replaced}
    with suppress(ImportError):
        from huggingface_hub.constants import HF_HUB_CACHE

        hub = Path(HF_HUB_CACHE)
        yield {"hub": folder_size(hub) if hub.is_dir() else 0}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Caches that are large, and disks that are full."""
    if "parts" in facts:
        yield from _judge_own(facts)
    if facts.get("hub"):
        yield ok("hub cache", f"models of the hub take {size_in_words(facts['hub'])}")


def _judge_own(facts: Facts) -> Iterator[Finding]:
    total = sum(facts["parts"].values())
    parts = ", ".join(f"{name} {size_in_words(size)}" for name, size in sorted(facts["parts"].items()) if size)
    said = f"{size_in_words(total)}{f' ({parts})' if parts else ''}, {size_in_words(facts['free'])} free"
    where = '"$XDG_CACHE_HOME/debater"' if facts["chosen"] else "~/.cache/debater"
    if facts["replaced"]:
        yield note("cache", "The usual folder cannot be written to; a temporary folder takes its place.",
                   f"Let this user own it: {where}")  # fmt: skip
    if facts["free"] < _LITTLE_ROOM:
        yield problem("cache", f"Its disk is nearly full: {said}.", f"rm -r {where}")
    elif total > _LARGE:
        yield note("cache", f"{said}. It can be made again.", f"rm -r {where}")
    elif not facts["replaced"]:
        yield ok("cache", said)
