"""A server in a process of its own: it starts, answers, keeps what it acknowledged, and ends as it should."""

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from shutil import copytree

import httpx2
import pytest

from debater_search.indexing import add, verify
from debater_search.search import SearchEngine
from debater_search.serving.keys import add_key
from debater_search.serving.server import listening
from debater_search.store.folders import open_manifest
from debater_search.types import Document
from tests.fakes import FakeEncoder
from tests.serving.conftest import wait_until
from tests.serving.process import running

SEARCH, DOCUMENTS = "/v1/indexes/papers/search", "/v1/indexes/papers/documents"


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_answers_logs_no_query_and_drains_when_it_is_told_to_stop(built: Path, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    with running(built, tmp_path / "log", hold=str(hold)) as server, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> int:
            body = {"query": f"secret {number}"}
            with httpx2.Client(base_url=server.url) as client:
                return client.post(SEARCH, json=body, timeout=30).status_code

        with httpx2.Client(base_url=server.url) as client:
            assert client.get("/").status_code == 200
            asked = [pool.submit(ask, number) for number in range(8)]
            wait_until(lambda: "debater_queue_depth 8.0" in client.get("/metrics").text)
        said = [line for line in server.log.read_text().splitlines() if not line.startswith("{")]
        assert [line.split()[0] for line in said] == ["Serving", "Index", "Ready."]
        server.process.terminate()
        wait_until(lambda: refuses(server.url))
        hold.unlink()
        assert [future.result() for future in asked] == [200] * 8
        assert server.process.wait(20) == 0
        lines = server.lines()
        assert {line["route"] for line in lines} >= {"/v1/indexes/{index}/search", "/metrics", "/readyz"}
        assert [line["status"] for line in lines if line["method"] == "POST"] == [200] * 8
        assert "secret" not in server.log.read_text()


def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    try:
        httpx2.get(url)
    except httpx2.TransportError:
        return True
    return False


def test_heads_that_are_slow_long_or_broken_are_refused(built: Path, tmp_path: Path) -> None:
    def answered(*parts: bytes) -> bytes:
        with socket.create_connection(address, 10) as connection:
            with suppress(OSError):  # the server may close before all is sent
                for part in parts:
                    connection.sendall(part)
            return connection.recv(100).partition(b"\r")[0]

    with running(built, tmp_path / "log", head_seconds=0.3, request_seconds=0.3) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        head = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        assert answered(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b"HTTP/1.1 200 OK"
        assert answered(head) == b"HTTP/1.1 408 Request Timeout"
        assert answered(head, b"Content-Length: 9\r\n\r\n{") == b"HTTP/1.1 408 Request Timeout"
        assert answered(head, *[b"X: " + b"x" * 1000 + b"\r\n"] * 100).startswith(b"HTTP/1.1 431")
        assert answered(b"\x16\x03\x01 no HTTP \r\n\r\n") == b"HTTP/1.1 400 Bad Request"
        assert answered(b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n") == b"HTTP/1.1 400 Bad Request"
        upgrade = b"GET /v1/indexes HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert answered(upgrade).startswith(b"HTTP/1.1 421")


def test_ctrl_c_ends_a_server_too_and_a_taken_port_is_a_sentence(built: Path, tmp_path: Path) -> None:
    from debater_search.errors import UnavailableError
    from debater_search.serving import Settings
    from debater_search.serving.server import run

    with running(built, tmp_path / "log") as server:
        with pytest.raises(
            UnavailableError,
            match=r"127\.0\.0\.1:\d+, which another program uses\. Choose",
        ):
            run([built], Settings(port=int(server.url.rpartition(":")[2])))
        assert server.stop(signal.SIGINT) == 0


def test_a_killed_server_loses_nothing_that_it_acknowledged(built: Path, tmp_path: Path) -> None:
    index = Path(copytree(built, tmp_path / "papers"))
    keys = tmp_path / "keys.json"
    headers = {"Authorization": f"Bearer {add_key(keys, 'w', scopes=['write'])}", "Content-Type": "application/jsonl"}
    acknowledged: list[str] = []
    with running(index, tmp_path / "log", keys=str(keys)) as server:

        def write(thread: int) -> None:
            with httpx2.Client(base_url=server.url, headers=headers) as client:
                for number in range(1000):
                    id = f"new-{thread}-{number}"
                    body = json.dumps({"id": id, "text": f"zephyr {id}"})
                    try:
                        answer = client.put(DOCUMENTS, content=body, timeout=30)
                    except httpx2.TransportError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(id)

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) >= 8)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        for thread in threads:
            thread.join()
    found = SearchEngine.open(index).documents.positions(acknowledged)
    assert sorted(found) == sorted(acknowledged)
    add(index, [Document("after", "zephyr after")], encoder=FakeEncoder())  # the next writer tidies up
    assert open_manifest(index).corpus.documents >= 25 + len(acknowledged) + 1
    assert verify(index).sound
