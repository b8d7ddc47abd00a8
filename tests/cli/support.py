"""How the tests of the command line run it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import FakeEncoder

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import sys; from debater_search.cli import main; sys.exit(main())"]


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Debater = Callable[..., Outcome]


class FakeModel(FakeEncoder):
    """As evaluation sees a model."""

    trained_with_instructions = False
