"""Run an application until it is told to stop: uvicorn, which then answers what it has accepted, and ends with 0."""

import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from debater_search.errors import UnavailableError
from debater_search.serving.app import make_app
from debater_search.serving.protocol import Protocol
from debater_search.serving.service import Service
from debater_search.serving.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections, which otherwise meet a closed one now and then."""
BACKLOG = 2048


def run(indexes: Sequence[str | Path], settings: Settings) -> None:
    """Serve index folders until SIGTERM or Ctrl-C.

    Raises:
        DebaterError: an index, a file or the port is not to be had.

    """
    app = make_app(indexes, settings)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    with listening(settings.host, settings.port) as listener, _lines_on_stderr():
        host, port = listener.getsockname()[:2]
        log.info("Serving %s on http://%s:%d", ", ".join(app.state.service.indexes), _in_url(host), port)
        _Server(config, app.state.service).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says that it stops, and whose end by a signal is no failure."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C while the block runs; without the signal being raised again at its end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at once if it was told before."""
        self._service.draining = True
        super().handle_exit(sig, frame)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that accepts connections; UnavailableError if the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"The server cannot listen on {host}:{port}, which another program uses."
        else:
            reason = str(error.strerror).partition(" (while attempting")[0]  # Python repeats the address
            message = f"The server cannot listen on {host}:{port} ({reason})."
        raise UnavailableError(message, "Choose another `port` or `host`.") from None
    with listener:
        # An answer's head and body are written apart: else the body would wait 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        yield listener


@contextmanager
def _lines_on_stderr() -> Iterator[None]:
    """Write one line for each request, and what the server and uvicorn have to say, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [
        (logging.getLogger("debater_search.serving"), logging.INFO),
        (logging.getLogger("debater_search.search"), logging.ERROR),  # notes quote what clients ask; answers have them
        (logging.getLogger("uvicorn"), logging.WARNING),
    ]
    before = [(logger, logger.level, logger.propagate) for logger, _ in loggers]
    for logger, level in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
