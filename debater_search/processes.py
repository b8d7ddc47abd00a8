"""Several processes on one machine: what each of them is told of the others."""

import os

_THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")  # PyTorch's and the tokenizers'


def share_of_threads(processes: int) -> dict[str, str]:
    """Environment variables that give each of `processes` its share of the cores; what the user has set stays."""
    share = str(max(1, (os.cpu_count() or 1) // processes))
    return {name: share for name in _THREADS if name not in os.environ}
