"""A served index of `tiny_corpus`, made and searched by an encoder without torch."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from debater_search.identity import EncoderInfo
from debater_search.indexing import build
from debater_search.serving import Settings, make_app
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

URL = "http://127.0.0.1"


def load_fake(info: EncoderInfo, folder: Path, device: str) -> FakeEncoder:
    return FakeEncoder(info.name, info.dim)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index that no test changes."""
    folder = tmp_path_factory.mktemp("served") / "papers"
    build(tiny_corpus(), FakeEncoder(), folder, all_steps=True)
    return folder


Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve index folders with some settings; the client comes when the server is ready."""
    with ExitStack() as stack:

        def start(*indexes: Path, ready: bool = True, **settings: Any) -> TestClient:
            settings = {"rate": 0.0, "load_encoder": load_fake, "mcp": False, "watch_seconds": 0.02, **settings}
            app = make_app(indexes, Settings(**settings))
            client = stack.enter_context(TestClient(app, URL, raise_server_exceptions=False))
            if ready:
                wait_until(lambda: client.get("/readyz").status_code == 200)
            return client

        yield start


@pytest.fixture
def client(serve: Serve, built: Path) -> TestClient:
    return serve(built)


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An index with metadata of every kind, and one of words only."""
    folder = tmp_path_factory.mktemp("library")
    documents = [
        Document(
            f"d{number}",
            f"The wing of aircraft unique{number} flies. " + "More of it. " * 2000,
            f"Title {number}",
            {
                "year": 1950 + number,
                "venue": ["ACL", "O'Reilly"][number % 2],
                "published": f"2020-05-{10 + number}",
                "free": number % 3 == 0,
                "tags": [f"tag{tag}" for tag in range(30)],
                "field of study": "flight",
                "abstract": "long " * 1000,
            },
        )
        for number in range(8)
    ]
    build(documents, FakeEncoder(), folder / "papers")
    build([Document("n", "A note on propellers.")], None, folder / "notes")
    return [folder / "papers", folder / "notes"]
