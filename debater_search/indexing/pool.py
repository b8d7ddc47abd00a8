"""Shards encoded by several worker processes. The pool only decides where: a shard is complete once it has its name.

Worker and pool talk in lines of JSON: the job and then shard numbers go to the worker's standard input, and what it
has to say comes from its standard output (`worker.py`). A worker whose input ends, ends too.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from debater_search.encoder.protocol import TextEncoder, device_of
from debater_search.errors import DebaterError
from debater_search.indexing.shards import Shards
from debater_search.processes import share_of_threads
from debater_search.progress import Progress

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "debater_search.indexing.worker"]
RESTARTS = 3
IN_HAND = 2
"""Shards that a worker has at a time: one that the model computes, and one that is tokenized meanwhile."""

Message = dict[str, Any]


def encode_in_workers(
    shards: Shards, numbers: Sequence[int], encoder: TextEncoder, workers: int, progress: Progress
) -> None:
    """Encode shards in `workers` processes, on all GPUs in turn if the encoder is on one; returns when all are written.

    A worker that dies is started again on its shard, three times. However this ends, no worker is left.

    Raises:
        DebaterError: what a worker found wrong; or workers died again and again, on documents that are named.
        OSError: a worker could not write.
        RuntimeError: a worker met a bug; with its traceback.

    """
    _Pool(shards, numbers, encoder, workers, progress).run()


def usual_workers(device: str) -> int:
    """One for each GPU where `device` leaves the choice of it, else one."""
    import torch

    return max(1, torch.cuda.device_count()) if device in ("auto", "cuda") else 1


class _Worker:
    """A process, and the shards it has in hand, in the order it was given them."""

    def __init__(self, job: Message, environment: dict[str, str], events: "SimpleQueue[tuple[_Worker, Message]]"):
        self.job = job
        self.in_hand: list[int] = []
        self.unwritten = 0  # documents of these shards that it has encoded
        # A group of its own: Ctrl-C reaches the pool, which stops its workers.
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, process_group=0
        )
        self._say(json.dumps(job))
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def give(self, number: int) -> None:
        """Give it one more shard."""
        self.in_hand.append(number)
        self._say(str(number))

    def stop(self) -> None:
        """End it at once: what it has not finished does not count."""
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
    def __init__(
        self, shards: Shards, numbers: Sequence[int], encoder: TextEncoder, workers: int, progress: Progress
    ) -> None:
        self._shards, self._bar = shards, progress
        self._waiting, self._unwritten = deque(numbers), set(numbers)
        self._deaths: Counter[int] = Counter()
        self._events: SimpleQueue[tuple[_Worker, Message]] = SimpleQueue()
        packages = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._environment = {
            **os.environ, **share_of_threads(workers), "PYTHONPATH": os.pathsep.join(packages)
        }  # fmt: skip
        self._jobs = [_job(shards, encoder, device) for device in _devices(encoder, workers)]
        self._workers: list[_Worker] = []

    def run(self) -> None:
        try:
            for job in self._jobs:
                self._start(job)
            for _ in range(IN_HAND):
                for worker in self._workers:
                    self._give(worker)
            while self._unwritten:
                self._hear(*self._events.get())
        finally:
            for worker in self._workers:
                worker.stop()

    def _start(self, job: Message) -> _Worker:
        worker = _Worker(job, self._environment, self._events)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker) -> None:
        if self._waiting:
            worker.give(self._waiting.popleft())

    def _hear(self, worker: _Worker, message: Message) -> None:
        match message:
            case {"encoded": documents, "tokens": tokens, "padded": padded}:
                worker.unwritten += documents
                self._bar.advance(documents, tokens=tokens, padded=padded)
            case {"written": number}:
                worker.in_hand.remove(number)
                worker.unwritten -= len(self._shards.rows(number))
                self._unwritten.remove(number)
                self._give(worker)
            case {"log": [level, text]}:
                logger.log(level, "%s", text)
            case {"ended": code}:
                self._replace(worker, code)
            case {"error": [text, hint]}:
                raise DebaterError(text, hint)
            case {"os_error": [number, file]}:
                raise OSError(number, os.strerror(number), file)
            case {"bug": traceback}:
                raise RuntimeError(f"a worker failed:\n{traceback}")

    def _replace(self, worker: _Worker, code: int) -> None:
        """Start another worker on the shard of one that died.

        It gets one shard at a time: if it dies too, no other can be to blame.
        """
        self._workers.remove(worker)
        self._bar.advance(-worker.unwritten)
        if not worker.in_hand:
            return
        number = worker.in_hand[0]
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._deaths[number] += 1
        if self._deaths[number] > RESTARTS:
            ids = self._shards.ids(number)
            raise DebaterError(
                f"A worker died {self._deaths[number]} times on documents {ids[0]!r} to {ids[-1]!r} ({cause}).",
                "Perhaps memory ran out: take fewer --workers. The same command goes on with the finished shards.",
            )
        logger.warning("A worker died (%s): another takes its shard %d.", cause, number)
        self._waiting.extendleft(reversed(worker.in_hand))
        self._give(self._start(worker.job))


def _devices(encoder: TextEncoder, workers: int) -> list[str]:
    """A device for each worker: the GPUs in turn, or the one device that there is."""
    device = device_of(encoder).partition(":")[0]
    if device != "cuda":
        return [device] * workers
    import torch

    return [f"cuda:{worker % torch.cuda.device_count()}" for worker in range(workers)]


def _job(shards: Shards, encoder: TextEncoder, device: str) -> Message:
    """All that a worker must know, in JSON types."""
    writer = shards.writer
    return {
        "model": {**encoder.recipe, "device": device, "dtype": encoder.dtype},
        "fingerprint": encoder.fingerprint,
        "documents": str(shards.documents.path),
        "positions": [shards.positions.start, shards.positions.stop],
        "size": shards.size,
        "batch_tokens": shards.batch_tokens,
        "folder": str(writer.folder),
        "dim": writer.dim,
        "stored_as": writer.dtype,
        "thinking_steps": writer.thinking_steps,
    }
