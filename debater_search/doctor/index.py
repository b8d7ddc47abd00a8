"""An index: is it whole, is there memory and room for it, is its model here, does a search end?"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from debater_search.doctor import machine
from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem, shown
from debater_search.files import folder_size
from debater_search.terminal import size_in_words

_MANY_DELETED = 0.3


def gather(asked: Asked) -> Iterator[Facts]:
    """What the manifest says, sizes, and the time of a search for documents like the first one."""
    from debater_search.encoder.loading.hub import require_model
    from debater_search.errors import DebaterError
    from debater_search.search import SearchEngine
    from debater_search.store.folders import open_manifest
    from debater_search.types import Like

    folder = Path(asked.index or "")
    manifest = open_manifest(folder)
    sizes = {name: (folder / name).stat().st_size for name in (manifest.vectors.files if manifest.vectors else {})}
    yield {
        "index": shown(folder),
        "documents": manifest.corpus.documents,
        "rows": manifest.rows,
        "deleted": manifest.deleted,
        "vectors": sum(sizes.values()),
        "bytes": folder_size(folder),
        "free": shutil.disk_usage(folder).free,
        "writable": os.access(folder, os.W_OK),
    }
    yield from machine.gather(asked)
    with closing(SearchEngine.open(folder)) as engine:
        yield {"fields": engine.documents.has_field_table}
        if manifest.encoder is not None:
            start = time.perf_counter()
            first = engine.documents.ids([int(engine.documents.live_positions()[0])])[0]
            engine.answer(Like(first), 1)
            yield {"seconds": time.perf_counter() - start}
            try:
                require_model(manifest.encoder.recipe["model"])
            except DebaterError as error:
                yield {"model": [error.message, error.hint]}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Too little memory or room; a model that is gone; an index that should be compacted."""
    if "index" not in facts:
        return
    index = facts["index"]
    yield from _judge_memory(facts)
    if facts["writable"] and facts["free"] < facts["bytes"]:
        yield note(
            "index",
            f"To compact or replace {index} takes {size_in_words(facts['bytes'])}, and "
            f"{size_in_words(facts['free'])} are free.",
            "df -h",
        )
    if facts["deleted"] > _MANY_DELETED * facts["rows"]:
        yield note("index", f"{facts['deleted']:,} of {facts['rows']:,} rows are deleted.", f"debater compact {index}")
    if facts.get("fields") is False:
        yield note("index", "An earlier version made it: filters read every document.", f"debater compact {index}")
    if "model" in facts:
        message, hint = facts["model"]
        yield problem("index", f"Its model is not here. {message}", hint)
    if "fields" in facts:
        seconds = f"; opened and searched in {facts['seconds']:.1f} s" if "seconds" in facts else ""
        yield ok(
            "index",
            f"{index}: {facts['documents']:,} documents, {size_in_words(facts['bytes'])}{seconds}. "
            f"`debater verify {index}` checks every file's hash.",
        )


def _judge_memory(facts: Facts) -> Iterator[Finding]:
    if not (memory := facts.get("memory")):
        return
    needed, there = size_in_words(facts["vectors"]), size_in_words(memory["available"])
    smaller = "A coded type takes less memory: debater index CORPUS --force --type sq8, or ivfpq"
    if facts["vectors"] > memory["available"]:
        yield problem("index", f"Its vectors take {needed}, and {there} of memory are free.", smaller)
    elif facts["vectors"] > memory["available"] // 2:
        yield note("index", f"Its vectors take {needed} of the {there} of memory that are free.", smaller)
