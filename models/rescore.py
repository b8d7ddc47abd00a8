"""A cross-encoder's scores for mined rows: `python models/rescore.py ROWS MODEL OUTPUT [--margin 1] [--length 256]`

ROWS is what `debater mine` wrote; MODEL a folder that `models/convert.py` made. Each query is scored with its positive
and its negatives, and OUTPUT, JSON lines, gets the scores (logits) in place of those that the rows had. A negative that
scores above the positive less `--margin` may be an answer, too: it is left out. Rows are appended block by block; the
same command goes on where a killed one was.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from debater_search.data.rows import row_place
from debater_search.data.training import TrainingRow, parse_row
from debater_search.data.training_rows import read_training_rows
from debater_search.progress import progress

BLOCK = 64
BATCH = 32


class CrossEncoder:
    """A model that reads a query and a document together and gives a score."""

    def __init__(self, folder: Path, length: int) -> None:
        """`length` in tokens of both together; the document is cut."""
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(length, strategy="only_second")
        self.tokenizer.enable_padding()

    @torch.no_grad()
    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Logits of (query, document) pairs, in their order."""
        order = sorted(range(len(pairs)), key=lambda n: len(pairs[n][1]))
        found = [0.0] * len(pairs)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            encoded = self.tokenizer.encode_batch([pairs[n] for n in chosen])
            inputs = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
            tensors = {name: torch.tensor([getattr(e, field) for e in encoded]) for name, field in inputs.items()}
            for n, score in zip(chosen, self.model(**tensors).logits[:, 0].tolist(), strict=True):
                found[n] = score
        return found


def rescored(rows: Sequence[TrainingRow], model: CrossEncoder, margin: float) -> Iterator[dict[str, Any]]:
    """Rows with the model's scores, and without negatives that may be answers."""
    pairs = [(row.queries[0], text) for row in rows for text in (row.positives[0], *row.negatives)]
    scores = iter(model.scores(pairs))
    for row in rows:
        positive, *others = islice(scores, 1 + len(row.negatives))
        kept = [(text, score) for text, score in zip(row.negatives, others, strict=True) if score <= positive - margin]
        yield {
            "query": row.queries[0],
            "positive": row.positives[0],
            "negative": [text for text, _ in kept],
            "positive_scores": [round(positive, 4)],
            "negative_scores": [round(score, 4) for _, score in kept],
        }


def finished_rows(output: Path) -> int:
    """Rows that an earlier run wrote; a line that a kill cut is dropped."""
    if not output.exists():
        return 0
    written = output.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        output.write_bytes(whole)
    return whole.count(b"\n")


def rescore(rows: Path, output: Path, model: CrossEncoder, margin: float) -> None:
    """Score the rows that `output` does not have yet, and append them."""
    done = finished_rows(output)
    with progress(rows.name, None, "rows", enabled=True) as bar, output.open("a", encoding="utf-8") as file:
        bar.resume_at(done)
        left = islice(read_training_rows(rows), done, None)
        while block := [parse_row(fields, row_place(rows, number)) for number, fields in islice(left, BLOCK)]:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rescored(block, model, margin)]
            file.write("".join(lines))
            file.flush()
            bar.advance(len(block))


def main() -> None:
    """Score the rows of one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--length", type=int, default=256)
    options = parser.parse_args()
    rescore(options.rows, options.output, CrossEncoder(options.model, options.length), options.margin)


if __name__ == "__main__":
    main()
