"""The scheduler of Ray's engine over many shards, in simulated time: `python benchmarks/scale_simulation.py [SHARDS]`

It is the code that runs on a cluster (`indexing/engines/ray.py`), on a Ray whose actors are slow or die and whose time
is a number. 10^6 shards take minutes.
"""

import itertools
import logging
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from debater_search.indexing.engines.ray import _Crew
from debater_search.indexing.tasks import EncodingTask
from debater_search.progress import Progress


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


class SimulatedRay:
    """As much of Ray as the engine calls: actors take tasks in turn, some are slow, some die; time is a number."""

    class ActorDiedError(Exception):
        cause = None

    class TaskFailedError(Exception):
        pass

    def __init__(self, seconds: float, start: float, deaths: float, slow: float, seed: int = 0) -> None:
        self.seconds, self.start, self.deaths, self.slow = seconds, start, deaths, slow
        self.random = np.random.default_rng(seed)
        self.now, self.busy, self.died = 0.0, 0.0, 0
        self.exceptions = SimpleNamespace(
            RayActorError=self.ActorDiedError, ObjectLostError=self.ActorDiedError, RayTaskError=self.TaskFailedError
        )
        self._names = itertools.count()
        self._ends: dict[int, tuple[float, Any]] = {}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, _: type) -> Any:
        def made(*_: Any) -> Any:
            actor = SimpleNamespace(free=self.now + self.start, dead=False, factor=self._factor())
            actor.encode = SimpleNamespace(remote=lambda task: self._call(actor, task))
            actor.ready = SimpleNamespace(remote=lambda: self._begin(actor))
            return _Hashable(actor)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=made))

    def _factor(self) -> float:
        """How much slower than usual a machine is: one in twenty by `slow`."""
        return self.slow if self.random.random() < 0.05 else 1.0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1e6}}]

    def _begin(self, actor: Any) -> int:
        name = next(self._names)
        self._ends[name] = (actor.free, None)
        return name

    def _call(self, actor: Any, task: dict[str, Any]) -> int:
        name = next(self._names)
        begin = max(self.now, actor.free)
        took = self.seconds * actor.factor * float(self.random.lognormal(0, 0.1))
        if actor.dead or self.random.random() < self.deaths:
            end = begin if actor.dead else begin + took * float(self.random.random())
            actor.dead = True
            self._ends[name] = (end, self.ActorDiedError("died"))
        else:
            end = begin + took
            self.busy += took / actor.factor
            info = {"file": f"shard-{task['number']:05d}.parquet", "rows": len(task["ids"]), "sha256": ""}
            self._ends[name] = (end, {"shard": info, "filled": 0})
        actor.free = end
        return name

    def wait(self, names: list[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        first = min(names, key=lambda name: self._ends[name][0])
        self.now = max(self.now, self._ends[first][0])
        return [first], []

    def get(self, name: int) -> Any:
        _, value = self._ends.pop(name)
        if isinstance(value, Exception):
            self.died += 1
            raise value
        return value

    def kill(self, actor: Any) -> None:
        pass


class _Hashable:
    def __init__(self, actor: SimpleNamespace) -> None:
        self.encode, self.ready = actor.encode, actor.ready


def crew_on(ray: SimulatedRay, shards: int, workers: int) -> _Crew:
    """The engine's scheduler on a simulated Ray, with shards of one text."""
    encoder: Any = SimpleNamespace(recipe={"model": "debater-small"}, dtype="float32", fingerprint="", device="cpu")
    writer: Any = SimpleNamespace(place=SimpleNamespace(remote=True), dim=384, dtype="float32", thinking_steps=0)
    tasks = (EncodingTask(number, [f"d{number}"], ["text"]) for number in range(shards))
    bar = Progress("Encoding", None, "documents", enabled=False)
    return _Crew(ray, tasks, encoder, writer, workers, None, bar)


def main() -> None:
    """Hours, and the share of the machines' time that is lost to failures and slow machines; 60 s a shard."""
    shards = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    logging.disable(logging.WARNING)  # of each actor that dies
    row("shards", "workers", "deaths per shard", "slow machines", "hours", "ideal hours", "lost", "actors that died")
    for workers, deaths, slow in (
        (64, 0.0, 1.0), (64, 1e-4, 1.0), (64, 1e-3, 1.0), (64, 0.0, 3.0), (64, 1e-3, 3.0), (512, 1e-3, 3.0),
    ):  # fmt: skip
        ray = SimulatedRay(seconds=60, start=60, deaths=deaths, slow=slow)
        assert sum(1 for _ in crew_on(ray, shards, workers).run()) == shards
        ideal = ray.busy / workers
        machines = "none" if slow == 1 else f"5%, {slow:.0f} times slower"
        times = (f"{ray.now / 3600:.1f}", f"{ideal / 3600:.1f}", f"{1 - ideal / ray.now:.2%}")
        row(f"{shards:,}", workers, deaths, machines, *times, ray.died)


if __name__ == "__main__":
    main()
