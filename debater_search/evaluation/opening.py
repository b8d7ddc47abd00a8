"""An index of a task's corpus to evaluate on: one that is there, or one made from cached embeddings."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from debater_search.encoder.protocol import TextEncoder, is_cacheable
from debater_search.evaluation.judged import JudgedIndex
from debater_search.evaluation.kept import kept_embeddings
from debater_search.evaluation.task_cache import uncached
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.identity import EncoderInfo
from debater_search.indexing import EncodingSettings, encode, index
from debater_search.indexing.building import timed
from debater_search.indexing.documents import Corpus, storing
from debater_search.indexing.output import claim, workplace
from debater_search.search import SearchEngine
from debater_search.store.manifest import EMBEDDINGS_NAME
from debater_search.types import Document
from debater_search.vectors import VectorSettings, backend


@contextmanager
def opened(
    task: RetrievalTask,
    model_or_engine: TextEncoder | SearchEngine | str | Path | None,
    *,
    split: str = "test",
    index_type: str = "flat",
    index_folder: str | Path | None = None,
    all_steps: bool = False,
    progress: bool = False,
) -> Iterator[tuple[SearchEngine, dict[str, float]]]:
    """An engine over the task's corpus, and the seconds that making it took; an engine is passed on as it is.

    A judged index is its own corpus, and used as it is where this model and type made it.

    Use it to ask one index several things: `with opened(task, encoder, all_steps=True) as (engine, timings)`.

    Examples:
        >>> from debater_search.evaluation import load_task, opened
        >>> with opened(load_task("task"), encoder, all_steps=True) as (engine, seconds):
        ...     engine.manifest.corpus.documents
        3
    """
    if isinstance(model_or_engine, SearchEngine):
        yield model_or_engine, {}
        return
    if isinstance(model_or_engine, str | Path):
        from debater_search.encoder import Encoder

        model_or_engine = Encoder.load(model_or_engine)
    if isinstance(judged := uncached(task), JudgedIndex) and index_folder is None:
        engine = judged.engine(model_or_engine, index_type, all_steps=all_steps)
        if engine is not None:
            with closing(engine):
                yield engine, {}
            return
    with indexed(
        task.corpus(split),
        model_or_engine,
        index_type=index_type,
        index_folder=index_folder,
        all_steps=all_steps,
        progress=progress,
    ) as made:
        yield made


@contextmanager
def indexed(
    corpus: Iterable[Document],
    encoder: TextEncoder | None,
    *,
    index_type: str = "flat",
    index_folder: str | Path | None = None,
    all_steps: bool = False,
    progress: bool = False,
) -> Iterator[tuple[SearchEngine, dict[str, float]]]:
    """An engine over a corpus, which is read once, and the seconds that making it took.

    Embeddings of an earlier evaluation are taken from the cache; those that are made are added to it.
    """
    vectors = VectorSettings(index_type)
    settings = EncodingSettings(all_steps=all_steps)
    if encoder is not None:
        backend("faiss").validate(vectors, encoder.dim)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="debater-eval-") as temporary:
        folder = Path(index_folder if index_folder is not None else Path(temporary, "index")).resolve()
        with workplace(folder, force=False) as place:
            shards = place / EMBEDDINGS_NAME
            with timed(seconds, "read"), storing(Corpus(corpus, "corpus"), place) as stored:
                claim(
                    shards,
                    None if encoder is None else settings.job(EncoderInfo.of(encoder), stored.corpus),
                    force=False,
                )
            with timed(seconds, "encode"):
                embeddings = None
                if encoder is not None and is_cacheable(encoder):
                    embeddings = kept_embeddings(stored, encoder, all_steps=all_steps, progress=progress)
                elif encoder is not None:
                    with stored.opened() as rows:
                        embeddings = encode(rows, encoder, shards, stored.corpus, settings, progress=progress).store
            with timed(seconds, "index"):
                index(stored, embeddings, vectors)
        engine = SearchEngine.open(folder, encoder=encoder)
        try:
            yield engine, seconds
        finally:
            engine.close()
