"""Do published numbers come out of `debater eval`? `python benchmarks/published.py FOLDER…`

Each FOLDER is a collection in BEIR layout called scifact, xquad_en or cranfield; all-MiniLM-L6-v2, exact index.
Sources: SciFact and XQuAD-en from embeddings-benchmark/results (all-MiniLM-L6-v2); Cranfield has no published number:
the one here was computed with separate code (mean pooling, 256 tokens).
"""

import argparse
import time
from pathlib import Path

from debater_search.encoder import Encoder
from debater_search.evaluation import evaluate

PUBLISHED = {"scifact": 0.64508, "xquad_en": 0.94357, "cranfield": 0.371}
TOLERANCE = 0.0005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    encoder = Encoder.load("minilm")
    print("| collection | published | here | difference | seconds |\n|--|--:|--:|--:|--:|")
    worst = 0.0
    for folder in parser.parse_args().folders:
        start = time.monotonic()
        here = evaluate(folder, encoder, progress=True).metrics["ndcg@10"]
        published = PUBLISHED[folder.name]
        worst = max(worst, abs(here - published))
        took = time.monotonic() - start
        print(f"| {folder.name} | {published:.5f} | {here:.5f} | {here - published:+.5f} | {took:.0f} |", flush=True)
    raise SystemExit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
