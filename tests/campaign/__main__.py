"""`python -m tests.campaign [NAME…] --seconds 600`: go on with campaigns; `--table` prints what they found so far."""

import argparse
import logging
from collections import Counter
from pathlib import Path

from tests.campaign.concurrency import Concurrency
from tests.campaign.damage import Damage
from tests.campaign.fuzz import Fuzz
from tests.campaign.kills import Kills
from tests.campaign.training import TrainingKills
from tests.campaign.trials import Campaign, read_results, run

RESULTS = Path("build/campaign")
CAMPAIGNS: dict[str, type[Campaign]] = {
    campaign.name: campaign for campaign in (Kills, TrainingKills, Damage, Fuzz, Concurrency)
}


def main() -> int:
    """Run the campaigns that the command line names, or all of them; 1 if a trial of them ever failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"One of {', '.join(CAMPAIGNS)}; default: all.")
    parser.add_argument("--seconds", type=float, default=600, help="Time for each campaign.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Folder of the JSON lines.")
    parser.add_argument("--trial", type=int, help="Run this trial again, alone.")
    parser.add_argument("--table", action="store_true", help="Run nothing: print the results as a table.")
    given = parser.parse_args()
    logging.disable()
    names = given.names or list(CAMPAIGNS)
    for name in names if not given.table else ():
        run(CAMPAIGNS[name](), given.results / f"{name}.jsonl", seconds=given.seconds, only=given.trial)
    return show_table(given.results, names)


def show_table(results: Path, names: list[str]) -> int:
    """Print trials, inputs and failures of each campaign; 1 if anything failed."""
    failed = 0
    print("| campaign | kind | trials | inputs | failures |\n|---|---|--:|--:|--:|")
    for name in names:
        lines = read_results(results / f"{name}.jsonl")
        for what, trials in sorted(Counter(line["what"] for line in lines).items()):
            of = [line for line in lines if line["what"] == what]
            failures = sum(line["failure"] is not None for line in of)
            failed += failures
            print(f"| {name} | {what} | {trials:,} | {sum(line['inputs'] for line in of):,} | {failures:,} |")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
