"""Writers and readers on one index at the same time: each answer is of exactly one committed state.

Writers log what each commit did; from that the state of every generation is made again, and each answer compared with
the state of the generation that it names.
"""

import json
import time
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

from debater_search.errors import BusyError
from debater_search.indexing import add, build, compact, delete, verify
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.campaign.kills import CORPUS, by_id, changed
from tests.campaign.trials import Outcome, finish, start
from tests.campaign.truth import QUERIES, TOLERANCE, expected_scores, fault_of
from tests.fakes import FakeEncoder

SECONDS = 10.0
WRITERS, READERS, THREADS = 2, 2, 2
State = dict[str, Document]


class Concurrency:
    """See the module; an input is a second."""

    name, target = "concurrency", 60

    def prepare(self, place: Path) -> None:
        """The index that trials begin with."""
        self._original = place / "index"

    def trial(self, random: Random, place: Path) -> Outcome:
        """Several processes for SECONDS; afterwards all that they saw is checked."""
        index = place / "index"
        build(CORPUS, FakeEncoder(), index, shard_size=15)
        until = time.time() + SECONDS
        seeds = [random.random() for _ in range(WRITERS + READERS)]
        works = [
            *(lambda seed=seed: _write(index, Random(seed), until) for seed in seeds[:WRITERS]),
            *(lambda seed=seed: _read(index, Random(seed), until) for seed in seeds[WRITERS:]),
        ]
        ended = [finish(*running, patience=SECONDS + 60) for running in [start(work) for work in works]]
        if failed := [found.refused or found.failure for found in ended if found.refused or found.failure]:
            return Outcome("10 s", str(failed[0]), int(SECONDS))
        commits = sorted((commit for found in ended[:WRITERS] for commit in found.value), key=lambda c: int(c[0]))
        answers = [answer for found in ended[WRITERS:] for answer in found.value]
        states = _states(commits)
        what = f"10 s: {WRITERS} writers, {READERS} x {THREADS} readers"
        if sorted(states) != list(range(len(states))):
            return Outcome(what, f"generations are missing: {sorted(states)[:20]}", int(SECONDS))
        failure = next((fault for answer in answers if (fault := _fault(answer, states))), None)
        failure = failure or fault_of(index, states[max(states)])
        seen = {answer[0] for answer in answers}
        print(json.dumps({"commits": len(commits), "answers": len(answers), "generations seen": len(seen)}))
        return Outcome(what, failure, int(SECONDS))


Commit = tuple[int, str, list[Any]]
Seen = tuple[int, str, str, list[tuple[str, float]]]


def _write(index: Path, random: Random, until: float) -> list[Commit]:
    """Change the index until the time is up; what each commit did, in documents."""
    commits: list[Commit] = []
    while time.time() < until:
        name = random.choice(["add", "add", "delete", "compact"])
        ids = [f"d{n}" for n in random.sample(range(60), 4)]
        new = [changed(id, f"Flutter took {id}, {random.randrange(1000)}.") for id in ids]
        try:
            if name == "add":
                done = add(index, new, encoder=FakeEncoder())
            elif name == "delete":
                done = delete(index, ids[:2])
            else:
                done = compact(index)
        except BusyError:
            time.sleep(0.01)
            continue
        commits.append((done.generation, name, new if name == "add" else ids[:2]))
        time.sleep(random.uniform(0, 0.05))
    return commits


def _read(index: Path, random: Random, until: float) -> list[Seen]:
    """Ask in several threads, with one engine or a fresh one; what was answered."""
    shared = SearchEngine.open(index, encoder=FakeEncoder())
    seen: list[Seen] = []
    failed: list[BaseException] = []

    def ask(random: Random) -> None:
        try:
            while time.time() < until and not failed:
                fresh = random.random() < 0.2
                engine = SearchEngine.open(index, encoder=FakeEncoder()) if fresh else shared
                if fresh:
                    time.sleep(random.uniform(0, 0.1))  # the model is loaded
                    if random.random() < 0.5:
                        engine.warm_up(model=False)
                query, mode = random.choice(QUERIES), random.choice(["dense", "lexical", "hybrid"])
                answer = engine.answer(query, random.choice([5, 100]), mode=mode)
                seen.append((answer.generation, query, mode, [(hit.id, hit.score) for hit in answer.hits]))
                if any(hit.id != "d0" and not hit.text for hit in answer.hits):
                    raise AssertionError("a hit has no text")
                if fresh:
                    engine.close()
                verify(index) if random.random() < 0.01 else None
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=ask, args=(Random(random.random()),)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return seen


def _states(commits: list[Commit]) -> dict[int, State]:
    """The documents of every generation."""
    states = {0: by_id(CORPUS)}
    for generation, name, what in commits:
        before = states.get(generation - 1, states.get(generation))
        if generation in states or before is None:  # nothing was changed
            continue
        if name == "add":
            states[generation] = {**before, **by_id(what)}
        elif name == "delete":
            states[generation] = {id: document for id, document in before.items() if id not in what}
        else:
            states[generation] = before
    return states


def _fault(seen: Seen, states: dict[int, State]) -> str | None:
    """How an answer differs from the state that it names."""
    generation, query, mode, hits = seen
    if generation not in states:
        return f"an answer of generation {generation}, which nobody committed"
    documents = states[generation]
    if strangers := [id for id, _ in hits if id not in documents]:
        return f"{strangers} are hits of generation {generation} and not in it"
    if mode != "dense":
        return None
    expected = expected_scores(documents, query)
    best = sorted(expected.values(), reverse=True)[: len(hits)]
    if wrong := [id for id, score in hits if abs(score - expected[id]) > TOLERANCE]:
        return f"{wrong[0]} has the score of another generation than {generation}"
    if any(abs(score - right) > TOLERANCE for (_, score), right in zip(hits, best, strict=True)):
        return f"better documents of generation {generation} are missing"
    return None
