"""The collections that an index has made and not yet removed: a file beside its manifest.

A name is written before the collection exists and crossed out after it is gone, so that a killed writer leaves none
that nobody knows of.
"""

import json
from pathlib import Path

from debater_search.errors import InvalidError
from debater_search.files import atomic
from debater_search.store.generations import COLLECTIONS_NAME
from debater_search.vectors.milvus.client import place_of
from debater_search.vectors.milvus.collection import Collection, is_name


def listed(folder: Path) -> list[Collection]:
    """The collections of an index; what is not a name of ours is left out."""
    try:
        entries = json.loads((folder / COLLECTIONS_NAME).read_text(encoding="utf-8"))
        found = [Collection(place_of(entry["uri"]), entry["collection"]) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InvalidError):
        return []
    return [place for place in found if is_name(place.name)]


def note(folder: Path, place: Collection) -> None:
    """Write down a collection that is about to be made."""
    _write(folder, [*listed(folder), place])


def remove(folder: Path, *gone: Collection) -> None:
    """Drop collections and cross them out."""
    for place in gone:
        place.drop()
    _write(folder, [place for place in listed(folder) if place not in gone])


def _write(folder: Path, places: list[Collection]) -> None:
    path = folder / COLLECTIONS_NAME
    if not places:
        path.unlink(missing_ok=True)
        return
    with atomic(path) as temporary:
        entries = [{"uri": place.uri, "collection": place.name} for place in places]
        temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
