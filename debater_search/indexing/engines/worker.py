"""One of several processes that execute encoding tasks: `python -m debater_search.indexing.engines.worker`."""

import json
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any

from debater_search.errors import DebaterError
from debater_search.indexing.tasks import EncodedShard, EncodingTask, execute, require_model_of, writer_of
from debater_search.progress import Progress

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Do the job that is the first line of standard input; a task follows in each line after it."""
    tell = _voice()
    logging.basicConfig(handlers=[_Log(tell)], level=logging.ERROR)
    logging.getLogger("debater_search").setLevel(logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to their programmers
    try:
        _work(json.loads(sys.stdin.readline()), tell)
    except BaseException as error:
        _fail(error, tell)


def _work(job: dict[str, Any], tell: Tell) -> None:
    tasks: SimpleQueue[EncodingTask] = SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()

    from debater_search.encoder import Encoder

    encoder = Encoder.load(**job["model"])
    require_model_of(job, encoder)
    for writing in execute(_coming(tasks), encoder, writer_of(job), job["batch_tokens"], _Relay(tell)):
        writing.add_done_callback(partial(_written, tell))


def _listen(tasks: "SimpleQueue[EncodingTask]") -> None:
    """Take tasks; when standard input ends, all shards are written, or the pool is gone."""
    for line in sys.stdin:
        if line.endswith("\n"):
            tasks.put(EncodingTask(**json.loads(line)))
    os._exit(0)


def _coming(tasks: "SimpleQueue[EncodingTask]") -> Iterator[EncodingTask]:
    while True:
        yield tasks.get()


def _written(tell: Tell, writing: "Future[EncodedShard]") -> None:
    error = writing.exception()
    if error is not None:
        _fail(error, tell)
    shard = writing.result()
    tell({"written": shard.number, "shard": shard.info.model_dump()})


def _fail(error: BaseException, tell: Tell) -> None:
    """Tell the pool what went wrong, and end the process: its other threads wait for tasks that do not come."""
    if isinstance(error, DebaterError):
        tell({"error": [error.kind, error.message, error.hint]})
    elif isinstance(error, OSError) and error.errno is not None:
        tell({"os_error": [error.errno, os.fsdecode(error.filename) if isinstance(error.filename, str) else None]})
    else:
        tell({"bug": "".join(traceback.format_exception(error))})
    os._exit(1)


class _Relay(Progress):
    """Progress that is shown by the pool."""

    def __init__(self, tell: Tell) -> None:
        super().__init__("Encoding", None, "documents", enabled=False)
        self._tell = tell

    def advance(self, n: int = 1, facts: str = "", *, tokens: int = 0, padded: int = 0, filled: int = 0) -> None:
        self._tell({"encoded": n, "tokens": tokens, "padded": padded, "filled": filled})


class _Log(logging.Handler):
    """Warnings that are shown by the pool."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell({"log": [record.levelno, record.getMessage()]})


def _voice() -> Tell:
    """Lines of JSON on standard output, where from now on nothing else is written."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")
            out.flush()

    return tell


if __name__ == "__main__":
    main()
