"""The table of generated pages."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.reference import commands, errors, http, python

ROOT = Path(__file__).parents[2]


def settings() -> str:
    """All settings of training, from their schema."""
    from debater_search.schema import schema_reference
    from debater_search.training import TrainingSettings

    return f"""# Training settings

What a config file for `debater train` may say; made from the schema by `make reference`. A setting can be replaced on
the command line: `debater train configs/demo.yaml learning_rate=1e-4 loss.scale=20 data.0.weight=2`. Numbers in dotted
names count into a list. Paths of data and evaluation tasks are relative to the config file, `output` to the working
directory.

{schema_reference(TrainingSettings)}"""


def families() -> str:
    """What each family of models supports, from the tests' tables."""
    from docs.reference.families import table

    return table()


PAGES: dict[str, Callable[[], str]] = {
    "configs/REFERENCE.md": settings,
    "docs/site/reference/commands.md": commands.page,
    "docs/site/reference/http.md": http.page,
    "docs/site/reference/errors.md": errors.page,
    "docs/site/reference/families.md": families,
    "docs/site/reference/python/index.md": python.index,
    **{f"docs/site/reference/python/{name}.md": partial(python.page, name) for name in python.MODULES},
}
"""Each generated page, by its place in the repository, and what makes it."""
