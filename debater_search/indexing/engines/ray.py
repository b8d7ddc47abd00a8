"""Execute encoding tasks on a Ray cluster: an actor per worker loads the model once and makes one shard at a time.

The rules are those of the pool: a worker has two tasks in hand, and documents on which workers die again and again are
named. Actors write to object storage themselves; for a folder of this machine they send the shard's bytes. Source of
the design: Ray Core runs numbered tasks whose completion is ours to know, where Ray Data renames and buffers blocks.
"""

import atexit
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from debater_search.encoder.protocol import TextEncoder, device_of
from debater_search.errors import KINDS, DebaterError, UnavailableError
from debater_search.extras import require
from debater_search.indexing.engines.pool import IN_HAND, RESTARTS
from debater_search.indexing.tasks import EncodedShard, EncodingTask, compute, job_of, require_model_of, writer_of
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.manifest import ShardInfo
from debater_search.store.shard import write_shard

logger = logging.getLogger(__name__)

_CARRIED = 256_000_000
"""Bytes of a model folder that travel to the actors; a larger one must be on a disk that all machines share."""
_OBJECT_STORE = 256_000_000
_GIVEN = dict[str, Any]


def run(
    tasks: Iterator[EncodingTask],
    encoder: TextEncoder,
    writer: EmbeddingWriter,
    *,
    workers: int,
    batch_tokens: int | None,
    progress: Progress,
    address: str | None = None,
) -> Generator[EncodedShard]:
    """Execute tasks in `workers` actors, on the cluster at `address` or on one that is started here and ends with it.

    Raises:
        UnavailableError: Ray is missing or does not answer; or workers died again and again, on documents that the
            message names.
        DebaterError: an error of an actor.

    """
    ray = require("ray", extra="ray")
    leave = _connect(ray, address, workers) if not ray.is_initialized() else None
    try:
        yield from _Crew(ray, tasks, encoder, writer, workers, batch_tokens, progress).run()
    finally:
        if leave is not None:
            leave()


def usual_workers(address: str | None) -> int:
    """A worker per GPU of the cluster, or, without any, one per machine; joins the cluster until the process ends."""
    ray = require("ray", extra="ray")
    if not ray.is_initialized():
        atexit.register(_connect(ray, address, 1))
    there = ray.cluster_resources()
    return max(1, int(there.get("GPU", 0)) or len(ray.nodes()))


def _connect(ray: Any, address: str | None, workers: int) -> Callable[[], None]:
    """Join the cluster at `address`, or start one on this machine without a dashboard; returns what leaves it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    scratch = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets allow no long path

    def leave() -> None:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)

    quiet: _GIVEN = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            ray.init(
                include_dashboard=False,
                num_cpus=max(workers, os.cpu_count() or 1),
                object_store_memory=_OBJECT_STORE,
                _temp_dir=str(scratch),
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        leave()
        where = f"at {address}" if address else "here"
        raise UnavailableError(
            f"Ray cannot be reached {where}: {str(error).splitlines()[0]}", "Is the cluster up? Check the address."
        ) from None
    return leave


def _load(**recipe: Any) -> TextEncoder:
    from debater_search.encoder import Encoder

    return Encoder.load(**recipe)


class _Encoding:
    """What an actor does: load the model once, then make shards."""

    def __init__(self, job: _GIVEN, files: dict[str, bytes] | None, load: Callable[..., TextEncoder]) -> None:
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            model = dict(job["model"])
            for name, content in (files or {}).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                model["model"] = folder
            self._encoder = load(**model)
        require_model_of(job, self._encoder)
        self._job = job
        self._writer = writer_of(job) if job["place"] is not None else None

    def encode(self, task: _GIVEN) -> _GIVEN:
        """Make one shard; an error of ours travels as plain data."""
        try:
            return self._made(EncodingTask(**task))
        except DebaterError as error:
            return {"error": [error.kind, error.message, error.hint]}

    def _made(self, task: EncodingTask) -> _GIVEN:
        job = self._job
        hidden = Progress("Encoding", None, "documents", enabled=False)
        ((_, steps),) = compute([task], self._encoder, job["batch_tokens"], hidden)
        vectors = steps if job["thinking_steps"] else steps[:, -1]
        if self._writer is not None:
            shard = self._writer.write(task.number, task.ids, vectors)
            return {"shard": shard.model_dump(), "filled": hidden.filled}
        made = io.BytesIO()
        sha256 = write_shard(made, task.ids, vectors, job["stored_as"])
        return {"bytes": made.getvalue(), "sha256": sha256, "filled": hidden.filled}


class _Crew:
    """The actors, and what each has in hand."""

    def __init__(
        self,
        ray: Any,
        tasks: Iterator[EncodingTask],
        encoder: TextEncoder,
        writer: EmbeddingWriter,
        workers: int,
        batch_tokens: int | None,
        bar: Progress,
    ) -> None:
        self._ray, self._fresh, self._writer, self._bar = ray, tasks, writer, bar
        self._workers, self._gpu = workers, device_of(encoder).startswith("cuda")
        self._again: deque[EncodingTask] = deque()
        self._deaths: Counter[int] = Counter()
        self._in_hand: dict[Any, deque[tuple[Any, EncodingTask]]] = {}  # actor → (reference, task), oldest first
        self._job = job_of(encoder, writer, batch_tokens, "cuda" if self._gpu else "cpu")
        if not writer.place.remote:  # a folder of this machine, which actors may not see
            self._job["place"] = None
        files = _carried(str(encoder.recipe["model"]))
        self._files = ray.put(files) if files is not None else None

    def run(self) -> Generator[EncodedShard]:
        ray = self._ray
        try:
            for _ in range(self._workers):
                self._start()
            for _ in range(IN_HAND):
                for actor in list(self._in_hand):
                    self._give(actor)
            while waiting := {hand[0][0]: actor for actor, hand in self._in_hand.items() if hand}:
                (done, *_), _ = ray.wait(list(waiting), num_returns=1)
                shard = self._hear(waiting[done], done)
                if shard is not None:
                    yield shard
        finally:
            for actor in self._in_hand:
                ray.kill(actor)

    def _start(self) -> Any:
        resources: _GIVEN = {"num_cpus": 1, "max_restarts": 0} | ({"num_gpus": 1} if self._gpu else {})
        actor = self._ray.remote(_Encoding).options(**resources).remote(self._job, self._files, _load)
        self._in_hand[actor] = deque()
        return actor

    def _give(self, actor: Any) -> None:
        task = self._again.popleft() if self._again else next(self._fresh, None)
        if task is not None:
            self._in_hand[actor].append((actor.encode.remote(task.as_json()), task))

    def _hear(self, actor: Any, reference: Any) -> EncodedShard | None:
        _, task = self._in_hand[actor][0]
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            self._replace(actor, error)
            return None
        except self._ray.exceptions.RayTaskError as error:
            raise RuntimeError(f"a worker failed:\n{error}") from None
        self._in_hand[actor].popleft()
        if "error" in answer:
            kind, message, hint = answer["error"]
            raise KINDS[kind](message, hint)
        self._give(actor)
        self._bar.advance(len(task), filled=answer["filled"])
        if "shard" in answer:
            return EncodedShard(task.number, ShardInfo(**answer["shard"]))
        if hashlib.sha256(answer["bytes"]).hexdigest() != answer["sha256"]:
            raise RuntimeError(f"shard {task.number} changed on its way from a worker")
        return EncodedShard(task.number, self._writer.take(task.number, task.ids, answer["bytes"]))

    def _replace(self, actor: Any, error: Exception) -> None:
        """Start another actor on the task of one that died: one task at a time, so that no other is to blame."""
        hand = self._in_hand.pop(actor)
        if getattr(error, "cause", None) is not None or "__init__" in str(error):
            raise _failed_start(error)
        _, task = hand[0]
        self._deaths[task.number] += 1
        if self._deaths[task.number] > RESTARTS:
            raise UnavailableError(
                f"A worker died {self._deaths[task.number]} times on documents {task.ids[0]!r} to {task.ids[-1]!r}.",
                "The memory may be full: use fewer `workers`. The same command resumes from the finished shards.",
            )
        logger.warning("A worker died: another takes its shard %d.", task.number)
        self._again.extendleft(task for _, task in reversed(hand))
        self._give(self._start())


def _failed_start(error: Exception) -> DebaterError:
    """An actor that cannot load the model says why in a traceback: its last line is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UnavailableError(
        f"A worker cannot load the model: {lines[-1]}",
        "All machines need debater and the model, in the same version.",
    )


def _carried(model: str) -> dict[str, bytes] | None:
    """The files of a model folder that is small enough to travel; None for a name that every machine resolves."""
    folder = Path(model)
    if not folder.is_dir():
        return None
    files = [path for path in folder.rglob("*") if path.is_file()]
    if sum(path.stat().st_size for path in files) > _CARRIED:
        logger.info("The model %s is read from its path: all machines must share that disk.", folder)
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
