"""kill -9 at a random moment of index, add, delete, update, compact, mine and eval.

The state is the one before or the one after, `verify` calls it sound, every vector is that of its own text, and the
same command goes on and ends as if it had never been killed.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from debater_search.errors import DebaterError
from debater_search.evaluation import Campaign as Evaluation
from debater_search.indexing import add, build, compact, delete, update
from debater_search.mining import MiningSettings, mine
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.campaign.trials import Outcome, child
from tests.campaign.truth import TOLERANCE, documents_of, fault_of
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus(40)
SHAPES: tuple[dict[str, Any], ...] = (
    {"type": "flat"}, {"type": "hnsw"}, {"type": "sq8"}, {"type": "flat", "all_steps": True},
    {"type": "flat", "dtype": "float16"},
)  # fmt: skip
LONGEST_CHAIN = 6


class Kills:
    """See the module."""

    name, target = "kills", 500

    def prepare(self, place: Path) -> None:
        """A changed index of each shape, a task, questions, and what mining and evaluating them undisturbed makes."""
        self._indexes = []
        for number, shape in enumerate(SHAPES[:4]):
            index = place / f"index{number}"
            build(CORPUS, FakeEncoder(), index, shard_size=15, **shape)
            add(index, [changed("n0"), changed("d5")], encoder=FakeEncoder())
            delete(index, ["d0"])
            self._indexes.append(index)
        self._questions = place / "train.jsonl"
        rows = [{"query": f"unique{i}. flies", "positive": document.content} for i, document in enumerate(CORPUS)]
        self._questions.write_text("".join(json.dumps(row) + "\n" for row in rows * 20), encoding="utf-8")
        self._task = place / "task"
        save_task(self._task)
        self._mine(place / "mined.jsonl")
        self._mined = (place / "mined.jsonl").read_bytes()
        self._evaluate(place / "results")
        self._evaluated = results_in(place / "results")
        self._seconds: dict[str, float] = {}

    def trial(self, random: Random, place: Path) -> Outcome:
        """Kill one of the commands one to three times, or a chain of changes."""
        kind = random.choice(["index", "index --force", *["changes"] * 4, "mine", "eval"])
        if kind == "changes":
            return self._changes(random, place)
        if kind.startswith("index"):
            return self._index(kind, random, place)
        work, path = (self._mine, place / "mined.jsonl") if kind == "mine" else (self._evaluate, place / "results")
        kills = sum(self._killed(kind, random, lambda: work(path)).killed for _ in range(random.randint(1, 3)))
        if kind == "mine" and path.exists() and path.read_bytes() != self._mined:
            return Outcome(kind, "an unfinished output has its name", kills)
        if kind == "eval" or not path.exists():
            ended = child(lambda: work(path))
            if ended.refused or ended.failure:
                return Outcome(kind, f"again: {ended.refused or ended.failure}", kills)
        same = path.read_bytes() == self._mined if kind == "mine" else results_in(path) == self._evaluated
        left = sorted(p.name for p in place.iterdir() if p.name not in ("mined.jsonl", "mined.md", "results"))
        failure = None if same else "another result"
        return Outcome(kind, failure or (f"left over: {left}" if left and path.is_dir() else None), kills)

    def _index(self, kind: str, random: Random, place: Path) -> Outcome:
        shape = random.choice(SHAPES)
        tolerance = 1e-3 if shape.get("dtype") == "float16" else TOLERANCE
        index, old = place / "index", by_id(CORPUS[:20])
        if kind == "index --force":
            build(CORPUS[:20], FakeEncoder(), index)

        def work() -> object:
            return build(CORPUS, FakeEncoder(), index, shard_size=15, force=kind == "index --force", **shape)

        kills = 0
        for _ in range(random.randint(1, 3)):
            kills += self._killed(kind, random, work).killed
            states = [by_id(CORPUS)] if kind == "index" else [old, by_id(CORPUS)]
            found = child(lambda states=states: state_fault(index, states, kind == "index", tolerance))
            if found.value or found.refused or found.failure:
                return Outcome(kind, found.value or found.refused or found.failure, kills)
            if kind == "index" and child(lambda: documents_of(index)).value:
                break  # it was faster than the kill
        else:
            ended = child(work)
            if ended.refused or ended.failure:
                return Outcome(kind, f"again: {ended.refused or ended.failure}", kills)
        ended = child(lambda: fault_of(index, by_id(CORPUS), tolerance=tolerance))
        return Outcome(kind, ended.value or ended.refused or ended.failure, kills)

    def _changes(self, random: Random, place: Path) -> Outcome:
        index = Path(shutil.copytree(random.choice(self._indexes), place / "index"))
        state = documents_of(index)
        kills, names = 0, []
        for _ in range(random.randint(1, LONGEST_CHAIN)):
            name, change, after = random_change(random, state)
            names.append(name)
            ended = self._killed(name, random, lambda change=change: change(index))
            kills += ended.killed
            if ended.refused or ended.failure:
                return Outcome("changes", f"{names}: {ended.refused or ended.failure}", kills)
            found = child(lambda state=state, after=after: state_fault(index, [state, after]))
            if found.value or found.refused or found.failure:
                return Outcome("changes", f"{names}: {found.value or found.refused or found.failure}", kills)
            state = child(lambda: documents_of(index)).value
        ended = child(lambda: change(index))  # the last one again
        if ended.refused or ended.failure:
            return Outcome("changes", f"{names}, again: {ended.refused or ended.failure}", kills)
        found = child(lambda: fault_of(index, after))
        left = [path.name for path in index.glob("*.tmp")]
        failure = found.value or found.refused or found.failure or (f"left over: {left}" if left else None)
        return Outcome("changes", failure and f"{names}: {failure}", kills)

    def _killed(self, kind: str, random: Random, work: Callable[[], object]) -> Any:
        """Do the work and kill it: at a step on the disk, or at a time within what it usually takes."""
        if random.random() < 0.5:
            return child(work, step=int(random.triangular(1, 400, 60)))
        usual = self._seconds.get(kind, 0.15)
        begun = time.monotonic()
        ended = child(work, after=random.uniform(0, 1.1 * usual))
        if not ended.killed:
            self._seconds[kind] = 0.8 * usual + 0.2 * (time.monotonic() - begun)
        return ended

    def _mine(self, output: Path) -> None:
        engine = SearchEngine.open(self._indexes[0], encoder=FakeEncoder())
        mine(self._questions, output, MiningSettings(negatives=3), engine=engine, force=True)
        engine.close()

    def _evaluate(self, output: Path) -> None:
        list(Evaluation([self._task], FakeEncoder(), baselines=["bm25"], output=output))


def changed(id: str, text: str = "Flutter took its place.") -> Document:
    """A document of other words."""
    return Document(id, text, "Changed", {"year": 50})


def by_id(documents: list[Document]) -> dict[str, Document]:
    """Documents by id."""
    return {document.id: document for document in documents}


Change = tuple[str, Callable[[Path], object], dict[str, Document]]


def random_change(random: Random, state: dict[str, Document]) -> Change:
    """A change of an index in this state: its name, the change, and the state after it."""
    name = random.choice(["add", "add", "delete", "update", "compact"])
    ids = [f"d{n}" for n in range(60)]
    if name == "add":
        new = [changed(id, f"Flutter took {id}, {random.choice('abc')}.") for id in random.sample(ids, 4)]
        return name, lambda index: add(index, new, encoder=FakeEncoder()), {**state, **by_id(new)}
    if name == "delete" and len(state) > 10:
        gone = random.sample(ids, 5)
        return name, lambda index: delete(index, gone), {id: d for id, d in state.items() if id not in gone}
    if name == "update":
        kept = [changed(d.id, f"{d.text} again") if random.random() < 0.3 else d for d in state.values()]
        corpus = [*random.sample(kept, max(1, len(kept) - 3)), changed(f"n{random.randrange(9)}x")]
        return name, lambda index: update(index, corpus, encoder=FakeEncoder()), by_id(corpus)
    return "compact", compact, state


def state_fault(
    index: Path, states: list[dict[str, Document]], unfinished: bool = False, tolerance: float = TOLERANCE
) -> str | None:
    """What is wrong with an index after a kill, when it must be in one of these states, or (if it may) no index yet."""
    try:
        found = documents_of(index)
    except DebaterError as error:
        return None if unfinished else f"it does not open: {error.message}"
    if found not in states:
        return f"it holds neither the documents before nor those after: {sorted(found)[:50]}"
    return fault_of(index, found, tolerance=tolerance)


def save_task(folder: Path) -> None:
    """A folder in BEIR layout: the corpus and a query for every fourth document."""
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": d.id, "title": d.title, "text": d.text} for d in CORPUS]
    queries = [{"_id": f"q{n}", "text": f"unique{n}. wing"} for n in range(0, 40, 4)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(0, 40, 4))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")


def results_in(folder: Path) -> Any:
    """What an evaluation found: metrics by model, and its run."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]
    runs = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.trec"))}
    return [(result["task"], result["model"], result["metrics"]) for result in results], runs
