"""What the routes, the page and the agents' tools ask: one `Service` for each application."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from debater_search.errors import DebaterError
from debater_search.indexing import Change
from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex
from debater_search.serving.keys import Caller
from debater_search.serving.limits import Admission
from debater_search.serving.metrics import Metrics
from debater_search.serving.models import Models, ServedModel, ServedReranker
from debater_search.serving.settings import Settings
from debater_search.store.manifest import IndexManifest

if TYPE_CHECKING:
    from debater_search.serving.judgements import JudgementLog

log = logging.getLogger(__name__)

T = TypeVar("T")


class Service:
    """Indexes, models, threads and counts of a server. Its methods run on the event loop, unless they say otherwise."""

    def __init__(self, indexes: dict[str, ServedIndex], settings: Settings) -> None:
        self.indexes, self.settings = indexes, settings
        self.metrics = Metrics()
        self.admission = Admission(settings.queue)
        self.metrics.watch_queue(lambda: self.admission.count)
        self.models = Models(
            settings.load_encoder, settings.device, settings.cached_queries, self.metrics.batches.observe
        )
        self.reranker: ServedReranker | None = None
        self.reranker_failed = False
        self.judgements: JudgementLog | None = None
        self.draining = False
        self._retrieval = ThreadPoolExecutor(settings.retrieval_threads, thread_name_prefix="retrieve")
        self._reranking = ThreadPoolExecutor(settings.reranking_threads, thread_name_prefix="rerank")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._stop = Event()
        self._watcher = Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to open the indexes and to watch them, in a thread."""
        self._watcher.start()

    def close(self) -> None:
        """End the threads."""
        self._stop.set()
        self._watcher.join()
        self._retrieval.shutdown(cancel_futures=True)
        self._writer.shutdown(cancel_futures=True)
        if self.reranker is not None:
            self.reranker.thread.close()
        self._reranking.shutdown(cancel_futures=True)
        self.models.close()

    @property
    def unready(self) -> str | None:
        """Why requests are better sent elsewhere; None if they are welcome."""
        if self.draining:
            return "The server is stopping."
        for index in self.indexes.values():
            if not index.is_open:
                failed = index.failure is not None
                return f"The index {index.name} {'could not be opened' if failed else 'is being opened'}."
        if self.settings.rerank is not None and self.reranker is None:
            return f"The reranker {'could not be loaded' if self.reranker_failed else 'is being loaded'}."
        return None

    @property
    def public_names(self) -> dict[str, str]:
        """How messages call places on disk."""
        return {str(index.folder): index.name for index in self.indexes.values()}

    def visible(self, caller: Caller) -> list[ServedIndex]:
        """The indexes that exist for a caller."""
        return [index for name, index in self.indexes.items() if caller.may_see(name)]

    def index(self, name: str, caller: Caller) -> ServedIndex:
        """An index by its name; the 404 error if there is none for this caller."""
        index = self.indexes.get(name)
        if index is None or not caller.may_see(name):
            raise ApiError(404, "unknown_index", "There is no such index.", "GET /v1/indexes lists those of your key.")
        return index

    async def retrieve(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call what reads an index or its documents, in one of the threads for it."""
        return await asyncio.get_running_loop().run_in_executor(self._retrieval, work, *arguments)

    async def rerank(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call what waits for the reranker, in a thread where no other search waits behind it."""
        return await asyncio.get_running_loop().run_in_executor(self._reranking, work, *arguments)

    async def write(self, index: ServedIndex, change: Callable[[], Change]) -> dict[str, Any]:
        """Change an index in the only thread that does: a `ChangeAnswer`, once the change is committed and searched.

        A change that has begun goes on when its client has left.
        """

        def work() -> dict[str, Any]:
            _ = index.opened  # refuses before anything is changed
            done = change()
            try:
                self.renew(index)
            except DebaterError as error:  # the change is committed all the same, and the watcher tries again
                log.error("Index %s: %s", index.name, error)
            return index.summary_of(done)

        with self.admission():
            return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def require_reranker(self) -> ServedReranker:
        """The reranker; the 400 error if the server has none, the 503 error before it is loaded."""
        if self.settings.rerank is None:
            raise ApiError(
                400, "no_reranker", "This server has no reranker.", "Its operator starts it with --rerank MODEL."
            )
        if self.reranker is None and self.reranker_failed:
            raise ApiError(503, "unavailable", "The reranker could not be loaded.", "Ask the operator of the server.")
        if self.reranker is None:
            raise ApiError(503, "loading", "The reranker is being loaded.", "Try again.", retry_after=2)
        return self.reranker

    def require_query(self, query: str) -> None:
        """Raise the 400 error for a query that is too long."""
        if len(query) > (limit := self.settings.query_characters):
            raise ApiError(400, "query_too_long", f"The query is longer than {limit:,} characters.", "Shorten it.")

    def renew(self, index: ServedIndex) -> None:
        """Open the newest state of an index; DebaterError if that fails. For any thread."""
        first = not index.is_open
        if index.renew(self.model_of):
            manifest = index.manifest
            self.metrics.index(index.name, manifest.generation, manifest.corpus.documents)
            if not first:
                self.metrics.reloads.labels(index.name).inc()
            log.info("Index %s is open in generation %d.", index.name, manifest.generation)

    def model_of(self, manifest: IndexManifest, folder: Path) -> ServedModel | None:
        """The model that made an index, loaded if need be; None for an index of words only. For any thread."""
        return None if manifest.encoder is None else self.models.get(manifest.encoder, folder)

    def _watch(self) -> None:
        said: dict[str, str] = {}
        self._renew_all(said)
        self._load_reranker()
        ready = self._says_ready()
        while not self._stop.wait(self.settings.watch_seconds):
            self._renew_all(said)
            ready = ready or self._says_ready()

    def _says_ready(self) -> bool:
        if ready := self.unready is None:
            log.info("Ready.")
        return ready

    def _renew_all(self, said: dict[str, str]) -> None:
        """Open the newest state of each index; `said` are the errors that the log has, by index."""
        for index in self.indexes.values():
            try:
                self.renew(index)
                said.pop(index.name, None)
            except DebaterError as error:
                if said.get(index.name) != str(error):
                    log.error("Index %s: %s", index.name, error)
                said[index.name] = str(error)
            except Exception:
                log.exception("Index %s cannot be renewed.", index.name)

    def _load_reranker(self) -> None:
        if self.settings.rerank is None:
            return
        try:
            self.reranker = ServedReranker(self.settings.load_reranker(self.settings.rerank, self.settings.device))
        except DebaterError as error:
            self.reranker_failed = True
            log.error("The reranker %s cannot be loaded: %s", self.settings.rerank, error)
        except Exception:
            self.reranker_failed = True
            log.exception("The reranker %s cannot be loaded.", self.settings.rerank)
