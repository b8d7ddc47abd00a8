"""What a command costs before it answers: `python benchmarks/startup.py`.

`--help` stands beside the smallest Typer program there is, a search beside a program that imports
sentence-transformers, loads the same weights and encodes the query; commands that fail stand beside each other. Each
command is a fresh process. The programs of a table run in turns, so that a busy machine slows all alike; wall and
processor time are medians. An argument sets the number of runs.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

RUNS, DOCUMENTS = 15, 100
CRANFIELD = Path(__file__).parent.parent / "data" / "cranfield"
QUERY = "lift of a wing in a slipstream"
BARE = """
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    print(name)


app()
"""
DEBATER = [sys.executable, "-c", "import sys; from debater_search.cli import main; sys.exit(main())"]
SENTENCE_TRANSFORMERS = """
import sys

from sentence_transformers import SentenceTransformer

SentenceTransformer(sys.argv[1], device="cpu").encode(sys.argv[2])
"""
CONFIG = "model: debater-small\noutput: unused\ndata: [{path: rows.jsonl}]\n"


def seconds(command: Sequence[str], folder: Path, code: int) -> tuple[float, float]:
    """Wall and processor seconds of a program, which must end with this exit code."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=folder, env=environment, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == code, command
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(
    commands: Mapping[str, Sequence[str]], folder: Path, runs: int = RUNS, code: int = 0
) -> dict[str, tuple[float, float]]:
    """Median wall and processor seconds of each program."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(seconds(command, folder, code))
    return {  # the first run fills the caches
        name: (statistics.median(wall for wall, _ in taken[1:]), statistics.median(cpu for _, cpu in taken[1:]))
        for name, taken in times.items()
    }


def table(commands: Mapping[str, Sequence[str]], folder: Path, runs: int, code: int = 0) -> None:
    """Measure, and print the medians as Markdown, against the first."""
    medians = measure(commands, folder, runs, code)
    first = next(iter(medians.values()))[1]
    print(f"| program | wall, median of {runs} | processor | processor against the first |\n|--|--:|--:|--:|")
    for name, (wall, cpu) in medians.items():
        print(f"| {name} | {1000 * wall:,.0f} ms | {1000 * cpu:,.0f} ms | {cpu / first:.2f} |")
    print()


def main() -> None:
    from debater_search.data import read_corpus
    from debater_search.encoder import Encoder
    from debater_search.encoder.loading.hub import locate
    from debater_search.indexing import build

    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "bare.py").write_text(BARE, encoding="utf-8")
        helps = {
            "bare Typer program --help": [sys.executable, "bare.py", "--help"],
            "debater --help": [*DEBATER, "--help"],
            "debater search --help": [*DEBATER, "search", "--help"],
        }
        table(helps, folder, runs)

        small, minilm = Encoder.load("debater-small"), Encoder.load("minilm")
        small.save(folder / "small")  # in float32, which sentence-transformers reads
        documents = list(islice(read_corpus(CRANFIELD), DOCUMENTS))
        for encoder in (small, minilm):
            build(documents, encoder, folder / f"index-{encoder.name}")
        search = [*DEBATER, "search", QUERY, "--index"]
        other = [sys.executable, "-c", SENTENCE_TRANSFORMERS]
        searches = {
            "sentence-transformers, weights of debater-small": [*other, "small", QUERY],
            "debater search QUERY": [*search, "index-debater-small"],
            "debater search QUERY, with torch": ["env", "DEBATER_OFF=light", *search, "index-debater-small"],
            "debater search QUERY --mode hybrid": [*search, "index-debater-small", "--mode", "hybrid"],
            "debater search QUERY --mode lexical": [*search, "index-debater-small", "--mode", "lexical"],
            "sentence-transformers, MiniLM": [*other, str(locate("minilm").folder.resolve()), QUERY],
            "debater search QUERY, MiniLM": [*search, "index-minilm"],
            "debater search QUERY, MiniLM, with torch": ["env", "DEBATER_OFF=light", *search, "index-minilm"],
        }
        table(searches, folder, runs)

        (folder / "rows.jsonl").write_text('{"name": "1", "body": "no column that is needed"}\n', encoding="utf-8")
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        mistakes = {
            "debater search QUERY --where 'yeer = 1'": [*search, "index-debater-small", "--where", "yeer = 1"],
            "debater index, a missing column": [*DEBATER, "index", "rows.jsonl"],
            "debater train, a missing column": [*DEBATER, "train", "config.yaml"],
            "debater eval, an unknown task": [*DEBATER, "eval", "SciFac"],
            "debater mine, a missing column": [*DEBATER, "mine", "rows.jsonl", "--index", "index-debater-small"],
        }
        table(mistakes, folder, runs, code=2)


if __name__ == "__main__":
    main()
