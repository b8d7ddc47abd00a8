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
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from serve_load import (
    ROOT,
    Server,
    closed_loop,
    connected,
    different,
    open_loop,
    percentile,
    repeated,
    statuses,
)

CLIENTS = 16


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


async def measured_capacity(server: Server, questions: Iterator[dict[str, Any]], seconds: float) -> float:
    """Requests/s of 16 clients now."""
    answers = await closed_loop(server, questions, clients=CLIENTS, seconds=seconds)
    return len(answers) / seconds


async def latency(start: Callable[..., Server], queries: list[str], options: argparse.Namespace) -> None:
    server = start()
    questions = different(queries, "dense")
    await closed_loop(server, questions, clients=CLIENTS, seconds=3)
    single = await closed_loop(server, questions, clients=1, seconds=options.seconds)
    rate = await measured_capacity(server, questions, options.seconds) / 2
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
    rate = 2 * await measured_capacity(server, questions, options.seconds)
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
                    "text": f"A new document, number {number}, on wings.",
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
        documents = json.loads(Path(index, "manifest.json").read_text())["corpus"]["documents"]
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
        spread = []
        for first in range(0, 1000, 100):
            spread += await asyncio.gather(*(client.ask() for client in clients[first : first + 100]))
        row("100 ask at a time", statuses(spread), percentile(spread, 0.5), percentile(spread, 0.99))
        at_once = await asyncio.gather(*(client.ask() for client in clients))
        row("all ask at once", statuses(at_once), percentile(at_once, 0.5), percentile(at_once, 0.99))
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
