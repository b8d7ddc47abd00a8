"""Cores, threads and memory: what this process may use, and what the libraries take."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok
from debater_search.terminal import size_in_words

_LITTLE_MEMORY = 2 * 10**9
_BUSY = 1.5
"""Waiting processes per core from which on a machine is called busy."""
_UNLIMITED = 1 << 60
_GROUPS = Path("/sys/fs/cgroup")


def gather(_: Asked) -> Iterator[Facts]:
    """Cores that this process may use, the threads that are set, memory and load."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield {"cores": os.cpu_count() or 1, "affinity": affinity, "quota": _quota(), "threads": _threads()}
    yield {"load": os.getloadavg()[0], "memory": _memory()}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Threads that are more, or fewer, than the cores; little memory; other programs at work."""
    if "cores" in facts:
        yield from _judge_threads(facts)
    if "load" in facts and "cores" in facts:
        cores = _usable(facts)
        if facts["load"] > _BUSY * cores:
            yield note("load", f"{facts['load']:.1f} processes want to run on {_cores(cores)}: all take longer.")
    if memory := facts.get("memory"):
        said = f"{size_in_words(memory['available'])} of {size_in_words(memory['total'])} are free"
        if memory["available"] < _LITTLE_MEMORY:
            yield note("memory", said + ".", "Close other programs, or raise the memory of the container.")
        else:
            yield ok("memory", said)


def _judge_threads(facts: Facts) -> Iterator[Finding]:
    cores, set_to = _usable(facts), facts["threads"]
    limited = "" if cores == facts["cores"] else f" of {facts['cores']}"
    if set_to == 0:
        yield note("threads", "OMP_NUM_THREADS is not a number of threads.", "unset OMP_NUM_THREADS")
    elif set_to is None and cores < facts["affinity"]:
        yield note(
            "threads",
            f"{_cores(cores)}{limited} may be used, and libraries start a thread for each that they see: threads wait "
            "for each other.",
            f"export OMP_NUM_THREADS={cores}",
        )
    elif set_to is not None and set_to > cores:
        yield note(
            "threads", f"OMP_NUM_THREADS asks for more threads than the {_cores(cores)}.", "unset OMP_NUM_THREADS"
        )
    elif set_to is not None and set_to < cores:
        yield note("threads", f"OMP_NUM_THREADS leaves some of the {_cores(cores)} unused.", "unset OMP_NUM_THREADS")
    else:
        yield ok("threads", f"{_cores(cores)}{limited}")


def _cores(number: int) -> str:
    return f"{number} core{'' if number == 1 else 's'}"


def _usable(facts: Facts) -> int:
    quota = facts["quota"]
    return int(facts["affinity"] if quota is None else min(facts["affinity"], max(1, round(quota))))


def _threads() -> int | None:
    """OMP_NUM_THREADS: None if it is not set, 0 if it is no number."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return None if not text else int(text) if text.isdecimal() else 0


def _quota() -> float | None:
    """The CPUs that the control group allows, None if it sets no limit."""
    for group in _own_groups("cpu"):
        with suppress(OSError, ValueError):  # version 2: "max 100000" or "200000 100000"
            limit, period = (group / "cpu.max").read_text().split()
            if limit != "max":
                return int(limit) / int(period)
        with suppress(OSError, ValueError):
            limit = (group / "cpu.cfs_quota_us").read_text()
            if int(limit) > 0:
                return int(limit) / int((group / "cpu.cfs_period_us").read_text())
    return None


def _memory() -> dict[str, int] | None:
    """Bytes of memory in total and free, of the machine or of the control group if that has fewer."""
    with suppress(OSError, KeyError, ValueError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        machine = {line[0]: int(line[1]) * 1024 for line in lines if len(line) > 1}
        total, available = machine["MemTotal:"], machine["MemAvailable:"]
        for group in _own_groups("memory"):
            for limit_name, used_name in (
                ("memory.max", "memory.current"),
                ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            ):
                with suppress(OSError, ValueError):  # "max" is no number
                    limit, used = (int((group / name).read_text()) for name in (limit_name, used_name))
                    if limit < min(total, _UNLIMITED):
                        total, available = limit, min(available, max(0, limit - used))
        return {"total": total, "available": available}
    return None


def _own_groups(controller: str) -> Iterator[Path]:
    """The control groups of this process, from its own up to the root, of version 2 and of version 1."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = _GROUPS / controller if controllers else _GROUPS
            own = root / path.lstrip("/")
            yield from (group for group in (own, *own.parents) if group.is_relative_to(root) and group.is_dir())
