"""Random bytes of an index's files flipped, zeroed, cut off, put in or removed.

A search refuses in a sentence or is right; what it answers wrongly `verify` finds; a repair is exact or refused.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, delete, verification, verify
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.campaign.kills import CORPUS, changed
from tests.campaign.trials import Outcome, child
from tests.campaign.truth import documents_of, fault_of
from tests.fakes import FakeEncoder

SHAPES: tuple[dict[str, Any], ...] = (
    {"type": "flat"}, {"type": "hnsw"}, {"type": "sq8"}, {"type": "flat", "all_steps": True}
)  # fmt: skip


class Damage:
    """See the module."""

    name, target = "damage", 1000

    def prepare(self, place: Path) -> None:
        """An index of each shape, with additions and deletions."""
        verification.load_again = lambda *_, **__: FakeEncoder()  # type: ignore[assignment]
        self._indexes = []
        for number, shape in enumerate(SHAPES):
            index = place / f"index{number}"
            build(CORPUS, FakeEncoder(), index, shard_size=15, **shape)
            add(index, [changed("n0"), changed("d5")], encoder=FakeEncoder())
            delete(index, ["d0"])
            self._indexes.append(index)
        self._documents = documents_of(self._indexes[0])

    def trial(self, random: Random, place: Path) -> Outcome:
        """Damage one file in one way."""
        index = Path(shutil.copytree(random.choice(self._indexes), place / "index"))
        path = random.choice(sorted(path for path in index.rglob("*") if path.is_file()))
        damage = random.choice(DAMAGES)
        before = path.read_bytes()
        damage(path, random)
        same = path.is_file() and path.read_bytes() == before
        where = f"{damage.__name__} of {path.relative_to(index)}"
        ended = child(lambda: self._seen(index))
        if ended.failure:
            return Outcome("crash", f"{where}: {ended.failure}")
        sound, wrong, repaired = ended.value
        if repaired:
            return Outcome("repair", f"{where}: {repaired}")
        if wrong and sound:
            return Outcome("served, called sound", f"{where}: {wrong}")
        if wrong:
            return Outcome("answered wrongly, found by verify", note=f"{where}: {wrong}")
        if same:
            return Outcome("the same bytes")
        return Outcome("found by verify" if not sound else "harmless: all is answered rightly")

    def _seen(self, index: Path) -> tuple[bool, str | None, str | None]:
        """Whether verify calls the index sound, what a search answers wrongly, and what is wrong after a repair."""
        sound = _or_refused(lambda: verify(index).sound, False)
        wrong = _or_refused(lambda: _wrong(index, self._documents), None)
        if sound:
            return sound, wrong, None
        try:
            repaired = verify(index, repair=True)
        except DebaterError:
            return sound, wrong, None
        if not repaired.sound:
            return sound, wrong, f"not repaired: {set(repaired.damaged) - set(repaired.repaired)}"
        try:
            return sound, wrong, fault_of(index, self._documents)
        except DebaterError as error:
            return sound, wrong, f"it does not open: {error.message}"


def _wrong(index: Path, documents: dict[str, Document]) -> str | None:
    fault = fault_of(index, documents, checked=False)
    if fault is None:
        engine = SearchEngine.open(index, encoder=FakeEncoder())
        try:  # what reads the shards
            expected = sorted(documents)
            found = sorted(hit.id for hit in engine.search("wing", len(expected), explain=True))
            fault = None if found == expected else f"explained hits are {found}"
            engine.more_like("d7")
        finally:
            engine.close()
    return fault


def _or_refused(work: Callable[[], Any], refused: Any) -> Any:
    try:
        return work()
    except DebaterError:
        return refused


def flip(path: Path, random: Random) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def scramble(path: Path, random: Random) -> None:
    """Several bytes in a row."""
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) + 1)
    content[start : start + random.randint(1, 64)] = random.randbytes(random.randint(1, 64))
    path.write_bytes(content)


def zero(path: Path, random: Random) -> None:
    """A block, as after a power cut."""
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) + 1) // 512 * 512
    length = len(content[start : start + 4096])
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def truncate(path: Path, random: Random) -> None:
    """The end is missing."""
    os.truncate(path, random.randrange(path.stat().st_size + 1))


def append(path: Path, random: Random) -> None:
    """More than was written."""
    with path.open("ab") as file:
        file.write(random.randbytes(random.randint(1, 100)))


def remove(path: Path, random: Random) -> None:
    """No file."""
    path.unlink()


def replace_by_folder(path: Path, random: Random) -> None:
    """A folder in its place."""
    path.unlink()
    path.mkdir()


def fifo(path: Path, random: Random) -> None:
    """What waits for a writer when it is opened."""
    path.unlink()
    os.mkfifo(path)


def letter(path: Path, random: Random) -> None:
    """A letter or digit becomes another one: what a hash alone can see."""
    content = bytearray(path.read_bytes())
    places = [n for n, byte in enumerate(content) if chr(byte).isalnum() and byte < 128]
    if places:
        place = random.choice(places)
        digit = chr(content[place]).isdigit()
        content[place] = ord(random.choice("0123456789" if digit else "abcdefghijklmnopqrstuvwxyz"))
    path.write_bytes(content)


DAMAGES: tuple[Callable[[Path, Random], None], ...] = (
    flip, flip, scramble, zero, truncate, append, remove, replace_by_folder, fifo, letter, letter
)  # fmt: skip
