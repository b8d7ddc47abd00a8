"""What the Ray engine does with workers that are slow or die, on a Ray whose time is simulated."""

import pytest

from benchmarks.scale_simulation import SimulatedRay, crew_on
from debater_search.errors import UnavailableError


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
