"""A server in a thread, for what only a real client can see."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from debater_search.serving import Settings, make_app
from tests.serving.conftest import load_fake


@contextmanager
def served(indexes: Sequence[Path], **settings: Any) -> Iterator[str]:
    """The address of a server on a free port of this machine."""
    settings = {"rate": 0.0, "load_encoder": load_fake, "mcp": False, "watch_seconds": 0.05, **settings}
    app = make_app(indexes, Settings(**settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started or app.state.service.unready:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
