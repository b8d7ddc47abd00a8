"""Training sets in the cache, so that a second opening is instant and several processes share the work.

An entry is a folder that appears whole, by one rename: `index` (a record for each row), `contents.json` and, where the
source is not a plain .jsonl itself, its rows as `rows.jsonl`. Its name is a hash of the source's files, their sizes and
times. What keeps the cache small: whenever an entry is made, those go whose source has changed, is gone, or was not
opened for a month.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from debater_search.cache import cache_folder, remove_stale
from debater_search.data.training_index import RECORD, Contents, State, index_lines
from debater_search.data.training_sources import TrainingSource
from debater_search.errors import InvalidError, UnavailableError
from debater_search.files import from_json
from debater_search.locks import one_at_a_time
from debater_search.progress import progress

VERSION = 3
INDEX, CONTENTS, ROWS = "index", "contents.json", "rows.jsonl"

LARGE = 256 << 20  # bytes from which on a progress line is shown

_MIB = 1 << 20


def open_entry(source: TrainingSource) -> Path:
    """The folder of a source's entry; made in one pass over the rows if there is none yet.

    Raises DebaterError for a source that cannot be read or changes meanwhile, and for a full disk.
    """
    state = state_of(source.files)
    cache = cache_folder("training")
    key = json.dumps([VERSION, source.unit, state or source.path])
    entry = cache / hashlib.sha256(key.encode()).hexdigest()[:32]
    if read_contents(entry) is None:
        try:
            with one_at_a_time(entry.with_suffix(".lock")):
                if read_contents(entry) is None:
                    remove_stale(cache, _is_entry, _is_outdated)
                    _make(source, state, entry)
        except OSError as error:
            raise UnavailableError(
                f"The index of {source.path} cannot be written to {cache}: {error.strerror or error}.",
                "Make room there, or set XDG_CACHE_HOME to a folder on another disk.",
            ) from error
    with suppress(OSError):
        (entry / CONTENTS).touch()  # it is in use
    return entry


def read_contents(entry: Path) -> Contents | None:
    """What an entry is about; None if it is not there, not whole or of another version."""
    try:
        fields = from_json((entry / CONTENTS).read_text(encoding="utf-8"))
        version = fields.pop("version")
        contents = Contents(**fields)
        whole = (entry / INDEX).stat().st_size == contents.rows * RECORD.size
        whole &= contents.plain or (entry / ROWS).stat().st_size == contents.size
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return contents if whole and version == VERSION else None


def state_of(files: tuple[Path, ...]) -> State:
    """What tells whether files have changed."""
    return [[str(file), (found := file.stat()).st_size, found.st_mtime_ns] for file in files]


def is_current(contents: Contents) -> bool:
    """Whether the files that an entry was made of are still there and have not changed."""
    try:
        return state_of(tuple(Path(str(path)) for path, _, _ in contents.state)) == contents.state
    except OSError:
        return False


def _make(source: TrainingSource, state: State, entry: Path) -> None:
    contents = Contents(source.unit, source.plain, state)
    temporary = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", suffix=".tmp", dir=entry.parent))
    try:
        with ExitStack() as files, _progress(source, state) as report:
            index = files.enter_context((temporary / INDEX).open("wb"))
            spool = None if source.plain else files.enter_context((temporary / ROWS).open("wb"))
            index_lines(source, contents, index, spool, report)
        if not is_current(contents):
            raise InvalidError(f"{source.path} changed while it was read.", "Start again once it is complete.")
        (temporary / CONTENTS).write_text(json.dumps(asdict(contents) | {"version": VERSION}), encoding="utf-8")
        _move(temporary, entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, entry: Path) -> None:
    if entry.exists() and read_contents(entry) is None:
        shutil.rmtree(entry, ignore_errors=True)  # damaged
    try:
        temporary.rename(entry)
    except OSError:
        if read_contents(entry) is None:  # otherwise another process was first
            raise


@contextmanager
def _progress(source: TrainingSource, state: State) -> Iterator[Callable[[int], None]]:
    """Shows what `report(bytes)` was told, for large sources; how long still only where lines are the file's bytes."""
    size = sum(int(size) for _, size, _ in state)
    total = -(-size // _MIB) if source.plain else None
    with progress(f"Reading {source.name}", total, "MiB", enabled=size >= LARGE or not state) as bar:
        read = 0

        def report(count: int) -> None:
            nonlocal read
            read += count
            if read // _MIB > bar.done:
                bar.advance(read // _MIB - bar.done)

        yield report
        bar.advance(-(-read // _MIB) - bar.done)


def _is_entry(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{32}", name) is not None


def _is_outdated(entry: Path) -> bool:
    """Whether an entry is whole, and the files that it was made of have changed."""
    contents = read_contents(entry)
    return contents is not None and not is_current(contents)
