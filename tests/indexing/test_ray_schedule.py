"""What the Ray engine does with workers that are slow, die or find no room, on a Ray whose time is simulated."""

import math
from typing import Any

import pytest

from benchmarks.scale_simulation import SimulatedRay, crew_on
from debater_search.errors import UnavailableError
from debater_search.indexing import check_build
from debater_search.indexing.engines.ray import share_of_cpus


class Cluster(SimulatedRay):
    """Room for so many workers, the first of which dies on its first task, if asked to; none is added."""

    def __init__(self, room: int, *, first_dies: bool = False, gpus: int = 0) -> None:
        super().__init__(seconds=10, start=5, deaths=0.0, slow=1.0)
        self.room, self.first_dies, self.gpus, self.waited = room, first_dies, gpus, 0
        self.asked: list[dict[str, Any]] = []

    def nodes(self) -> list[dict[str, Any]]:
        gone = {"Alive": False, "Resources": {"CPU": 64.0}}
        head = {"Alive": True, "Resources": {"memory": 1.0}}
        machine = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": self.gpus}}
        return [gone, head, machine, machine]

    def remote(self, kind: type) -> Any:
        made = super().remote(kind)
        options = made.options
        made.options = lambda **asked: (self.asked.append(asked), options(**asked))[1]
        return made

    def _begin(self, actor: Any) -> int:
        name = super()._begin(actor)
        if not self.room:
            self._ends[name] = (math.inf, None)
        self.room -= bool(self.room)
        return name

    def _call(self, actor: Any, task: dict[str, Any]) -> int:
        self.deaths, self.seconds = (1.0, 1000.0) if self.first_dies else (0.0, 10.0)  # when others are idle
        self.first_dies = False
        return super()._call(actor, task)

    def wait(self, names: list[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        if all(math.isinf(self._ends[name][0]) for name in names):
            self.waited += 1
            assert self.waited < 5
            return [], names
        return super().wait(names, num_returns, timeout)


def test_every_shard_is_made_once_however_many_workers_die() -> None:
    ray = SimulatedRay(seconds=10, start=5, deaths=0.05, slow=3.0)
    made = [shard.number for shard in crew_on(ray, 400, 8).run()]
    assert sorted(made) == list(range(400))
    assert ray.died > 0


def test_documents_on_which_workers_die_again_and_again_are_named() -> None:
    ray = SimulatedRay(seconds=10, start=5, deaths=1.0, slow=1.0)
    with pytest.raises(UnavailableError, match=r"A worker died 4 times on documents 'd0' to 'd0'"):
        list(crew_on(ray, 10, 1).run())


def test_a_slow_worker_takes_fewer_shards_and_all_are_busy_to_the_end() -> None:
    ray = SimulatedRay(seconds=10, start=0, deaths=0.0, slow=3.0)
    assert len(list(crew_on(ray, 1000, 20).run())) == 1000
    assert ray.busy / 20 / ray.now > 0.6  # in equal shares all would wait for a slow worker: 0.33


def test_workers_that_the_cluster_has_no_room_for_keep_no_shard_waiting(caplog: pytest.LogCaptureFixture) -> None:
    made = [shard.number for shard in crew_on(Cluster(2), 30, 20).run()]
    assert sorted(made) == list(range(30))
    assert "The cluster has 8 CPUs for 20 workers: the others wait for room." in caplog.text


@pytest.mark.parametrize("shards", [3, 30])
def test_the_tasks_of_a_dead_worker_go_to_a_free_one_if_no_other_can_start(shards: int) -> None:
    ray = Cluster(2, first_dies=True)
    assert sorted(shard.number for shard in crew_on(ray, shards, 2).run()) == list(range(shards))
    assert ray.died == 1


def test_a_cluster_on_which_nothing_starts_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AssertionError):  # of the simulation: the crew waits for as long as it takes
        list(crew_on(Cluster(0), 3, 2).run())
    assert caplog.text.count("Has the cluster room? Each takes 4 CPUs of one machine.") == 1


def test_workers_share_the_cpus_and_machines_that_are_gone_or_have_none_do_not_count() -> None:
    ray = Cluster(2)
    list(crew_on(ray, 3, 2).run())
    assert ray.asked == [{"max_restarts": 0, "num_cpus": 4}] * 2


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UnavailableError, match=f"Nothing answers at {address}"):
        check_build("indexes/new", engine="ray", ray_address=address)


def test_gpus_that_are_not_used_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    list(crew_on(Cluster(2, gpus=8), 3, 2).run())
    assert "GPUs are not used" in caplog.text


@pytest.mark.parametrize(
    ("machines", "workers", "share"),
    [([4, 4, 4], 3, 4), ([4, 4, 4], 2, 4), ([4, 4, 8], 3, 4), ([64], 4, 16), ([2], 5, 1), ([], 1, 1), ([4, 4], 3, 2)],
)
def test_each_worker_has_as_many_threads_as_fit(machines: list[int], workers: int, share: int) -> None:
    assert share_of_cpus(machines, workers) == share
