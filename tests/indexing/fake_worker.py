"""A worker as `pool` starts it, with a fake model that waits or dies at a word: see test_workers.py."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from debater_search.indexing.engines.worker import main
from debater_search.progress import Progress
from debater_search.types import Document
from tests.fakes import FakeEncoder


class Troubled(FakeEncoder):
    def deliberate(self, texts: Sequence[str | Document], *, progress: bool | Progress = False) -> np.ndarray:
        vectors = super().deliberate(texts, progress=progress)
        if any(f" {os.environ.get('AT')} " in str(text) for text in texts):
            trouble, _, file = os.environ["TROUBLE"].partition(" ")
            with Path(file).open("a", encoding="utf-8") as log:
                log.write(f"{os.getpid()}\n")
            if trouble == "die" or (trouble == "die-once" and len(Path(file).read_text().split()) == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble == "nan":
                vectors[0] = np.nan
            if trouble == "hang":
                time.sleep(600)
        return vectors


# In the place of the module that would import torch.
sys.modules["debater_search.encoder"] = SimpleNamespace(  # type: ignore[assignment]
    Encoder=SimpleNamespace(load=lambda **recipe: Troubled(recipe["model"]))
)
main()
