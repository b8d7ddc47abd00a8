"""Execute encoding tasks on a Ray cluster: an actor per worker loads the model once and makes one shard at a time.

The rules are those of the pool: a worker has two tasks in hand, and documents on which workers die again and again are
named. A worker gets tasks once it has loaded the model, so that none waits for a worker that the cluster has no room
for. Actors write to object storage themselves; for a folder of this machine they send the shard's bytes. Source of the
design: Ray Core runs numbered tasks whose completion is ours to know, where Ray Data renames and buffers blocks.
"""

import atexit
import hashlib
import logging
import os
import shutil
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from debater_search.encoder.protocol import TextEncoder, device_of
from debater_search.errors import KINDS, DebaterError, UnavailableError
from debater_search.extras import require
from debater_search.indexing.engines.actor import EncodingActor, carried
from debater_search.indexing.engines.pool import IN_HAND, RESTARTS
from debater_search.indexing.tasks import EncodedShard, EncodingTask, job_of
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.manifest import ShardInfo
from debater_search.store.places import endpoint

logger = logging.getLogger(__name__)

_OBJECT_STORE = 256_000_000
_ANSWER = 10.0  # seconds
_PATIENCE = 300.0
"""Seconds without news after which a cluster that may have no room is told of."""
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


def usual_workers(address: str | None, device: str) -> int:
    """A worker per GPU of the cluster, or, on CPUs, one per machine; joins the cluster until the process ends."""
    ray = require("ray", extra="ray")
    if not ray.is_initialized():
        atexit.register(_connect(ray, address, 1))
    return max(1, sum(_machines(ray, "GPU")) if device.startswith("cuda") else len(_machines(ray, "CPU")))


def _machines(ray: Any, resource: str) -> list[int]:
    """How many CPUs or GPUs each machine of the cluster has, where it has any."""
    there = (int(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"])
    return [number for number in there if number]


def share_of_cpus(machines: list[int], workers: int) -> int:
    """The most CPUs that each of so many workers can have, on machines of so many; Ray gives it as many threads."""
    shares = range(max(machines, default=1), 1, -1)
    return next((share for share in shares if sum(cpus // share for cpus in machines) >= workers), 1)


def _connect(ray: Any, address: str | None, workers: int) -> Callable[[], None]:
    """Join the cluster at `address`, or start one on this machine without a dashboard; returns what leaves it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    scratch = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets allow no long path

    def leave() -> None:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)

    logging.getLogger("ray").setLevel(logging.ERROR)  # it has news on tokens for those who run a cluster
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
    except Exception as error:  # Ray raises errors of all kinds, Exception itself among them
        leave()
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if address is None:
            raise UnavailableError(
                f"Ray does not start here: {said}", "Run this again; a busy machine may need longer than Ray waits."
            ) from None
        raise UnavailableError(
            f"Ray cannot be reached at {address}: {said}", "Is the cluster up? Check the address."
        ) from None
    return leave


def require_answer(address: str) -> None:
    """Raise UnavailableError if nothing listens at HOST:PORT, for which Ray itself waits minutes."""
    host, _, port = address.rpartition(":")
    if not host or "://" in address or not port.isdigit():
        return  # `auto`, or another kind of address that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"Nothing answers at {address}: {error}.", "Is the cluster up? Check the address."
        ) from None


def _load(**recipe: Any) -> TextEncoder:
    from debater_search.encoder import Encoder

    return Encoder.load(**recipe)


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
        self._workers, gpu = workers, device_of(encoder).startswith("cuda")
        self._again: deque[EncodingTask] = deque()
        self._exhausted = False
        self._deaths: Counter[int | None] = Counter()  # by task; None: before the first
        self._starting: dict[Any, Any] = {}  # reference → actor that loads the model, or waits for room
        self._in_hand: dict[Any, deque[tuple[Any, EncodingTask]]] = {}  # actor → (reference, task), oldest first
        self._resources = self._share(gpu)
        self._job = job_of(encoder, writer, batch_tokens, "cuda" if gpu else "cpu") | {"endpoint": endpoint()}
        if not writer.place.remote:  # a folder of this machine, which actors may not see
            self._job["place"] = None
        files = carried(str(encoder.recipe["model"]))
        self._files = ray.put(files) if files is not None else None

    def run(self) -> Generator[EncodedShard]:
        ray = self._ray
        try:
            for _ in range(self._workers):
                self._start()
            told = False
            while waiting := self._waiting():
                done, _ = ray.wait(list(waiting), num_returns=1, timeout=_PATIENCE)
                if done:
                    shard = self._hear(waiting[done[0]], done[0])
                    if shard is not None:
                        yield shard
                elif not (self._in_hand or told):
                    told = True
                    logger.warning(
                        "No worker has loaded the model yet. Has the cluster room? Each takes %s.", self._needs
                    )
        finally:
            for actor in (*self._in_hand, *self._starting.values()):
                ray.kill(actor)

    def _share(self, gpu: bool) -> dict[str, int]:
        """What each actor takes of its machine; says so if the cluster is too small for all of them."""
        cpus, gpus = _machines(self._ray, "CPU"), sum(_machines(self._ray, "GPU"))
        room = gpus if gpu else sum(cpus)
        if gpus and not gpu:
            logger.warning("The cluster's GPUs are not used: workers compute on a CPU, as this machine does.")
        if room < self._workers:
            there = f"{room} {'GPUs' if gpu else 'CPUs'}"
            logger.warning("The cluster has %s for %d workers: the others wait for room.", there, self._workers)
        return {"num_cpus": 1, "num_gpus": 1} if gpu else {"num_cpus": share_of_cpus(cpus, self._workers)}

    @property
    def _needs(self) -> str:
        return "a GPU" if "num_gpus" in self._resources else f"{self._resources['num_cpus']} CPUs of one machine"

    def _waiting(self) -> dict[Any, Any]:
        """What to wait for, reference → actor: the oldest task of each, and those that start while there is work."""
        working = {hand[0][0]: actor for actor, hand in self._in_hand.items() if hand}
        return working | self._starting if working or self._again or not self._exhausted else {}

    def _start(self) -> None:
        make = self._ray.remote(EncodingActor).options(max_restarts=0, **self._resources)
        actor = make.remote(self._job, self._files, _load)
        self._starting[actor.ready.remote()] = actor

    def _give(self, actor: Any) -> None:
        task = self._again.popleft() if self._again else next(self._fresh, None)
        if task is None:
            self._exhausted = True
        else:
            self._in_hand[actor].append((actor.encode.remote(task.as_json()), task))

    def _hear(self, actor: Any, reference: Any) -> EncodedShard | None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(reference)
        except (errors.RayActorError, errors.ObjectLostError) as error:
            self._replace(actor, reference, error)
            return None
        except errors.RayTaskError as error:
            raise RuntimeError(f"a worker failed:\n{error}") from None
        if self._starting.pop(reference, None) is not None:
            del self._deaths[None]
            self._in_hand[actor] = deque()
            for _ in range(IN_HAND):
                self._give(actor)
            return None
        _, task = self._in_hand[actor].popleft()
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

    def _replace(self, actor: Any, reference: Any, error: Exception) -> None:
        """Start another actor in place of one that died; its tasks go to whoever is free."""
        starting = self._starting.pop(reference, None) is not None
        if starting and (getattr(error, "cause", None) is not None or "__init__" in str(error)):
            raise _failed_start(error)
        self._ray.kill(actor)  # one that only cannot be reached would keep its place on the cluster
        hand = self._in_hand.pop(actor, deque())
        task = hand[0][1] if hand else None  # an actor executes one task at a time: this is what it died on
        number = None if task is None else task.number
        self._deaths[number] += 1
        if self._deaths[number] > RESTARTS:
            on = "while it loaded the model" if task is None else f"on documents {task.ids[0]!r} to {task.ids[-1]!r}"
            raise UnavailableError(
                f"A worker died {self._deaths[number]} times {on}.",
                "The memory may be full: use fewer `workers`. The same command resumes from the finished shards.",
            )
        if task is not None:
            logger.warning("A worker died: another takes its shard %d.", task.number)
        self._again.extendleft(task for _, task in reversed(hand))
        self._start()
        for idle in [actor for actor, hand in self._in_hand.items() if not hand and self._again]:
            self._give(idle)


def _failed_start(error: Exception) -> DebaterError:
    """An actor that cannot load the model says why in a traceback: its last line is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UnavailableError(
        f"A worker cannot load the model: {lines[-1]}",
        "All machines need debater and the model, in the same version.",
    )
