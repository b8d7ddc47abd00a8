"""Bad rows and bad files of a corpus: several of them are told in one message, or all are left out."""

from collections.abc import Sequence
from pathlib import Path

from debater_search.data.files import called
from debater_search.errors import DebaterError

FIRST_ROWS, FIRST_FILES = 5, 10  # that a message names
LOOK_ON = 100_000  # good rows behind the first bad one that are looked through for more of them


class BadRows:
    """The bad rows of a table, as `read_rows` reports them.

    Unless they are skipped, the first one is not raised at once: the next rows are looked through for more. Streams are
    not looked through, since they may never end.
    """

    def __init__(self, path: str | Path, *, skip: bool = False, offer: str = "") -> None:
        """`offer` ends the hint of an error: what else the caller may do."""
        self.path, self.skip, self._offer = path, skip, offer
        self.count = 0
        self._errors: list[DebaterError] = []
        self._passed = 0
        self._look_on = Path(path).is_file()

    def __call__(self, error: DebaterError) -> None:
        """Note a bad row; raises DebaterError if no more of them are looked for."""
        self.count += 1
        if len(self._errors) < FIRST_ROWS:
            self._errors.append(error)
        if not self.skip and (len(self._errors) == FIRST_ROWS or not self._look_on):
            raise self.error()

    def allow(self) -> bool:
        """Whether a good row is read; it is not behind a bad one. Raises DebaterError if enough rows were seen."""
        if self.skip or not self._errors:
            return True
        self._passed += 1
        if self._passed == LOOK_ON:
            raise self.error()
        return False

    def finish(self) -> None:
        """Raise DebaterError if there were bad rows that are not to be skipped."""
        if self._errors and not self.skip:
            raise self.error()

    def error(self) -> DebaterError:
        """The error for all of them."""
        first = self._errors[0]
        message = first.message if len(self._errors) == 1 else f"{self.described()}."
        return type(first)(message, f"{first.hint}\n{self._offer}".rstrip())

    def described(self) -> str:
        """Where the first bad rows are and what is wrong with them: `c.jsonl, lines 2 and 7: this is not JSON`."""
        prefix = f"{called(self.path)}, "
        places: dict[str, list[str]] = {}
        for error in self._errors:
            place, _, reason = error.message.removeprefix(prefix).partition(": ")
            places.setdefault(reason.rstrip("."), []).append(place)
        found = "; ".join(f"{_several(where)}: {reason}" for reason, where in places.items())
        more = "; there may be more" if len(self._errors) == FIRST_ROWS and not self.skip else ""
        return f"{prefix}{found}{more}"


def bad_files(errors: Sequence[DebaterError], folder: Path, offer: str = "") -> DebaterError:
    """The error for all files of a folder that cannot be read; `offer` ends its hint."""
    hints = {error.message.rpartition(": ")[2]: error.hint for error in reversed(errors)}  # one for each reason
    hint = "\n".join([*dict.fromkeys(reversed(hints.values())), offer]).rstrip()
    if len(errors) == 1:
        return type(errors[0])(errors[0].message, hint)
    prefix = f"{called(folder)}/"
    named = [error.message.replace(prefix, "", 1).rstrip(".") for error in errors[:FIRST_FILES]]
    more = f"; and {len(errors) - FIRST_FILES:,} more" if len(errors) > FIRST_FILES else ""
    return type(errors[0])(
        f"{len(errors):,} files of {called(folder)} cannot be read: {'; '.join(named)}{more}.",
        hint,
    )


def _several(places: Sequence[str]) -> str:
    """`line 2` and `line 7` as `lines 2 and 7`."""
    if len(places) == 1:
        return places[0]
    unit = places[0].partition(" ")[0]
    numbers = [place.removeprefix(f"{unit} ") for place in places]
    return f"{unit}s {', '.join(numbers[:-1])} and {numbers[-1]}"
