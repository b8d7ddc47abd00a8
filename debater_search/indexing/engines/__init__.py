"""Where encoding tasks run: here, in a pool of processes on this machine, or elsewhere, by a table of engines.

An engine takes tasks as it has room for them, so that memory holds a few of them at a time, and gives each shard once
it is complete on disk. A new engine is a function of this form and a line in the table.
"""

from collections.abc import Generator, Iterator
from functools import partial
from importlib import import_module
from typing import Protocol, cast

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import InvalidError
from debater_search.extras import require
from debater_search.indexing.tasks import EncodedShard, EncodingTask
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter


class Engine(Protocol):
    """Executes encoding tasks."""

    def __call__(
        self,
        tasks: Iterator[EncodingTask],
        encoder: TextEncoder,
        writer: EmbeddingWriter,
        *,
        workers: int,
        batch_tokens: int | None,
        progress: Progress,
    ) -> Generator[EncodedShard]:
        """Execute all tasks, in any order; gives the shard of each, and advances `progress` by documents.

        However it ends, nothing of it is left running.

        Raises:
            DebaterError: a task cannot be executed.
            OSError: a shard cannot be written.

        """
        ...


LOCAL = "local"
"""The engine of this machine: `here` for one worker, `pool` for several."""
RAY = "ray"
ENGINES = {
    "here": "debater_search.indexing.engines.here:run",
    "pool": "debater_search.indexing.engines.pool:run",
    "ray": "debater_search.indexing.engines.ray:run",
}
"""Where the function of each engine is; it is imported when it is first used."""


def check_engine(name: str, address: str | None = None) -> None:
    """Raise DebaterError if there is no engine of that name, if it is not installed, or if its cluster is not there."""
    if name != LOCAL and name not in ENGINES:
        raise InvalidError(f"There is no encoding engine {name!r}.", f"`engine` is {', '.join([LOCAL, *ENGINES])}.")
    if name == RAY:
        require("ray", extra="ray")
        if address is not None:
            import_module(ENGINES[RAY].partition(":")[0]).require_answer(address)


def find_engine(name: str, workers: int, address: str | None = None) -> Engine:
    """The engine of that name, at the address of its cluster; raises as `check_engine` does."""
    check_engine(name)
    if name == LOCAL:
        name = "here" if workers == 1 else "pool"
    module, _, function = ENGINES[name].partition(":")
    run = getattr(import_module(module), function)
    return cast(Engine, partial(run, address=address) if name == RAY else run)
