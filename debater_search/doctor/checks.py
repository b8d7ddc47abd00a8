"""The table of checks. Each is a module with `gather`, which finds facts, and `judge`, which says what they mean."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module

from debater_search.doctor.finding import Asked, Finding, problem
from debater_search.doctor.probe import Probe


def _always(_: Asked) -> bool:
    return True


@dataclass(frozen=True)
class Check:
    """One kind of check.

    `module` has `gather(asked)`, an iterator over facts that runs in a process of its own, and `judge(facts, asked)`,
    which must do with the facts that came before a crash. `remedy` is what to do if the gathering fails.
    """

    subject: str
    module: str
    remedy: str = ""
    seconds: float = 60
    when: Callable[[Asked], bool] = _always


def _ours(name: str) -> str:
    return f"debater_search.doctor.{name}"


CHECKS: tuple[Check, ...] = (
    Check("versions", _ours("versions"), "pip install --force-reinstall debater-search"),
    Check("machine", _ours("machine")),
    Check("torch", _ours("pytorch"), "pip install --force-reinstall torch", 180),
    Check("flash-attn", _ours("flash"), "pip uninstall flash-attn", 180),
    Check("faiss", _ours("faiss_library"), "pip install --force-reinstall --no-deps faiss-cpu"),
    Check("sqlite", _ours("sqlite"), "Install a Python whose SQLite is complete."),
    Check("folder", _ours("place"), "Keep indexes on a local disk."),
    Check("cache", _ours("caches")),
    Check("index", _ours("index"), "debater verify INDEX --repair", 180, lambda asked: asked.index is not None),
    Check(
        "model",
        _ours("model"),
        "Try the bundled one: debater doctor --model debater-small",
        600,
        lambda asked: asked.model is not None,
    ),
    Check("online", _ours("online"), "", 60, lambda asked: asked.online),
)


def examine(asked: Asked, checks: Sequence[Check] | None = None) -> Iterator[Finding]:
    """Run all checks of the table, or `checks`, at the same time.

    Their findings come in the order of the table, each as soon as it is there. None names a path above the home and the
    working directory, nor the value of an environment variable.
    """
    chosen = [check for check in (CHECKS if checks is None else checks) if check.when(asked)]
    with ExitStack() as stack:
        probes = []
        for check in chosen:
            probe = Probe(check.module, asked, check.seconds)
            stack.callback(probe.stop)
            probes.append(probe)
        for check, probe in zip(chosen, probes, strict=True):
            facts, failure = probe.result()
            for finding in import_module(check.module).judge(facts, asked):
                yield finding.without_private_paths()
            if failure is not None:
                remedy = failure.hint or check.remedy
                yield problem(check.subject, failure.message, remedy).without_private_paths()
