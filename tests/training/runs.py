"""Folders of training runs."""

import shutil
from pathlib import Path


def unfinished(folder: Path) -> Path:
    """A run's folder as if it had been killed before its last step."""
    (folder / "debater.json").unlink()
    shutil.rmtree(max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2])))
    return folder
