"""What a command costs before it answers: `python benchmarks/startup.py`.

`--help` stands beside the smallest Typer program there is, one dense search beside a program that imports torch and
loads the same model (weights and tokenizer) and does nothing with it. Each command is a fresh process; the medians of
interleaved runs are compared, so that a busy machine slows all alike.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 15
CRANFIELD = Path(__file__).parent.parent / "data" / "cranfield"
BARE = """
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    print(name)


app()
"""
DEBATER = "import sys; from debater_search.cli import main; sys.exit(main())"
MODEL = """
import sys

import torch
from transformers import AutoModel, AutoTokenizer

AutoTokenizer.from_pretrained(sys.argv[1])
AutoModel.from_pretrained(sys.argv[1])
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(commands: dict[str, list[str]], runs: int = RUNS) -> dict[str, float]:
    """Median seconds of each program."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}  # the first fills the caches


def table(medians: dict[str, float]) -> None:
    """Print the medians as Markdown, against the first."""
    bare = next(iter(medians.values()))
    print(f"| program | median of {RUNS} | against the first |\n|--|--:|--:|")
    for name, median in medians.items():
        print(f"| {name} | {1000 * median:,.0f} ms | {median / bare:.2f} |")


def main() -> None:
    from debater_search.encoder import Encoder
    from debater_search.encoder.loading.hub import locate
    from debater_search.indexing import build

    debater = [sys.executable, "-c", DEBATER]
    with tempfile.TemporaryDirectory() as folder:
        bare, index = Path(folder) / "bare.py", Path(folder) / "index"
        bare.write_text(BARE, encoding="utf-8")
        build(CRANFIELD, Encoder.load("minilm"), index)
        search = [*debater, "search", "lift of a wing in a slipstream", "--index", str(index)]
        table(
            measure(
                {
                    "bare Typer program --help": [sys.executable, str(bare), "--help"],
                    "debater --help": [*debater, "--help"],
                    "debater search --help": [*debater, "search", "--help"],
                }
            )
        )
        print()
        table(
            measure(
                {
                    "import torch, load MiniLM": [sys.executable, "-c", MODEL, str(locate("minilm").folder)],
                    "debater search QUERY": search,
                    "debater search QUERY --mode hybrid": [*search, "--mode", "hybrid"],
                    "debater search QUERY --mode lexical": [*search, "--mode", "lexical"],
                }
            )
        )


if __name__ == "__main__":
    main()
