"""Execute encoding tasks in this process: a thread tokenizes the next task, another writes the last shard."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from debater_search.indexing.tasks import EncodedShard, EncodingTask, execute
from debater_search.progress import Progress
from debater_search.store.embeddings import EmbeddingWriter

if TYPE_CHECKING:
    from debater_search.encoder import Encoder


def run(
    tasks: Iterator[EncodingTask],
    encoder: "Encoder",
    writer: EmbeddingWriter,
    *,
    workers: int,
    batch_tokens: int | None,
    progress: Progress,
) -> Generator[EncodedShard]:
    """Execute tasks one after the other; `workers` has no effect. Raises as `tasks.execute` does, and OSError."""
    before: Future[EncodedShard] | None = None
    for writing in execute(tasks, encoder, writer, batch_tokens, progress):
        if before is not None:
            yield before.result()
        before = writing
    if before is not None:
        yield before.result()
