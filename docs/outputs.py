"""Run the marked blocks of pages and write what they print behind them: `python docs/outputs.py PAGE…`.

A block behind a line `<!-- run -->` is run as a reader would run it: all blocks of a page in order, in one shell that
begins in an empty folder. What it prints on standard output replaces the block of `text` behind it. If that block holds
a line `…`, it stays, with as many lines before and after it as now. Needs `debater` on the PATH.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_BLOCK = re.compile(r"(<!-- run -->\n+```(sh|python)\n(.*?)```\n)(?:(```text\n)(.*?)(```\n))?", re.DOTALL)
_CUT = "…\n"


def with_outputs(text: str, folder: Path) -> str:
    """The page, with the output of each block; raises RuntimeError, which shows the block, if one fails."""
    shell = subprocess.Popen(
        ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, text=True, start_new_session=True
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    output, script, end = folder / ".output", folder / ".block", "--- end of block\n"

    def run(found: re.Match[str]) -> str:
        block, language, code, start, shown, stop = found.groups()
        script.write_text(code, encoding="utf-8")
        command = f". {script}" if language == "sh" else f"python {script}"
        shell.stdin.write(f"set -eo pipefail; {command} > {output} < /dev/null; set +e; echo '{end.strip()}'\n")
        shell.stdin.flush()
        if shell.stdout.readline() != end:
            raise RuntimeError(f"This block failed:\n{code}")
        printed = output.read_text(encoding="utf-8").splitlines(keepends=True)
        return block if start is None else block + start + _shortened(printed, shown) + stop

    try:
        return _BLOCK.sub(run, text)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)  # servers that a page that failed has left, too
        shell.communicate()


def _shortened(printed: list[str], shown: str) -> str:
    """What was printed, cut where the block in the page is cut."""
    lines = [f"{line.rstrip()}\n" for line in printed]
    before = shown.splitlines(keepends=True)
    if before.count(_CUT) != 1:
        return "".join(lines)
    head = before.index(_CUT)
    tail = len(before) - head - 1
    return "".join([*lines[:head], _CUT, *lines[max(head, len(lines) - tail) :]])


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(with_outputs(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")
