"""The most important ways through the command line, as processes of their own and with the real default model."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select

import pytest

Start = Callable[..., subprocess.Popen[str]]


def wait_until_signals_are_caught(process: subprocess.Popen[str]) -> None:
    """Until SIGTERM, which Python itself does not catch, has a handler: the command has begun."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    for _ in range(3000):
        caught = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("the command did not begin")


def finish(process: subprocess.Popen[str], stdin: str | None = None) -> tuple[int, str, str]:
    out, err = process.communicate(stdin, timeout=300)
    return process.returncode, out, err


def test_a_corpus_is_indexed_and_searched(process: Start, corpus: Path) -> None:
    code, out, err = finish(process("index", str(corpus), "--device", "cpu", "--json"))
    assert code == 0, err
    assert json.loads(out)["documents"] == 3
    code, out, err = finish(process("search", "--json"), stdin="noisy engines\nheat transfer near the surface\n")
    assert code == 0, err
    assert [json.loads(line)["hits"][0]["id"] for line in out.splitlines()] == ["noise", "layer"]


def test_a_mistake_is_a_sentence_and_exit_code_2(process: Start) -> None:
    code, out, err = finish(process("index", "nowhere.jsonl"))
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.0, 0.4, 1.5])
def test_an_interrupt_at_any_moment_ends_in_one_line_and_130(
    process: Start, corpus: Path, number: signal.Signals, delay: float
) -> None:
    running = process("index", str(corpus))
    wait_until_signals_are_caught(running)
    time.sleep(delay)
    running.send_signal(number)
    code, out, err = finish(running)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err


def typed(process: Start, *keys: bytes) -> str:
    """What a terminal shows of `debater search`, which gets the next keys whenever it shows its prompt."""
    person, terminal = os.openpty()
    running = process(
        "search",
        "--mode",
        "lexical",
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        environment={"TERM": "xterm"},
        preexec_fn=lambda: os.login_tty(0),  # so that Ctrl-C is a signal
    )
    os.close(terminal)
    seen, left = b"", list(keys)
    with os.fdopen(person, "r+b", buffering=0) as screen, suppress(OSError):  # EIO where the process has ended
        while select([screen], [], [], 60)[0] and (piece := screen.read(4096)):
            seen += piece
            if seen.endswith(b"query [lexical]> ") and left:
                time.sleep(0.2)  # readline shows its prompt before it waits; a signal in between ends no line
                screen.write(left.pop(0))
    if left:
        running.kill()
    assert running.wait(timeout=60) == 0
    return seen.decode()


def test_what_a_person_typed_is_there_again_in_the_next_prompt(process: Start, index: Path) -> None:
    assert "[noise]" in typed(process, b"propellers\n", b":q\n")
    up = b"\x1b[A"
    assert "[noise]" in typed(process, up + up + b"\n", b":q\n")


def test_ctrl_c_cancels_what_a_person_types_and_the_prompt_stays(process: Start, index: Path) -> None:
    seen = typed(process, b"wing\x03", b"\x03", b"propellers\n", b"exit\n", b":exit\n")
    assert seen.count("[stall]") == 0
    assert seen.count("[noise]") == 1
    assert seen.count(":q or Ctrl-D quits.") == 1
    assert seen.count(":help shows commands, :q quits.") == 1


def test_an_interrupt_at_the_prompt_is_130(process: Start, index: Path) -> None:
    running = process("search", "--mode", "lexical", "--json")
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write("propellers\n")
    running.stdin.flush()
    assert json.loads(running.stdout.readline())["hits"][0]["id"] == "noise"
    running.send_signal(signal.SIGINT)
    code, out, err = finish(running)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "Interrupted."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "Error: There is no QUERY, and standard input is closed.\nGive a QUERY, --like or --queries.\n"),
        (
            ["search", "--queries", "-", "--run", "r"],
            "Error: Standard input is closed.\nName a file, or pipe the rows in.\n",
        ),
    ],
)
def test_a_closed_stdin_is_a_sentence(process: Start, index: Path, arguments: list[str], message: str) -> None:
    running = process(*arguments, "--index", str(index), stdin=None, preexec_fn=lambda: os.close(0))
    assert finish(running) == (2, "", message)


def test_a_reader_that_leaves_is_met_in_silence(process: Start, index: Path) -> None:
    running = process("search", "wing", "--mode", "lexical")
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    code, _, err = finish(running)
    assert code == 1
    assert err == f"Searching {index}.\n"
