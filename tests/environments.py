"""Environments of their own for what users install, which borrow the libraries of the one that runs the tests."""

import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def packages(self) -> Path:
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))


def environment(folder: Path) -> Environment:
    """Make an environment in `folder` with pip and, behind its own packages, those of this one, such as torch.

    What is only linked here, as debater is in a clone, is not borrowed.
    """
    venv.create(folder, with_pip=True)
    made = Environment(folder)
    (made.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made
