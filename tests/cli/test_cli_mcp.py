"""`debater mcp`, as an agent starts it."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from debater_search.indexing import build
from debater_search.types import Document
from tests.cli.support import COMMAND, REPOSITORY, Debater

GUIDE = (REPOSITORY / "docs" / "site" / "guides" / "agents.md").read_text(encoding="utf-8")
CONFIGURATIONS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def words(workdir: Path) -> Path:
    """An index that needs no model."""
    documents = [Document("a", "Propellers are loud.", "Noise", {"year": 1958}), Document("b", "Wings stall.")]
    return build(documents, None, Path("indexes/words")).folder


def test_the_documented_configuration_lets_an_agent_search(words: Path, workdir: Path) -> None:
    """A real process and a real client; what a library prints does not come between."""
    documented = CONFIGURATIONS[0]["mcpServers"]["papers"]
    assert documented["command"] == "debater"
    arguments = [str(words.resolve()) if "/indexes/" in argument else argument for argument in documented["args"]]
    (workdir / "sitecustomize.py").write_text(  # the program's own start, with a library that prints
        "import threading\n"
        "def chatter():\n"
        "    import time\n"
        "    for _ in range(200):\n"
        "        print('a library says something', flush=True)\n"
        "        time.sleep(0.05)\n"
        "threading.Timer(1.0, chatter).start()\n"
    )

    async def talk() -> None:
        environment = {**os.environ, "PYTHONPATH": f"{workdir}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
        server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=environment)
        async with Client(server) as client:
            listed = (await client.call_tool("list_indexes", {})).structured_content
            assert listed is not None
            assert [index["name"] for index in listed["indexes"]] == ["words"]
            found = (
                await client.call_tool("search", {"query": "propellers", "where": "year = 1958"})
            ).structured_content
            assert found is not None
            assert [hit["id"] for hit in found["hits"]] == ["a"]
            read = await client.call_tool("get_document", {"id": "b"})
            assert read.structured_content is not None
            assert read.structured_content["text"] == "Wings stall."

    asyncio.run(talk())


def test_the_other_configurations_say_the_same() -> None:
    _, editor, http = CONFIGURATIONS
    stdio = CONFIGURATIONS[0]["mcpServers"]["papers"]
    assert editor["servers"]["papers"] == {"type": "stdio", **stdio}
    assert http["mcpServers"]["papers"]["url"].endswith("/mcp/")
    assert http["mcpServers"]["papers"]["headers"] == {"Authorization": "Bearer KEY"}


def test_the_documented_key_can_do_nothing_but_read(debater: Debater, workdir: Path) -> None:
    (command,) = re.findall(r"^debater (keys add .*)$", GUIDE, re.MULTILINE)
    assert debater(*command.split()).code == 0
    (key,) = json.loads(Path("keys.json").read_text())["keys"]
    assert (key["scopes"], key["indexes"]) == (["search", "document"], ["papers"])


def messages(*methods: tuple[str, dict[str, object]]) -> str:
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": m, "params": p}) for number, (m, p) in enumerate(methods)
    ]
    return "".join(line + "\n" for line in lines)


HELLO = (
    "initialize",
    {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
)


def test_only_the_protocol_is_on_standard_output_and_the_end_of_input_ends_it(words: Path, process: Start) -> None:
    running = process("mcp", str(words))
    search = ("tools/call", {"name": "search", "arguments": {"query": "HERE"}})
    hostile = messages(search).replace("HERE", "\\ud800")
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(messages(HELLO) + "no json\n" + hostile + messages(("tools/list", {})))
    running.stdin.flush()
    answers: list[dict[str, object]] = []
    while sum("result" in answer for answer in answers) < 2:  # what is not answered at the end of input never is
        answers.append(json.loads(running.stdout.readline()))
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    answers += [json.loads(line) for line in out.splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert [answer["id"] for answer in answers if "result" in answer] == [0, 0]
    assert "Traceback" not in err


def test_a_signal_ends_it_while_its_input_is_open(words: Path, process: Start) -> None:
    running = process("mcp", str(words))
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(messages(HELLO))
    running.stdin.flush()
    assert json.loads(running.stdout.readline())["result"]
    running.terminate()
    try:
        assert running.wait(20) == 130
    finally:
        running.kill()


def test_what_is_wrong_is_said_before_anything_is_served(debater: Debater, words: Path, workdir: Path) -> None:
    outcome = debater("mcp", "indexes/nothing")
    assert (outcome.code, outcome.out) == (2, "")
    assert "indexes/nothing does not exist" in outcome.err
    (words / "manifest.json").unlink()
    outcome = debater("mcp")
    assert (outcome.code, outcome.out) == (2, "")
    assert "There is no index in indexes." in outcome.err
