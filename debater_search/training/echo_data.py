"""The paper's training data, "echo-data" (the E5 public mix): its files, and what goes before their queries."""

from collections.abc import Sequence
from os.path import normpath
from pathlib import Path
from typing import Any

from debater_search.errors import MissingError

INSTRUCTIONS: dict[str, str | list[str]] = {
    "allnli": [
        "Given a premise, retrieve a hypothesis that is entailed by the premise:",
        "Retrieve semantically similar text:",
    ],
    "dureader": "Given a Chinese search query, retrieve web passages that answer the question:",
    "eli5_question_answer": "Provided a user question, retrieve the highest voted answers on Reddit ELI5 forum:",
    "fever": "Given a claim, retrieve documents that support or refute the claim:",
    "hotpot_qa": "Given a multi-hop question, retrieve documents that can help answer the question:",
    "miracl": "Given a question, retrieve Wikipedia passages that answer the question:",
    "mrtydi": "Given a question, retrieve Wikipedia passages that answer the question:",
    "nq": "Given a question, retrieve Wikipedia passages that answer the question:",
    "msmarco_passage": "Given a web search query, retrieve relevant passages that answer the query:",
    "msmarco_document": "Given a web search query, retrieve relevant documents that answer the query:",
    "quora_duplicates": [
        "Given a question, retrieve questions that are semantically equivalent to the given question:",
        "Find questions that have the same meaning as the input question:",
    ],
    "squad": "Retrieve Wikipedia passages that answer the question:",
    "trivia_qa": "Retrieve Wikipedia passages that answer the question:",
    "t2ranking": "Given a Chinese search query, retrieve web passages that answer the question:",
}
"""Published instruction of each file by its name; of two, the first is for even rows (from 0), the other for odd."""

SEARCH_INSTRUCTION = "Given a question, retrieve passages that answer it:"
"""Default before the queries of a model trained on this data."""

SOURCE = "It is echo-data.tar (3.6 GB), which https://github.com/jakespringer/echo-embeddings links to."

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def require_any(paths: Sequence[str]) -> None:
    """Raise MissingError, with where to get it, if sets are the published data and none of them is there."""
    found = [Path(path) for path in paths]
    if {path.name.partition(".")[0] for path in found} == {*INSTRUCTIONS} and not any(path.exists() for path in found):
        raise MissingError(
            f"The paper's training data is not in {normpath(found[0].parent)}.",
            f"{SOURCE} Unpack it and name its folder: data_folder=FOLDER.",
        )


def data_sets(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The sets of a folder as settings (`path` relative to it, `instruction`), and remarks on what is not as published.

    Files that are not of the published data have no instruction. A folder that is not there yet counts as the whole of
    it: what lacks is told when it is read.
    """
    if not folder.is_dir():
        remark = f"There is no folder {folder}: the {len(INSTRUCTIONS)} files of the published data are expected in it."
        return [{"path": f"{name}.jsonl", "instruction": lead} for name, lead in INSTRUCTIONS.items()], [remark]
    files = {path.name: path.name.partition(".")[0] for path in folder.iterdir() if path.name.endswith(ENDINGS)}
    order = {name: number for number, name in enumerate(INSTRUCTIONS)}
    sets: list[dict[str, Any]] = [
        {"path": file, **({"instruction": INSTRUCTIONS[name]} if name in INSTRUCTIONS else {})}
        for file, name in sorted(files.items(), key=lambda item: (order.get(item[1], len(order)), item[0]))
    ]
    unknown = [item["path"] for item in sets if "instruction" not in item]
    lacking = [name for name in INSTRUCTIONS if name not in files.values()]
    remarks = []
    if unknown:
        remarks.append(f"Without an instruction, as they are not of the published data: {', '.join(unknown)}.")
    if lacking:
        remarks.append(f"Published, but not in {folder}: {', '.join(lacking)}.")
    return sets, remarks
