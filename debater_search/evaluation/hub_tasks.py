"""Retrieval tasks and benchmarks of mteb; its loaders fetch the data from the Hugging Face hub."""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from debater_search.errors import InvalidError, MissingError, UnavailableError
from debater_search.evaluation.beir import beir_name
from debater_search.evaluation.mteb_names import slug, unknown
from debater_search.extras import require
from debater_search.types import Document, Qrels, Query

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


class MtebTask:
    """One language and one split of an mteb retrieval task; the data is loaded on first use.

    Examples:
        >>> from debater_search.evaluation import MtebTask
        >>> MtebTask("SciFact").source  # doctest: +SKIP
        'mteb/scifact@0228b52cf27578f30900b9e5271d331663a030d7'
    """

    instruction = None  # mteb's prompts are not used; our instructions are in evaluation/beir.py

    def __init__(self, name: str, *, task: Any = None, subset: str | None = None, split: str | None = None) -> None:
        """`task` is the mteb object, if it is loaded already; `subset` and `split` select one of several.

        Raises DebaterError if mteb has no retrieval task `name`.
        """
        task = task if task is not None else find_task(name)
        self.task = copy.copy(task)  # the parts of a task are loaded one by one
        self.subset = subset or next(iter(task.hf_subsets))
        self.split = split
        self.task.hf_subsets = [self.subset]
        if split is not None:
            self.task = self.task.filter_eval_splits([split])
        self.name: str = "/".join(part for part in (task.metadata.name, split, subset) if part is not None)

    @property
    def source(self) -> str:
        """The data set on the hub and its revision."""
        dataset = self.task.metadata.dataset
        return f"{dataset['path']}@{dataset['revision']}"

    @property
    def ignore_identical_ids(self) -> bool:
        """As in mteb: true for ArguAna, Quora and others, in which queries are documents too."""
        return bool(self.task.ignore_identical_ids)

    def corpus(self, split: str = "test") -> Iterator[Document]:
        """All documents of a split."""
        return documents_in(self._data(split)["corpus"])

    def queries(self, split: str = "test") -> list[Query]:
        """The queries of a split."""
        return queries_in(self._data(split)["queries"])

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split; `test` stands for the only split that mteb scores (for MSMARCO dev)."""
        return {
            str(query_id): {str(document_id): int(gain) for document_id, gain in gains.items()}
            for query_id, gains in self._data(split)["relevant_docs"].items()
        }

    def unload(self) -> None:
        """Free the memory of the data; the next use loads it again."""
        if vars(self).pop("_dataset", None) is not None:
            self.task.unload_data()

    def split_of(self, split: str) -> str:
        """mteb's name of a split; `test` stands for the scored one. Raises DebaterError if it does not exist."""
        splits = self._dataset
        if split == "test" and self.split is not None:
            split = self.split
        elif split == "test" and len(splits) == 1:
            split = next(iter(splits))
        if split not in splits:
            raise MissingError(f"The task {self.name} has no split {split!r}.", f"It has {', '.join(sorted(splits))}.")
        return split

    def _data(self, split: str) -> Any:
        return self._dataset[self.split_of(split)]

    @cached_property
    def _dataset(self) -> Any:
        """Split → corpus, queries, judgements."""
        is_offline()
        try:
            self.task.load_data()
            self.task.convert_v1_dataset_format_to_v2(num_proc=None)
            return self.task.dataset[self.subset]
        except Exception as error:  # mteb's loaders pass on whatever the hub, the network or the data raise
            raise UnavailableError(
                f"The data of {self.name} could not be loaded ({type(error).__name__}).",
                f"Download the data set {self.task.metadata.dataset['path']} from the Hugging Face hub into the local "
                f"cache, or put a copy in BEIR layout into data/{beir_name(self.name)}.",
            ) from error


def documents_in(rows: Sequence[Row]) -> Iterator[Document]:
    """Documents from the rows of an mteb corpus."""
    for row in rows:
        yield Document(str(row["id"]), row.get("text") or "", row.get("title") or "")


def queries_in(rows: Sequence[Row]) -> list[Query]:
    """Queries from mteb rows, each as the single text that mteb makes of it."""
    return [Query(str(row["id"]), _query_text(row)) for row in rows]


def _query_text(row: Row) -> str:
    """The text followed by its own instruction; a conversation is one line of turns after the instruction."""
    text, instruction = row["text"], row.get("instruction")
    if isinstance(text, str):
        return f"{text} {instruction}" if instruction is not None else text
    turns = [turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text]
    return "; ".join(turns) if instruction is None else f"{instruction} {'; '.join(turns)}"


@cache
def is_offline() -> bool:
    """Whether the hub does not answer. If so, its client is set to offline mode: it uses the cache or fails at once."""
    import huggingface_hub

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=5)
    except Exception:  # whatever the HTTP client raises
        huggingface_hub.constants.HF_HUB_OFFLINE = True
        datasets: Any = import_module("datasets.config")
        datasets.HF_HUB_OFFLINE = True
        return True
    return False


def find_task(name: str) -> Any:
    """mteb's retrieval task of this name. Raises DebaterError for other names, with the nearest name or the type."""
    mteb = require("mteb", extra="eval")

    known = {task.metadata.name: task for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False)}
    if name in known:
        return mteb.get_task(name)  # a new object: mteb shares those in lists
    names = [*known, *_benchmarks()]
    if name.lower() not in map(str.lower, names) and (kind := _type_of(name)):
        raise InvalidError(
            f"{name} is not a retrieval task: its type is {kind}.",
            "Use mteb itself for other types of tasks.",
        )
    raise unknown(name, names)


def parts_of(task: Any) -> list[MtebTask]:
    """The parts of an mteb task whose mean is its score: each language on each scored split."""
    subsets = task.hf_subsets if len(task.metadata.hf_subsets) > 1 else [None]
    splits = task.eval_splits if len(task.metadata.eval_splits) > 1 else [None]
    name = task.metadata.name
    return [MtebTask(name, task=task, subset=subset, split=split) for split in splits for subset in subsets]


def benchmark_tasks(name: str) -> list[Any] | None:
    """The text retrieval tasks of an mteb benchmark; None if there is no benchmark of this name."""
    benchmark = _benchmarks().get(slug(name))
    if benchmark is None:
        return None
    return [
        task
        for task in benchmark.tasks
        if task.metadata.type == "Retrieval" and set(task.metadata.modalities) == {"text"}
    ]


def _benchmarks() -> dict[str, Any]:
    mteb = require("mteb", extra="eval")

    found: dict[str, Any] = {}
    for benchmark in mteb.get_benchmarks():
        for name in (benchmark.name, *benchmark.aliases):
            found[slug(name)] = benchmark
    return found


def _type_of(name: str) -> str | None:
    mteb = require("mteb", extra="eval")

    try:
        return str(mteb.get_task(name).metadata.type)
    except KeyError:
        return None
