"""A server under load: `python benchmarks/serve.py PART… --index DIR`, parts as below, or `all`.

    capacity     requests/s of 16 clients, in batches and one query at a time, two servers in turns
    latency      one client, then an open loop at half the capacity that 16 clients reach: p50, p99
    overload     an open loop at twice the capacity: statuses, and the time until a single request is quick again
    changes      16 clients during 20 `debater add`, on a copy of the index: failed requests
    memory       resident memory after 1,000 requests and after --requests
    connections  1,000 clients connected at once, each asking twice

The server is a process of its own (`debater serve` with rate 0) and clients share another; both are on this machine, so
what clients need is missing at the server. Queries are the first 200 of --queries, made different by a number where
they are to be encoded. Times are wall-clock; CPU is that of the server's process.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CLIENTS = 16
Ask = Callable[[], Awaitable[tuple[int, float]]]


class Server:
    """A running server."""

    def __init__(self, index: Path, log: Path, batch: int, queue: int) -> None:
        command = [
            sys.executable,
            __file__,
            "_serve",
            "--index",
            str(index),
            "--batch",
            str(batch),
            "--queue",
            str(queue),
        ]
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

    async def ask(self) -> tuple[int, float]:
        """The status of an answer, 0 for none, and the seconds until all of it was there."""
        body = json.dumps(next(self._questions)).encode()
        head = (
            f"POST /v1/indexes/{self._server.name}/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        try:
            if self._streams is None:
                await self.connect()
            assert self._streams is not None
            reader, writer = self._streams
            writer.write(head.encode() + body)
            headers = await reader.readuntil(b"\r\n\r\n")
            length = headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            return int(headers[9:12]), time.perf_counter() - start
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


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("|", " | ".join(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells), "|", flush=True)


async def capacity(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> float:
    servers = {"in batches": start(), "one by one": start(batch=1)}
    rates: dict[str, list[float]] = {name: [] for name in servers}
    questions = different(queries, "dense")
    row("16 clients", "requests/s, rounds", "median", "CPU ms a request")
    spent = dict.fromkeys(servers, 0.0)
    asked = dict.fromkeys(servers, 0)
    for number in range(options.rounds + 1):  # the first one warms up
        for name, server in servers.items():
            before, begin = server.cpu, time.perf_counter()
            answers = await closed_loop(server, questions, clients=CLIENTS, seconds=options.seconds)
            if number:
                rates[name].append(len(answers) / (time.perf_counter() - begin))
                spent[name] += server.cpu - before
                asked[name] += len(answers)
    for name, found in rates.items():
        median = statistics.median(found)
        row(name, ", ".join(f"{rate:.0f}" for rate in found), median, 1000 * spent[name] / asked[name])
    pairs = zip(rates["in batches"], rates["one by one"], strict=True)
    row("ratio", ", ".join(f"{one / other:.2f}" for one, other in pairs), "", "")
    for server in servers.values():
        server.stop()
    return statistics.median(rates["in batches"])


async def measured_capacity(server: Server, queries: list[str], seconds: float) -> float:
    """Requests/s of 16 clients now."""
    answers = await closed_loop(server, different(queries, "dense"), clients=CLIENTS, seconds=seconds)
    return len(answers) / seconds


async def latency(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    server = start()
    questions = different(queries, "dense")
    await closed_loop(server, questions, clients=CLIENTS, seconds=3)
    single = await closed_loop(server, questions, clients=1, seconds=options.seconds)
    rate = await measured_capacity(server, queries, options.seconds) / 2
    half = await open_loop(server, questions, rate, options.long)
    row("load", "requests", "p50 ms", "p99 ms", "statuses")
    row("one client", len(single), percentile(single, 0.5), percentile(single, 0.99), statuses(single))
    row(f"{rate:.0f} requests/s", len(half), percentile(half, 0.5), percentile(half, 0.99), statuses(half))
    row("p99 at half capacity / p50 of one client", f"{percentile(half, 0.99) / percentile(single, 0.5):.1f}")
    server.stop()


async def overload(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    server = start()
    questions = different(queries, "dense")
    await closed_loop(server, questions, clients=CLIENTS, seconds=3)
    single = percentile(await closed_loop(server, questions, clients=1, seconds=3), 0.5)
    rate = 2 * await measured_capacity(server, queries, options.seconds)
    answers = await open_loop(server, questions, rate, options.long)
    end = time.perf_counter()
    while percentile(await closed_loop(server, questions, clients=1, requests=5), 0.5) > 2 * single:
        pass
    row("requests/s", "requests", "statuses", "p99 ms of 200", "seconds until quick again")
    row(f"{rate:.0f}", len(answers), statuses(answers), percentile(answers, 0.99), time.perf_counter() - end)
    server.stop()


async def changes(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = Path(shutil.copytree(options.index, Path(folder, "changed")))
        server = start(index=index)
        await closed_loop(server, repeated(queries), clients=CLIENTS, requests=3 * len(queries))
        done = asyncio.Event()

        async def add() -> None:
            for number in range(options.adds):
                text = {
                    "id": f"new-{number}",
                    "text": f"A new document, number {number}, about the wing of an aircraft.",
                }
                Path(folder, "new.jsonl").write_text(json.dumps(text))
                command = [sys.executable, "-c", "from debater_search.cli import main; main()", "add", str(index)]
                process = await asyncio.create_subprocess_exec(
                    *command, f"{folder}/new.jsonl", env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=-3, stderr=-3
                )
                await process.wait()
            done.set()

        adding, answers = asyncio.create_task(add()), list[tuple[int, float]]()
        while not done.is_set() or len(answers) < options.requests:
            answers += await closed_loop(server, repeated(queries), clients=CLIENTS, requests=1000)
        await adding
        await asyncio.sleep(2)
        (facts,) = (json.loads(Path(index, "manifest.json").read_text())["corpus"]["documents"],)
        row("adds", "documents now", "requests", "statuses", "p50 ms", "p99 ms")
        row(
            options.adds,
            documents,
            len(answers),
            statuses(answers),
            percentile(answers, 0.5),
            percentile(answers, 0.99),
        )
        server.stop()


async def memory(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    server = start()
    questions = repeated(queries)
    await closed_loop(server, questions, clients=CLIENTS, requests=1000)
    row("requests", "resident MB", "growth", "requests/s")
    first, done = server.megabytes, 1000
    row(f"{done:,}", first, "", "")
    while done < options.requests:
        begin = time.perf_counter()
        more = await closed_loop(server, questions, clients=CLIENTS, requests=min(20_000, options.requests - done))
        done += len(more)
        now = server.megabytes
        row(f"{done:,}", now, f"{now / first - 1:+.1%}", len(more) / (time.perf_counter() - begin))
    server.stop()


async def connections(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    server = start()
    await closed_loop(server, repeated(queries), clients=CLIENTS, requests=len(queries))
    async with connected(server, repeated(queries), 1000) as clients:
        await asyncio.gather(*(client.connect() for client in clients))
        row("1,000 clients connected", "statuses", "p50 ms", "p99 ms")
        at_once = await asyncio.gather(*(client.ask() for client in clients))
        row("all ask at once", statuses(at_once), percentile(at_once, 0.5), percentile(at_once, 0.99))
        spread = []
        for first in range(0, 1000, 100):
            spread += await asyncio.gather(*(client.ask() for client in clients[first : first + 100]))
        row("100 at a time", statuses(spread), percentile(spread, 0.5), percentile(spread, 0.99))
    server.stop()


PARTS = {part.__name__: part for part in (capacity, latency, overload, changes, memory, connections)}


def serve(index: Path, batch: int, queue: int) -> None:
    """The server's process."""
    from debater_search.serving import Settings, model_thread
    from debater_search.serving.server import run

    model_thread.MAX_TEXTS = batch
    run([index], Settings(port=0, rate=0, queue=queue, mcp=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "all", "_serve"], metavar="PART")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--queries", type=Path, default=ROOT / "data" / "cranfield" / "queries.jsonl")
    parser.add_argument("--seconds", type=float, default=10, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", type=float, default=60, help="seconds of an open loop")
    parser.add_argument("--requests", type=int, help="default: 10,000 in changes, 100,000 in memory")
    parser.add_argument("--adds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--queue", type=int, default=256)
    options = parser.parse_args()
    if options.parts == ["_serve"]:
        serve(options.index, options.batch, options.queue)
        return
    queries = [json.loads(line)["text"] for line in options.queries.read_text().splitlines()][:200]
    asked = options.requests
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()

        def start(index: Path = options.index, batch: int = options.batch) -> Server:
            return Server(index, Path(folder, f"log-{next(numbers)}"), batch, options.queue)

        for name in PARTS if "all" in options.parts else options.parts:
            print(f"\n{name} (load average {os.getloadavg()[0]:.1f})\n")
            options.requests = asked or (10_000 if name == "changes" else 100_000)
            asyncio.run(PARTS[name](start, queries, options))


if __name__ == "__main__":
    main()
