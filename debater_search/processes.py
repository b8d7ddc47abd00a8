"""Several processes: what each of them is told of the others."""

import os

_THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")  # PyTorch's and the tokenizers'


def in_a_group() -> bool:
    """Whether torchrun, or `training.launch`, has started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_main_process() -> bool:
    """Whether this process reports: alone, or as the first of its group.

    Examples:
        >>> from debater_search.training import is_main_process
        >>> is_main_process()  # no torchrun here
        True
    """
    return not in_a_group() or os.environ["RANK"] == "0"


def share_of_threads(processes: int) -> dict[str, str]:
    """Environment variables that give each of `processes` its share of the cores; what the user has set stays."""
    share = str(max(1, (os.cpu_count() or 1) // processes))
    return {name: share for name in _THREADS if name not in os.environ}
