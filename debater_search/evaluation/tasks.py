"""What is evaluated: a corpus, queries and judgements, from a folder in BEIR layout or from mteb."""

import difflib
import json
import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from debater_search.data import read_corpus, read_qrels, read_queries
from debater_search.errors import DebaterError
from debater_search.evaluation.instructions import BEIR
from debater_search.types import Document, Qrels, Query

logger = logging.getLogger(__name__)


class RetrievalTask(Protocol):
    """A corpus, queries, and which documents answer them."""

    @property
    def name(self) -> str:
        """What results call the task."""
        ...

    @property
    def instruction(self) -> str | None:
        """What the task itself puts before its queries; None if it says nothing."""
        ...

    @property
    def ignore_identical_ids(self) -> bool:
        """Whether a document with the query's own id is no answer."""
        ...

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """All documents."""
        ...

    def queries(self, split: str = "test") -> list[Query]:
        """The queries; those that the split does not judge may be among them."""
        ...

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split. Raises DebaterError, naming the splits that exist, if it is not one of them."""
        ...


def load_task(name: str | Path) -> RetrievalTask:
    """The task at a folder in BEIR layout, or of an mteb name, or `beir/NAME`.

    Raises DebaterError if there is none of that name; the nearest is named.
    """
    if Path(name).is_dir():
        return FolderTask(name)
    name = str(name)
    if name.startswith("beir/"):
        beir = name.removeprefix("beir/")
        if beir not in BEIR:
            near = difflib.get_close_matches(beir, BEIR, n=1)
            hint = f"Did you mean beir/{near[0]}?" if near else f"BEIR's sets are {', '.join(BEIR)}."
            raise DebaterError(f"BEIR has no set {beir!r}.", hint)
        return MtebTask(BEIR[beir])
    if "/" in name or name.startswith("."):
        folder = Path(name).parent
        names = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        near = difflib.get_close_matches(Path(name).name, names, n=1)
        hint = f"Did you mean {folder / near[0]}?" if near else "A task is a folder, beir/NAME or a name of mteb's."
        raise DebaterError(f"There is no folder {name}.", hint)
    return MtebTask(name)


class FolderTask:
    """A folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv; task.json may hold {"instruction": …}."""

    ignore_identical_ids = False

    def __init__(self, folder: str | Path) -> None:
        """Raises DebaterError if the folder lacks one of the three, or for a task.json that is something else."""
        self.folder = Path(folder)
        self.name = self.folder.resolve().name
        self.instruction = self._read_instruction()
        if not self._splits():
            raise DebaterError(
                f"The folder {folder} is no task: it has no judgements.",
                "A task is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.",
            )

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """All documents, read when they are iterated; the same for every split."""
        return read_corpus(self.folder)

    def queries(self, split: str = "test") -> list[Query]:
        """All queries of the folder."""
        return read_queries(self.folder)

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements in qrels/SPLIT.tsv. Raises DebaterError, naming the splits that exist, if there are none."""
        splits = self._splits()
        if split not in splits:
            raise DebaterError(f"The task {self.name} has no split {split!r}.", f"It has {', '.join(sorted(splits))}.")
        return read_qrels(splits[split])

    def _splits(self) -> dict[str, Path]:
        files = sorted((self.folder / "qrels").glob("*.tsv*"))
        return {file.name.partition(".tsv")[0]: file for file in files if file.is_file()}

    def _read_instruction(self) -> str | None:
        file = self.folder / "task.json"
        if not file.exists():
            return None
        try:
            instruction = json.loads(file.read_text(encoding="utf-8"))["instruction"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            instruction = None
        if not isinstance(instruction, str):
            raise DebaterError(f"{file} has no instruction in it.", 'It should read {"instruction": "…"}, or go.')
        return instruction


class MtebTask:
    """A retrieval task of mteb, loaded through mteb's own loader when its data is first asked for."""

    instruction = None  # mteb's prompts are other people's; ours are in the table of built-in instructions

    def __init__(self, name: str, *, task: Any = None) -> None:
        """`task` is the mteb object, if it is at hand. Raises DebaterError if mteb has no retrieval task `name`."""
        self._task = task if task is not None else _mteb_task(name)
        self.name: str = self._task.metadata.name

    @property
    def ignore_identical_ids(self) -> bool:
        """As mteb has it: true for ArguAna, Quora and others, where queries are documents too."""
        return bool(self._task.ignore_identical_ids)

    def corpus(self, split: str = "test") -> Iterator[Document]:
        """All documents of a split."""
        for row in self._data(split)["corpus"]:
            yield Document(str(row["id"]), row.get("text") or "", row.get("title") or "")

    def queries(self, split: str = "test") -> list[Query]:
        """The queries of a split."""
        return [Query(str(row["id"]), row["text"]) for row in self._data(split)["queries"]]

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split; where mteb scores one other split only (MSMARCO: dev), `test` means that one."""
        return {
            str(query_id): {str(document_id): int(gain) for document_id, gain in gains.items()}
            for query_id, gains in self._data(split)["relevant_docs"].items()
        }

    def _data(self, split: str) -> Any:
        splits = self._dataset
        if split not in splits and split == "test" and len(splits) == 1:
            split = next(iter(splits))
        if split not in splits:
            raise DebaterError(f"The task {self.name} has no split {split!r}.", f"It has {', '.join(sorted(splits))}.")
        return splits[split]

    @cached_property
    def _dataset(self) -> Any:
        """Split → corpus, queries, judgements; of a task in several languages, English."""
        subsets = list(self._task.hf_subsets)
        subset = next((subset for subset in ("default", "en") if subset in subsets), subsets[0])
        if len(subsets) > 1:
            logger.info("%s has %d subsets; this is %s.", self.name, len(subsets), subset)
            self._task.hf_subsets = [subset]
        _spare_retries()
        try:
            self._task.load_data()
            self._task.convert_v1_dataset_format_to_v2(num_proc=None)
        except Exception as error:  # mteb's loaders let through whatever the hub, the network or the data raise
            raise DebaterError(
                f"The data of {self.name} could not be loaded ({type(error).__name__}).",
                "It comes from the Hugging Face hub: check the connection, or evaluate a folder in BEIR layout.",
            ) from error
        return self._task.dataset[subset]


def _spare_retries() -> None:
    """Where the hub does not answer, tell its client: it uses its cache or fails now, not in half a minute."""
    import huggingface_hub

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=5)
    except Exception:  # whatever the HTTP client raises
        huggingface_hub.constants.HF_HUB_OFFLINE = True
        datasets: Any = import_module("datasets.config")
        datasets.HF_HUB_OFFLINE = True


def _mteb_task(name: str) -> Any:
    import mteb

    retrieval = {task.metadata.name for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False)}
    if name in retrieval:
        task = mteb.get_task(name)
        if not task.is_aggregate:
            return task
        parts = ", ".join(part.metadata.name for part in task.metadata.tasks)
        raise DebaterError(f"{name} is several tasks in one.", f"Name one or more of them: {parts}.")
    by_lower = {known.lower(): known for known in retrieval}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f"Did you mean {by_lower[near[0]]}?" if near else "Give a folder in BEIR layout, beir/NAME, or an mteb name."
    raise DebaterError(f"There is no retrieval task {name!r}, neither as a folder nor in mteb.", hint)
