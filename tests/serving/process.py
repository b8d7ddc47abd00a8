"""`debater serve` in a process of its own, with an encoder without torch; not collected by pytest.

`python -m tests.serving.process INDEX OPTIONS` serves with a fake encoder; while the file `hold` of the options, which
are JSON, exists, it encodes no query.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Server:
    """A running server, and its lines so far."""

    process: "subprocess.Popen[str]"
    url: str
    log: Path

    def lines(self) -> list[dict[str, object]]:
        """What it logged about requests."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def running(index: Path, log: Path, **options: object) -> Iterator[Server]:
    """Serve an index on a free port until the block ends; ready when the block begins."""
    command = [sys.executable, "-m", "tests.serving.process", str(index), json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stderr, text=True)
        try:
            yield Server(process, _when_ready(process, log), log)
        finally:
            process.kill()
            process.wait()


def _when_ready(process: "subprocess.Popen[str]", log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        announced = [line for line in log.read_text().splitlines() if line.startswith("Serving ")]
        if announced:
            url = announced[0].rpartition(" ")[2]
            try:
                if httpx2.get(f"{url}/readyz").status_code == 200:
                    return url
            except httpx2.TransportError:
                pass
        time.sleep(0.02)
    raise AssertionError(f"The server did not start: {log.read_text()}")


def main() -> None:
    """Serve until a signal comes."""
    from debater_search.serving import Settings, protocol
    from debater_search.serving.server import run
    from tests.fakes import FakeEncoder

    index, options = sys.argv[1], json.loads(sys.argv[2])
    hold = options.pop("hold", None)
    protocol.HEAD_SECONDS = options.pop("head_seconds", protocol.HEAD_SECONDS)

    class Slow(FakeEncoder):
        def encode_queries(self, texts, **more):  # type: ignore[no-untyped-def]
            while hold is not None and Path(hold).exists():
                time.sleep(0.01)
            return super().encode_queries(texts)

    if "keys" in options:
        options["keys"] = Path(options["keys"])
    run(
        [index], Settings(port=0, mcp=False, rate=0, load_encoder=lambda info, *_: Slow(info.name, info.dim), **options)
    )


if __name__ == "__main__":
    main()
