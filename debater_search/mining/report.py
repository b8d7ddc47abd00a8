"""What was mined, in numbers and examples: made from the rows on disk, for programs (`as_dict`) and people."""

import heapq
import json
import random
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.mining.selection import RULES

EXAMPLES = 5
_SHOWN_NEGATIVES = 3
_SHOWN_CHARACTERS = 240
_QUANTILES = {"lowest": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "highest": 1.0}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")

Row = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """What `mine` wrote.

    `per_row` says how many rows have so many negatives, `dropped` how many documents of the windows each rule kept out,
    `scores` the quantiles of the positives' and the negatives' scores and of the `gap` between a row's highest positive
    and highest negative. `nearest` are the rows with the smallest gap, where right answers that nobody marked would
    be; `sample` are rows drawn at random.
    """

    output: Path
    report: Path
    rows: int
    negatives: int
    per_row: dict[int, int]
    dropped: dict[str, int]
    scores: dict[str, dict[str, float]]
    nearest: list[Row]
    sample: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """The summary in JSON types."""
        return {**asdict(self), "output": str(self.output), "report": str(self.report)}


def summarise(rows: Path, dropped: Mapping[str, int], output: Path, *, seed: int) -> Summary:
    """Go through the mined rows once; memory holds their scores, and the texts of the examples."""
    with rows.open(encoding="utf-8") as file:
        total = sum(1 for _ in file)
    drawn = set(random.Random(seed).sample(range(total), min(EXAMPLES, total)))
    scores = {"positive": array("d"), "negative": array("d"), "gap": array("d")}
    per_row: Counter[int] = Counter()
    nearest: list[tuple[float, int, Row]] = []
    sample = []
    for number, row in enumerate(_read(rows)):
        scores["positive"].extend(row["positive_scores"])
        scores["negative"].extend(row["negative_scores"])
        per_row[len(row["negative"])] += 1
        if number in drawn:
            sample.append(row)
        if row["negative"]:
            gap = max(row["positive_scores"]) - max(row["negative_scores"])
            scores["gap"].append(gap)
            heapq.heappush(nearest, (-gap, -number, row))
            if len(nearest) > EXAMPLES:
                heapq.heappop(nearest)
    return Summary(
        output=output,
        report=output.with_suffix(".md"),
        rows=total,
        negatives=len(scores["negative"]),
        per_row=dict(sorted(per_row.items())),
        dropped={rule: dropped.get(rule, 0) for rule in RULES},
        scores={name: _quantiles(values) for name, values in scores.items()},
        nearest=[row for _, _, row in sorted(nearest, key=lambda item: (-item[0], -item[1]))],
        sample=sample,
    )


def as_markdown(summary: Summary, described: Mapping[str, str]) -> str:
    """The report: how the rows were made, what was kept out, how the scores lie, and examples to look at."""
    parts = [
        f"# Hard negatives: {_escaped(summary.output.name)}",
        _table(["", ""], [[name, _escaped(value)] for name, value in described.items()]),
        f"{summary.rows:,} rows, {summary.negatives:,} negatives.",
        _table(["negatives", "rows"], [[f"{size:,}", f"{rows:,}"] for size, rows in summary.per_row.items()]),
        "## Documents in the windows that are no negatives",
        _table(["why", "documents"], [[RULES[rule], f"{n:,}"] for rule, n in summary.dropped.items()]),
        "## Scores",
        "The gap is a row's highest positive less its highest negative.",
        _table(
            ["", *_QUANTILES], [[name, *(f"{v:.4f}" for v in q.values())] for name, q in summary.scores.items() if q]
        ),
        "## Nearest to their positives",
        "Right answers that nobody marked would be here; if you see some, raise the margin or begin the window later.",
        *map(_example, summary.nearest),
        "## Drawn at random",
        *map(_example, summary.sample),
    ]
    return "\n\n".join(parts)


def _example(row: Row) -> str:
    negatives = list(zip(row["negative_scores"], row["negative"], strict=True))
    lines = [f"**{_escaped(row['query'])}**", ""]
    lines += [f"- + {s:.4f} {_escaped(t)}" for s, t in zip(row["positive_scores"], row["positive"], strict=True)]
    lines += [f"- − {s:.4f} {_escaped(t)}" for s, t in negatives[:_SHOWN_NEGATIVES]]
    if len(negatives) > _SHOWN_NEGATIVES:
        lines.append(f"- and {len(negatives) - _SHOWN_NEGATIVES} more")
    return "\n".join(lines)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] + ["--:"] * (len(columns) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    """A text as one short line that Markdown shows as it is."""
    line = " ".join(text.split())
    shown = line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"
    return _MARKDOWN.sub(r"\\\1", shown)


def _quantiles(values: "array[float]") -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(np.frombuffer(values), list(_QUANTILES.values()))
    return dict(zip(_QUANTILES, map(float, found), strict=True))


def _read(rows: Path) -> Iterator[Row]:
    with rows.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
