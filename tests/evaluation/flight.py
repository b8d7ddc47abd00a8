"""A task folder of three documents and two queries; the words of q2 lead astray."""

import json
from pathlib import Path
from typing import Any

from tests.fakes import FakeEncoder

CORPUS = [
    {"_id": "stall", "title": "Stall", "text": "A wing stalls at low speed. Nothing else matters here."},
    {"_id": "layer", "title": "Layers", "text": "The boundary layer heats the wing of an aircraft."},
    {"_id": "noise", "title": "", "text": "Propellers are loud.", "year": 1958},
]
QUERIES = [
    {"_id": "q1", "text": "loud propellers"},
    {"_id": "q2", "text": "the boundary layer heats the wing of an"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tnoise\t1\nq2\tstall\t1\n"


class Model(FakeEncoder):
    trained_with_instructions = False


def model(name: str = "m") -> Any:
    return Model(name)


def write_task(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(QRELS, encoding="utf-8")
    return folder


def saved(output: Path) -> Any:
    return json.loads((output / "results.json").read_text(encoding="utf-8"))
