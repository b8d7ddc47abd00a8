"""The model that actors of test_ray.py load."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.fakes import FakeEncoder


def load_fake(model: str, **_: Any) -> FakeEncoder:
    """What actors load: `deadly-FILE` kills its process once, `slow-FILE` never ends, `nan` gives NaN."""
    encoder = FakeEncoder(model)
    if model.startswith("deadly-"):
        marker = Path(model.removeprefix("deadly-"))
        real = encoder.deliberate_windows

        def deadly(*arguments: Any, **options: Any) -> Any:
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        encoder.deliberate_windows = deadly
    if model.startswith("slow-"):
        encoder.deliberate_windows = lambda *_, **__: _wait_for_ever(Path(model.removeprefix("slow-")))
    if model == "nan":
        encoder._bags = lambda texts: FakeEncoder._bags(encoder, texts) * float("nan")
    return encoder


def _wait_for_ever(marker: Path) -> Any:
    marker.touch()
    while True:
        time.sleep(1)
