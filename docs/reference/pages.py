"""The table of generated pages."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.reference import commands, errors, http, python, settings

ROOT = Path(__file__).parents[2]


def families() -> str:
    """What each family of models supports, from the tests' tables."""
    from docs.reference.families import table

    return table()


PAGES: dict[str, Callable[[], str]] = {
    "configs/REFERENCE.md": settings.page,
    "docs/site/reference/commands.md": commands.page,
    "docs/site/reference/http.md": http.page,
    "docs/site/reference/errors.md": errors.page,
    "docs/site/reference/families.md": families,
    "docs/site/reference/python/index.md": python.index,
    **{f"docs/site/reference/python/{name}.md": partial(python.page, name) for name in python.MODULES},
}
"""Each generated page, by its place in the repository, and what makes it."""
