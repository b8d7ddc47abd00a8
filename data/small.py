"""Cut small/ out of mini/train: `python data/small.py rows FOLDER`, later `python data/small.py pack MINED SCORED`.

`rows` draws debater-small's rows, and writes their answers as corpora that `debater mine` takes negatives from. `pack`
writes training files, compressed so that a text that comes again costs a few bytes: of SCORED (models/rescore.py) where
it has the set, else of MINED without the miner's own scores. Same files, same bytes; README.md has all commands.
"""

import argparse
import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
from cut import SEED, write_jsonl

ROWS = {"sentences": 2400, "packages": 2400, "medquad": 1400, "pubmedqa_labeled": 800}
"""How many rows are drawn of each file of mini/train."""


def draw(source: Path, target: Path) -> None:
    """Draw rows of each file, and write their answers as documents."""
    for name, count in ROWS.items():
        with gzip.open(source / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        drawn = random.Random(f"{SEED} small {name}").sample(rows, count)
        write_jsonl(target / "rows" / f"{name}.jsonl", ({k: row[k] for k in ("query", "positive")} for row in drawn))
        texts = dict.fromkeys(row["positive"] for row in drawn)
        documents = ({"_id": f"d{n}", "text": text} for n, text in enumerate(texts))
        write_jsonl(target / "texts" / f"{name}.jsonl", documents)


def pack(mined: Path, scored: Path, target: Path) -> None:
    """Compress rows with a window as large as their file."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ROWS:
        folder = scored if (scored / f"{name}.jsonl").exists() else mined
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        fields = (
            "query",
            "positive",
            "negative",
            *(("positive_scores", "negative_scores") if folder == scored else ()),
        )
        kept = ({field: row[field] for field in fields if field in row} for row in rows)
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept).encode()
        compressed = pa.Codec("zstd", compression_level=22).compress(data, asbytes=True)
        (target / f"{name}.jsonl.zst").write_bytes(compressed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("rows").add_argument("folder", type=Path)
    packing = commands.add_parser("pack")
    packing.add_argument("mined", type=Path)
    packing.add_argument("scored", type=Path)
    packing.add_argument("target", type=Path, nargs="?", default=Path(__file__).parent / "small" / "train")
    arguments = parser.parse_args()
    if arguments.command == "rows":
        draw(Path(__file__).parent / "mini" / "train", arguments.folder)
    else:
        pack(arguments.mined, arguments.scored, arguments.target)
