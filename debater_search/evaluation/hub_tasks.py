"""Retrieval tasks and benchmarks of mteb, whose data its own loaders fetch from the Hugging Face hub."""

import copy
import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from debater_search.errors import DebaterError
from debater_search.evaluation.beir import beir_name
from debater_search.extras import require
from debater_search.types import Document, Qrels, Query

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


class MtebTask:
    """One language and one split of a retrieval task of mteb, loaded when its data is first asked for."""

    instruction = None  # mteb's prompts are other people's; ours are in the table of built-in instructions

    def __init__(self, name: str, *, task: Any = None, subset: str | None = None, split: str | None = None) -> None:
        """`task` is the mteb object, if it is at hand; `subset` and `split` one of several of its own.

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
        """The data set on the hub, and its revision."""
        dataset = self.task.metadata.dataset
        return f"{dataset['path']}@{dataset['revision']}"

    @property
    def ignore_identical_ids(self) -> bool:
        """As mteb has it: true for ArguAna, Quora and others, where queries are documents too."""
        return bool(self.task.ignore_identical_ids)

    def corpus(self, split: str = "test") -> Iterator[Document]:
        """All documents of a split."""
        return documents_in(self._data(split)["corpus"])

    def queries(self, split: str = "test") -> list[Query]:
        """The queries of a split."""
        return queries_in(self._data(split)["queries"])

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split; where mteb scores one other split only (MSMARCO: dev), `test` means that one."""
        return {
            str(query_id): {str(document_id): int(gain) for document_id, gain in gains.items()}
            for query_id, gains in self._data(split)["relevant_docs"].items()
        }

    def unload(self) -> None:
        """Free the memory that the data takes; asked for again, it is loaded again."""
        if vars(self).pop("_dataset", None) is not None:
            self.task.unload_data()

    def split_of(self, split: str) -> str:
        """mteb's name of a split: `test` is the one that is scored. Raises DebaterError if there is none."""
        splits = self._dataset
        if split == "test" and self.split is not None:
            split = self.split
        elif split == "test" and len(splits) == 1:
            split = next(iter(splits))
        if split not in splits:
            raise DebaterError(f"The task {self.name} has no split {split!r}.", f"It has {', '.join(sorted(splits))}.")
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
        except Exception as error:  # mteb's loaders let through whatever the hub, the network or the data raise
            raise DebaterError(
                f"The data of {self.name} could not be loaded ({type(error).__name__}).",
                f"Download {self.task.metadata.dataset['path']} from the Hugging Face hub (hf download … --repo-type "
                f"dataset) into this machine's cache, or put a copy in BEIR layout into data/{beir_name(self.name)}.",
            ) from error


def documents_in(rows: Sequence[Row]) -> Iterator[Document]:
    """Documents from the rows of a corpus of mteb's."""
    for row in rows:
        yield Document(str(row["id"]), row.get("text") or "", row.get("title") or "")


def queries_in(rows: Sequence[Row]) -> list[Query]:
    """Queries from rows of mteb's, each as the one text that mteb makes of it."""
    return [Query(str(row["id"]), _query_text(row)) for row in rows]


def _query_text(row: Row) -> str:
    """The text, with an instruction of its own behind it; a conversation's turns in one line, the instruction first."""
    text, instruction = row["text"], row.get("instruction")
    if isinstance(text, str):
        return f"{text} {instruction}" if instruction is not None else text
    turns = [turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text]
    return "; ".join(turns) if instruction is None else f"{instruction} {'; '.join(turns)}"


@cache
def is_offline() -> bool:
    """Whether the hub does not answer. Its client is told: it uses its cache or fails now, not in half a minute."""
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
    """mteb's retrieval task of this name. Raises DebaterError for any other: the nearest is named, or its type."""
    mteb = require("mteb", extra="eval")

    known = {task.metadata.name: task for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False)}
    if name in known:
        return mteb.get_task(name)  # one of our own: mteb shares those of lists
    with_suites = {near.lower(): near for near in (*known, *_benchmarks())}
    nearest = difflib.get_close_matches(name.lower(), with_suites, n=1)
    if name.lower() not in with_suites and (kind := _type_of(name)):
        raise DebaterError(
            f"{name} is no retrieval task, but one of {kind}.",
            "debater scores retrieval; mteb scores the others.",
        )
    hint = f"Did you mean {with_suites[nearest[0]]}?" if nearest else "Give a folder, beir/NAME or a name of mteb's."
    raise DebaterError(f"There is no retrieval task {name!r}, neither as a folder nor in mteb.", hint)


def parts_of(task: Any) -> list[MtebTask]:
    """What the score of a task of mteb's is the mean of: each of its languages, on each split that it is scored on."""
    subsets = task.hf_subsets if len(task.metadata.hf_subsets) > 1 else [None]
    splits = task.eval_splits if len(task.metadata.eval_splits) > 1 else [None]
    name = task.metadata.name
    return [MtebTask(name, task=task, subset=subset, split=split) for split in splits for subset in subsets]


def benchmark_tasks(name: str) -> list[Any] | None:
    """mteb's tasks in a benchmark of that name that are retrieval of texts; None if there is no such benchmark."""
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


def slug(benchmark: str) -> str:
    """How a benchmark of mteb's is named on the command line: `MTEB(eng, v2)` is mteb-eng-v2."""
    return re.sub(r"[^a-z0-9.]+", "-", benchmark.lower()).strip("-")


def _type_of(name: str) -> str | None:
    mteb = require("mteb", extra="eval")

    try:
        return str(mteb.get_task(name).metadata.type)
    except KeyError:
        return None
