"""How long `debater --help` takes, beside the smallest Typer program there is: `python benchmarks/startup.py`.

Each command is a fresh process; the medians of interleaved runs are compared, so that a busy machine slows all alike.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 15
BARE = """
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    print(name)


app()
"""
DEBATER = "import sys; from debater_search.cli import main; sys.exit(main())"


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(runs: int = RUNS) -> dict[str, float]:
    """Median seconds of each program, the bare one first."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        commands = {
            "bare Typer program --help": [sys.executable, str(bare), "--help"],
            "debater --help": [sys.executable, "-c", DEBATER, "--help"],
            "debater search --help": [sys.executable, "-c", DEBATER, "search", "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs + 1):
            for name, command in commands.items():
                times[name].append(seconds(command))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}  # the first fills the caches


def main() -> None:
    medians = measure()
    bare = next(iter(medians.values()))
    print(f"| program | median of {RUNS} | against bare |\n|--|--:|--:|")
    for name, median in medians.items():
        print(f"| {name} | {1000 * median:.0f} ms | {median / bare:.2f} |")


if __name__ == "__main__":
    main()
