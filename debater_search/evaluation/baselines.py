"""The systems that a campaign scores: a model as it searches, BM25, the run of any other system."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from debater_search.encoder.loading.hub import require_model
from debater_search.encoder.protocol import PairScorer, TextEncoder, instruction_of
from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.comparison import Judged
from debater_search.evaluation.evaluate import choose_instruction, evaluate, model_name, used_instruction
from debater_search.evaluation.provenance import fusion_of
from debater_search.evaluation.reranking import reranker_of
from debater_search.evaluation.results import Result
from debater_search.evaluation.runs import SavedRun, one_task, read_saved, run_name, run_provenance
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.identity import fingerprints_of
from debater_search.refusals import nearest
from debater_search.search import Mode, SearchEngine
from debater_search.search.request import BM25

Baseline = TextEncoder | str | Path
"""An encoder, "bm25", the path of a TREC run, or anything that `Encoder.load` takes."""


class System(Protocol):
    """Anything that answers the queries of a task."""

    @property
    def name(self) -> str:
        """Its name in results."""
        ...

    def provenance(self, task: RetrievalTask, data: dict[str, Any], *, split: str, index_type: str) -> dict[str, Any]:
        """The part of its result's provenance that must be equal for a saved result to be valid; `data`: `data_of`.

        A tuple stands for any of its values.
        """
        ...

    def score(self, task: RetrievalTask, engine: SearchEngine, *, split: str, index_type: str) -> Result:
        """Its result on a task; `engine` has the task's corpus indexed by the evaluated model."""
        ...


@dataclass(frozen=True)
class Searcher:
    """A model as it searches, or BM25 if there is no encoder."""

    encoder: TextEncoder | None = None
    mode: Mode = "lexical"
    instruction: str | None = None
    own_index: bool = False
    """Whether the campaign's engine lacks its vectors."""
    rerank: PairScorer | None = None
    rerank_depth: int | None = None

    @property
    def name(self) -> str:
        """The encoder's name, with "+ bm25" for hybrid search and the reranker's name."""
        return model_name(self.encoder, self.mode, self.rerank)

    def provenance(self, task: RetrievalTask, data: dict[str, Any], *, split: str, index_type: str) -> dict[str, Any]:
        """Data, split, mode, fingerprints and instruction; the index type too, unless it is chosen by size.

        Results of 0.1 have no instruction where it was the model's own, and no fusion.
        """
        instruction = used_instruction(self.encoder, choose_instruction(task, self.encoder, self.instruction))
        is_default = self.encoder is not None and instruction == instruction_of(self.encoder)
        described = data | {
            "split": split,
            "mode": self.mode,
            "fingerprint": None if self.encoder is None else fingerprints_of(self.encoder),
            "instruction": (instruction, None) if is_default else instruction,
            **{name: (value, None) for name, value in fusion_of(self.mode).items()},
            **reranker_of(self.rerank, self.rerank_depth),
        }
        chosen = self.encoder is not None and index_type != "auto"
        return described | ({"index_type": index_type} if chosen else {})

    def score(self, task: RetrievalTask, engine: SearchEngine, *, split: str, index_type: str) -> Result:
        """The result, from `engine` or from an index of its own."""
        return evaluate(
            task,
            self.encoder if self.own_index else engine,
            split=split,
            mode=self.mode,
            instruction=self.instruction,
            index_type=index_type,
            rerank=self.rerank,
            rerank_depth=self.rerank_depth,
            progress=True,
        )


@dataclass(frozen=True)
class RunFile:
    """A TREC run of any system, and its name in results."""

    path: Path
    name: str

    def provenance(self, task: RetrievalTask, data: dict[str, Any], *, split: str, index_type: str) -> dict[str, Any]:
        """The file's hash, wherever it lies, and the judgements."""
        judgements = {"judgements": data["judgements"]} if "judgements" in data else {}
        return {"sha256": run_provenance(self.path)["sha256"]} | judgements

    def score(self, task: RetrievalTask, engine: SearchEngine, *, split: str, index_type: str) -> Result:
        """The run's result by the task's judgements."""
        return read_saved(SavedRun(self.name, self.path), judged_by_task(task, split))


def judged_by_task(task: RetrievalTask, split: str) -> Judged:
    """The judgements and the texts of a task's queries."""
    texts = {query.id: query.text for query in task.queries(split)}
    return Judged(task.name, task.qrels(split), texts, task.ignore_identical_ids)


def require_baselines(baselines: Sequence[Baseline]) -> None:
    """Raise DebaterError for a name among them that is no run and no model, before torch is imported."""
    for baseline in baselines:
        if isinstance(baseline, str | Path) and baseline != BM25 and not Path(baseline).is_file():
            try:
                require_model(baseline)
            except MissingError as error:
                is_bm25 = nearest(baseline, [BM25]) is not None
                error.hint = (
                    f"Did you mean {BM25}?" if is_bm25 else f"{error.hint} A baseline may also be {BM25} or a TREC run."
                )
                raise


def load_baselines(
    baselines: Sequence[Baseline], systems: Sequence[str], *, tasks: int, device: str = "auto"
) -> list[System]:
    """The systems that `baselines` name, loaded; BM25 is left out if it is among the `systems` that are scored anyway.

    Raises DebaterError if two systems have the same name, if a run file is named for several `tasks`, and for a model
    that cannot be loaded.
    """
    taken = set(systems)
    loaded: list[System] = []
    for baseline in baselines:
        if baseline == BM25 and BM25 in systems:
            continue
        one = _load(baseline, tasks, device)
        if isinstance(one, RunFile) and one.name in taken and one not in loaded:
            one = replace(one, name=f"{one.name} ({one.path})")
        if one.name in taken:
            raise InvalidError(
                f"Two of the systems to compare have the same name: {one.name}.", "Name each of them once."
            )
        taken.add(one.name)
        loaded.append(one)
    return loaded


def _load(baseline: Baseline, tasks: int, device: str) -> System:
    if not isinstance(baseline, str | Path):
        return Searcher(baseline, "dense", own_index=True)
    if baseline == BM25:
        return Searcher()
    if Path(baseline).is_file():
        if tasks > 1:
            raise one_task(baseline, tasks)
        path = Path(baseline)
        return RunFile(path, run_name(path))
    from debater_search.encoder import Encoder

    return Searcher(Encoder.load(str(baseline), device=device), "dense", own_index=True)
