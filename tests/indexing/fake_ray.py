"""The model that actors of test_ray.py load."""

import os
import signal
from pathlib import Path
from typing import Any

from tests.fakes import FakeEncoder


def load_fake(model: str, **_: Any) -> FakeEncoder:
    """What actors load: `deadly-FILE` kills its process once, `nan` gives NaN."""
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
    if model == "nan":
        encoder._bags = lambda texts: FakeEncoder._bags(encoder, texts) * float("nan")
    return encoder
