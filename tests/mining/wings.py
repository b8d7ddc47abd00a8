"""A small corpus for mining: every text shares words with the query, fewer and fewer from the first on."""

import json
from pathlib import Path
from typing import Any

from debater_search.types import Document

WORDS = ["how", "do", "wings", "of", "aircraft", "stall", "at", "low", "speed", "near", "ground"]
QUERY = " ".join(WORDS)
CORPUS = [Document(f"a{n}", " ".join(WORDS[: 10 - n] + [f"filler{n}{i}" for i in range(n)])) for n in range(8)]

Row = dict[str, Any]
Rows = list[Row]


def training_file(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def mined(output: Path) -> Rows:
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
