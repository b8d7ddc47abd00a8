"""The collection that comes along."""

from pathlib import Path

CRANFIELD = "cranfield"
"""Its name as a task."""


def cranfield() -> Path:
    """The folder of Cranfield, a collection in BEIR layout: in an installed package, or among the repository's data."""
    package = Path(__file__).parents[1]
    inside = package / "cranfield"
    return inside if inside.is_dir() else package.parent / "data" / "cranfield"
