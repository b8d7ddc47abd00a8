"""A server in a process of its own, clients that ask it, and what they saw: used by serve.py."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IDLE_SECONDS = 60
SERVE = Path(__file__).parent / "serve.py"


class Server:
    """A running server."""

    def __init__(self, index: Path, log: Path, batch: int, queue: int) -> None:
        options = ["--index", str(index), "--batch", str(batch), "--queue", str(queue)]
        command = [sys.executable, "-W", "ignore", str(SERVE), "_serve", *options]
        self._file = log.open("w")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stderr=self._file, env=environment)
        self.name = index.resolve().name
        while "Serving " not in (text := log.read_text()) or f"Index {self.name} is open" not in text:
            if self.process.poll() is not None:
                sys.exit(text)
            time.sleep(0.1)
        self.port = int(next(line for line in text.splitlines() if line.startswith("Serving ")).rpartition(":")[2])

    @property
    def cpu(self) -> float:
        """Seconds of the processor that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def megabytes(self) -> float:
        """Its resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self._file.close()


class Client:
    """A connection that asks one question at a time."""

    def __init__(self, server: Server, questions: Iterator[dict[str, Any]]) -> None:
        self._server, self._questions = server, questions
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Open the connection."""
        self._streams = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._used = time.perf_counter()

    async def ask(self) -> tuple[int, float]:
        """The status of an answer, 0 for none, and the seconds until all of it was there."""
        body = json.dumps(next(self._questions)).encode()
        head = (
            f"POST /v1/indexes/{self._server.name}/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        try:
            if self._streams is None or start - self._used > IDLE_SECONDS:  # as clients' pools do
                await self.connect()
            assert self._streams is not None
            reader, writer = self._streams
            writer.write(head.encode() + body)
            headers = await reader.readuntil(b"\r\n\r\n")
            length = headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            self._used = time.perf_counter()
            return int(headers[9:12]), self._used - start
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self._streams = None
            return 0, time.perf_counter() - start

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


def different(queries: list[str], mode: str) -> Iterator[dict[str, Any]]:
    """Questions that no cache has seen."""
    return ({"query": f"{queries[n % len(queries)]} {n}", "mode": mode} for n in count())


def repeated(queries: list[str]) -> Iterator[dict[str, Any]]:
    """Questions in turns by words, by vectors and by both; their vectors are encoded once."""
    modes = ("lexical", "dense", "hybrid")
    return ({"query": queries[n % len(queries)], "mode": modes[n // len(queries) % 3]} for n in count())


@contextlib.asynccontextmanager
async def connected(server: Server, questions: Iterator[dict[str, Any]], clients: int) -> AsyncIterator[list[Client]]:
    """So many clients, which take their questions from one list."""
    found = [Client(server, questions) for _ in range(clients)]
    yield found
    for client in found:
        client.close()


async def closed_loop(
    server: Server, questions: Iterator[dict[str, Any]], *, clients: int, seconds: float = 1e9, requests: int = 10**9
) -> list[tuple[int, float]]:
    """Each client asks again as soon as it has its answer."""
    end, answers = time.perf_counter() + seconds, list[tuple[int, float]]()
    left = count(1)

    async def go_on(client: Client) -> None:
        while time.perf_counter() < end and next(left) <= requests:
            answers.append(await client.ask())

    async with connected(server, questions, clients) as found:
        await asyncio.gather(*map(go_on, found))
    return answers


async def open_loop(
    server: Server, questions: Iterator[dict[str, Any]], rate: float, seconds: float
) -> list[tuple[int, float]]:
    """So many requests each second, whether the server keeps up or not."""
    idle: list[Client] = []
    tasks = []

    async def ask() -> tuple[int, float]:
        client = idle.pop() if idle else Client(server, questions)
        answer = await client.ask()
        idle.append(client)
        return answer

    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(ask()))
    answers = await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return answers


def percentile(answers: list[tuple[int, float]], share: float) -> float:
    """Milliseconds within which this share of the requests was answered with 200."""
    times = sorted(seconds for status, seconds in answers if status == 200)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def statuses(answers: list[tuple[int, float]]) -> str:
    """How often each status came; 0 is no answer."""
    return ", ".join(f"{status}: {number:,}" for status, number in sorted(Counter(s for s, _ in answers).items()))
