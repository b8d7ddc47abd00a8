"""Execute encoding tasks in this process: a thread tokenizes the next task, another writes the last shard."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future

from debater_search.encoder.protocol import TextEncoder
from debater_search.indexing.tasks import EncodedShard, EncodingTask, execute
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter


def run(
    tasks: Iterator[EncodingTask],
    encoder: TextEncoder,
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
