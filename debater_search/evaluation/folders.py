"""Tasks in folders: a corpus, queries and judgements, in BEIR's layout or with TREC's files."""

import json
from collections.abc import Iterable
from pathlib import Path

from debater_search.data import read_corpus, read_qrels, read_queries
from debater_search.data.files import COMPRESSIONS, called
from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.beir import ignores_identical_ids
from debater_search.types import Document, Qrels, Query

_JUDGEMENTS = (".tsv", ".txt", ".trec", ".qrels")


class FolderTask:
    """A folder with a corpus, queries and judgements; task.json may hold {"instruction": …}.

    The corpus is corpus.jsonl, another format that readers know, or a folder `corpus` of texts. The judgements of a
    split are qrels/SPLIT.tsv, with the columns of BEIR or TREC; a single split may be `qrels.tsv` or `qrels.txt`.

    Examples:
        >>> from debater_search.evaluation import FolderTask
        >>> task = FolderTask("task")
        >>> task.qrels("test")
        {'q1': {'wings': 1}, 'q2': {'heat': 2}}
    """

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        """`name` is by default the folder's. Raises DebaterError for missing judgements and a bad task.json."""
        self.folder = Path(folder)
        self.name = name or task_name(self.folder)
        self.source = called(self.folder)
        self.ignore_identical_ids = ignores_identical_ids(self.name)
        self.instruction = self._read_instruction()
        if not splits_in(self.folder):
            raise InvalidError(
                f"The folder {folder} is not a task: it has no judgements.",
                "A task is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.",
            )

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """All documents, read while they are iterated; the same for every split."""
        texts = self.folder / "corpus"
        return read_corpus(texts if texts.is_dir() else self.folder)

    def queries(self, split: str = "test") -> list[Query]:
        """All queries of the folder."""
        return read_queries(self.folder)

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split. Raises DebaterError, naming the existing splits, if it does not exist."""
        splits = splits_in(self.folder)
        if split not in splits:
            raise MissingError(f"The task {self.name} has no split {split!r}.", f"It has {', '.join(sorted(splits))}.")
        return read_qrels(splits[split])

    def unload(self) -> None:
        """Does nothing: no data is kept in memory."""

    def _read_instruction(self) -> str | None:
        file = self.folder / "task.json"
        if not file.exists():
            return None
        try:
            instruction = json.loads(file.read_text(encoding="utf-8"))["instruction"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            instruction = None
        if not isinstance(instruction, str):
            raise InvalidError(f"{file} has no instruction.", 'Write {"instruction": "…"} in it, or remove the file.')
        return instruction


def splits_in(folder: Path) -> dict[str, Path]:
    """The files with judgements in a folder, by split; empty if it is not a task."""
    found = {
        name: file
        for file in sorted((folder / "qrels").glob("*"))
        if file.is_file() and (name := _without_format(file.name))
    }
    for file in sorted(folder.glob("qrels.*")):
        if file.is_file() and _without_format(file.name) == "qrels":
            found.setdefault("test", file)
    return found


def _without_format(name: str) -> str:
    """The name of a file of judgements without its extensions; "" if it has another extension."""
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return next((name.removesuffix(suffix) for suffix in _JUDGEMENTS if name.endswith(suffix)), "")


def task_name(folder: Path) -> str:
    """What the task in a folder is called: the folder's name, for a part of CQADupstack with that prefix."""
    folder = folder.resolve()
    return called(f"cqadupstack/{folder.name}" if folder.parent.name.lower() == "cqadupstack" else folder.name)
