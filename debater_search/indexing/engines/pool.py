"""Execute encoding tasks in several processes. The pool only decides where: a shard is complete once it has its name.

Worker and pool talk in lines of JSON: the job and then the tasks go to the worker's standard input, and its progress,
finished shards and errors come from its standard output (`worker.py`). A worker ends when its input ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from debater_search.encoder.protocol import Releasing, TextEncoder, device_of
from debater_search.errors import KINDS, UnavailableError
from debater_search.indexing.tasks import EncodedShard, EncodingTask, job_of
from debater_search.processes import share_of_threads
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.manifest import ShardInfo

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "debater_search.indexing.engines.worker"]
RESTARTS = 3
IN_HAND = 2
"""Tasks that a worker has at a time: the model computes the first while the second is tokenized."""

Message = dict[str, Any]


def run(
    tasks: Iterator[EncodingTask],
    encoder: TextEncoder,
    writer: EmbeddingWriter,
    *,
    workers: int,
    batch_tokens: int | None,
    progress: Progress,
) -> Generator[EncodedShard]:
    """Execute tasks in `workers` processes, on the encoder's GPU and those after it in turn if it is on one.

    The encoder leaves its GPU to the workers meanwhile. A worker that dies is started again on its task, three times.
    However this ends, no worker is left.

    Raises:
        DebaterError: an error of a worker; or workers died again and again, on documents that the message names.
        OSError: a worker could not write.
        RuntimeError: a worker met a bug; with its traceback.

    """
    jobs = [job_of(encoder, writer, batch_tokens, device) for device in _devices(encoder, workers)]
    with encoder.released() if isinstance(encoder, Releasing) else nullcontext():
        yield from _Pool(tasks, jobs, progress).run()


def usual_workers(device: str) -> int:
    """One for each GPU where `device` leaves the choice of it, else one.

    Examples:
        >>> from debater_search.indexing import usual_workers
        >>> usual_workers("cpu")
        1
    """
    import torch

    return max(1, torch.cuda.device_count()) if device in ("auto", "cuda") else 1


class _Worker:
    """A process, and the tasks it has in hand, in the order it was given them."""

    def __init__(self, job: Message, environment: dict[str, str], events: "SimpleQueue[tuple[_Worker, Message]]"):
        self.job = job
        self.in_hand: list[EncodingTask] = []
        self.unwritten = 0  # documents of these tasks that it has encoded
        # A group of its own: Ctrl-C reaches the pool, which stops its workers.
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, process_group=0
        )
        self._say(json.dumps(job))
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def give(self, task: EncodingTask) -> None:
        """Give it one more task."""
        self.in_hand.append(task)
        self._say(json.dumps(task.as_json()))

    def take_back(self, number: int) -> EncodingTask:
        """Remove a task that it has finished."""
        task = next(task for task in self.in_hand if task.number == number)
        self.in_hand.remove(task)
        return task

    def stop(self) -> None:
        """End it at once: tasks that it has not finished do not count."""
        self.process.kill()
        self.process.wait()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, as `_listen` will say

    def _listen(self, events: "SimpleQueue[tuple[_Worker, Message]]") -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                events.put((self, json.loads(line)))
        events.put((self, {"ended": self.process.wait()}))


class _Pool:
    def __init__(self, tasks: Iterator[EncodingTask], jobs: list[Message], progress: Progress) -> None:
        self._fresh, self._jobs, self._bar = tasks, jobs, progress
        self._again: deque[EncodingTask] = deque()  # of workers that died
        self._deaths: Counter[int] = Counter()
        self._events: SimpleQueue[tuple[_Worker, Message]] = SimpleQueue()
        packages = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {
            **os.environ, **share_of_threads(len(jobs)), "PYTHONPATH": os.pathsep.join(packages)
        }  # fmt: skip
        self._workers: list[_Worker] = []

    def run(self) -> Generator[EncodedShard]:
        try:
            for job in self._jobs:
                self._start(job)
            for _ in range(IN_HAND):
                for worker in self._workers:
                    self._give(worker)
            while any(worker.in_hand for worker in self._workers):
                shard = self._hear(*self._events.get())
                if shard is not None:
                    yield shard
        finally:
            for worker in self._workers:
                worker.stop()

    def _start(self, job: Message) -> _Worker:
        worker = _Worker(job, self._environment, self._events)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker) -> None:
        task = self._again.popleft() if self._again else next(self._fresh, None)
        if task is not None:
            worker.give(task)

    def _hear(self, worker: _Worker, message: Message) -> EncodedShard | None:
        match message:
            case {"encoded": documents, "tokens": tokens, "padded": padded, "filled": filled}:
                worker.unwritten += documents
                self._bar.advance(documents, tokens=tokens, padded=padded, filled=filled)
            case {"written": number, "shard": info}:
                worker.unwritten -= len(worker.take_back(number))
                self._give(worker)
                return EncodedShard(number, ShardInfo(**info))
            case {"log": [level, text]}:
                logger.log(level, "%s", text)
            case {"ended": code}:
                self._replace(worker, code)
            case {"error": [kind, text, hint]}:
                raise KINDS[kind](text, hint)
            case {"os_error": [number, file]}:
                raise OSError(number, os.strerror(number), file)
            case {"bug": traceback}:
                raise RuntimeError(f"a worker failed:\n{traceback}")
        return None

    def _replace(self, worker: _Worker, code: int) -> None:
        """Start another worker on the task of one that died.

        It gets one task at a time: if it dies too, no other can be to blame.
        """
        self._workers.remove(worker)
        self._bar.advance(-worker.unwritten)
        if not worker.in_hand:
            return
        task = worker.in_hand[0]
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._deaths[task.number] += 1
        if self._deaths[task.number] > RESTARTS:
            raise UnavailableError(
                f"A worker died {self._deaths[task.number]} times on documents {task.ids[0]!r} to {task.ids[-1]!r} "
                f"({cause}).",
                "The memory may be full: use fewer `workers`. The same command resumes from the finished shards.",
            )
        logger.warning("A worker died (%s): another takes its shard %d.", cause, task.number)
        self._again.extendleft(reversed(worker.in_hand))
        self._give(self._start(worker.job))


def _devices(encoder: TextEncoder, workers: int) -> list[str]:
    """A device for each worker: the encoder's GPU and those after it in turn, or the one device that there is."""
    device, _, first = device_of(encoder).partition(":")
    if device != "cuda":
        return [device] * workers
    import torch

    gpus = range(int(first or 0), torch.cuda.device_count())
    return [f"cuda:{gpus[worker % len(gpus)]}" for worker in range(workers)]
