"""Which fields of a row are its id, its title, its text and its lists: by well-known names, or as the caller says.

A table with an id and a text under the names of BEIR and Anserini (`coerce`) is read by these names alone. Any other is
read by the first group of names below of which it has a column; small and capital letters, blanks and hyphens in a name
do not matter.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from debater_search.coerce import ID_FIELDS, TEXT_FIELDS, TITLE_FIELD, filled, is_missing, plain_number
from debater_search.errors import InvalidError

logger = logging.getLogger(__name__)

KNOWN: dict[str, tuple[tuple[str, ...], ...]] = {
    "id": (
        ("_id",),
        ("id",),
        ("docid", "doc_id", "document_id"),
        ("sku", "product_id", "item_id", "article_id"),
        ("uuid", "guid"),
        ("key",),
        ("url", "link"),
    ),
    "title": (("title",), ("name",), ("heading", "headline", "subject")),
    "text": (("text",), ("contents",), ("content", "body", "passage"), ("abstract",), ("description",), ("summary",)),
}
"""The names of each role, the preferred ones first; two columns of one group are ambiguous."""

LISTS = {"list": ("|", ";"), "comma-list": (",",)}
"""Roles of fields whose texts are lists, and what separates the elements: the first of these that a text contains."""

NUMBERS = "number"
"""The role of fields whose texts are numbers where they spell one; what spells none stays a text."""

_PLAIN = {"id": ID_FIELDS, "title": (TITLE_FIELD,), "text": TEXT_FIELDS}
_SHOWN, _CHARACTERS = 10, 40  # fields in a sentence, and characters of each
LOOKED_AT = 100  # rows whose names of fields are looked at, where rows may have different ones

Columns = Mapping[str, str | Sequence[str]]
"""What a caller says: the columns of each role, such as {"id": "sku", "text": ["name", "notes"], "list": "tags"}."""


@dataclass(frozen=True)
class Roles:
    """The fields of each role. The first that has a value counts; but all of `text` together if it is `joined`.

    `lists` are the fields of each role of `LISTS`. They are metadata, also those that are in the text, and so are
    `numbers`.
    """

    id: tuple[str, ...] = ID_FIELDS
    title: tuple[str, ...] = (TITLE_FIELD,)
    text: tuple[str, ...] = TEXT_FIELDS
    joined: bool = False
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    numbers: tuple[str, ...] = ()

    def fields(self) -> tuple[str, ...]:
        """All fields that have a role, but for numbers."""
        return (*self.id, *self.title, *self.text, *(name for _, names in self.lists for name in names))

    def texts(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields that the text of a row is read from; `together` joins them."""
        name = None if self.joined else filled(fields, self.text)
        return tuple(name for name in self.text if name in fields) if self.joined else (name,) if name else ()

    def used(self, fields: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The fields of a row that are its id, title and text, and so no metadata."""
        used = (filled(fields, self.id), *self.title, *self.texts(fields))
        kept = {*self.numbers, *(name for _, names in self.lists for name in names)}
        return tuple(name for name in used if name not in kept) if kept else used

    def converted(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row whose lists are lists and whose numbers are numbers, also where the row holds texts.

        A text is cut into the elements of its list, and no value is an empty list. A text that spells no number stays.
        """
        if not self.lists and not self.numbers:
            return fields
        signs = {name: LISTS[role] for role, names in self.lists for name in names if name in fields}
        numbers = {name: _number(fields[name]) for name in self.numbers if name in fields}
        return {**fields, **{name: _elements(fields[name], signs[name]) for name in signs}, **numbers}

    def fit(self, names: Collection[str]) -> bool:
        """Whether a row with these fields has an id and a text."""
        return not self.absent(names)

    def absent(self, names: Collection[str]) -> list[str]:
        """Which of id and text a row with these fields does not have."""
        needed = {"id": self.id, "text": self.text}
        return [role for role, own in needed.items() if not any(name in names for name in own)]

    def renamed(self) -> dict[str, list[str]]:
        """The roles that other fields than the usual ones have; `ColumnChoice` takes this as what a caller says."""
        fields = {"id": self.id, "title": self.title, "text": self.text, **dict(self.lists), NUMBERS: self.numbers}
        return {role: list(names) for role, names in fields.items() if names and names != _PLAIN.get(role)}

    def sentence(self, names: Iterable[str]) -> str:
        """What is read as what, of a table with columns of these names: `Read sku as id, …; price is a field.`"""
        read = ", ".join(f"{' and '.join(map(_short, taken))} as {role}" for role, taken in self.renamed().items())
        rest = [name for name in names if name not in {*self.fields(), *self.numbers}]
        fields = shown(rest) + (" is a field" if len(rest) == 1 else " are fields") if rest else ""
        return f"Read {read}{'; ' if rest else ''}{fields}."


PLAIN = Roles()


def together(texts: Sequence[str]) -> str:
    """One text out of several, as paragraphs; blank ones are left out."""
    return texts[0] if len(texts) == 1 else "\n\n".join(text for text in texts if text.strip())


class ColumnChoice:
    """What the columns of a corpus are: as the caller says, as an index remembers, or by their names.

    `columns` is what was chosen where it is not the usual names, for an index to remember.
    """

    def __init__(self, given: Columns | None = None, kept: Columns | None = None, *, can_be_given: bool = True) -> None:
        """`given` must be there in every table; `kept` counts only in tables that have these columns of id and text.

        `can_be_given` is whether messages may tell the caller to name columns. Raises InvalidError if `given` does not
        map roles to columns.
        """
        self._given, self._kept = as_columns({} if given is None else given), as_columns(kept or {})
        self._can_be_given = can_be_given
        self._told: set[str] = set()
        self.columns: dict[str, list[str]] = {}

    def is_plain(self, names: Collection[str]) -> bool:
        """Whether a table is read by the usual names, whatever fields come in later rows."""
        return not self._given and not self._kept and PLAIN.fit(names)

    def roles(self, names: Collection[str], where: str) -> Roles:
        """The roles of the columns of a table, whose first row is at `where`.

        Roles for which no column fits keep the usual names, as reading the row will tell. Raises InvalidError if a
        column that the caller names is missing, or if two columns fit equally well.
        """
        said = self._said(names, where)
        if not said and PLAIN.fit(names):
            return PLAIN
        taken = {name for role, columns in said.items() if role in KNOWN for name in columns}
        free = [name for name in names if name not in taken]
        may_be = {"id": list(names), "title": free, "text": free}  # an id may be a part of the text
        id, title, text = (tuple(said.get(role) or self._known(role, may_be[role], where)) for role in KNOWN)
        lists = tuple((role, tuple(said[role])) for role in LISTS if role in said)
        joined, numbers = len(said.get("text", ())) > 1, tuple(said.get(NUMBERS, ()))
        return Roles(id or ID_FIELDS, title, text or TEXT_FIELDS, joined, lists, numbers)

    def says(self, names: Collection[str]) -> bool:
        """Whether a table has the columns that the caller or the index names, and so an id and a text."""
        try:
            return bool(self._said(names, "")) and self.fits(names)
        except InvalidError:
            return False

    def fits(self, names: Collection[str]) -> bool:
        """Whether a table with these columns has an id and a text."""
        try:
            return self.roles(names, "").fit(names)
        except InvalidError:
            return False

    def advice(self, columns: Mapping[str, str]) -> str:
        """What to do where columns have to be named, with examples for their roles."""
        if not self._can_be_given:
            return f"Rename the right one to {' and to '.join(columns)}."
        example = ",".join(f"{role}={column}" for role, column in columns.items())
        return f"Say which column it is with `columns`, such as {example}."

    def take(self, roles: Roles, names: Collection[str]) -> None:
        """Remember by which roles a table with these columns is read, and say it if they are not the usual ones."""
        if renamed := roles.renamed():
            self.columns = self.columns or renamed
            if (sentence := roles.sentence(names)) not in self._told:
                self._told.add(sentence)
                logger.info(sentence)

    def _said(self, names: Collection[str], where: str) -> dict[str, list[str]]:
        for columns in self._given.values():
            if missing := [name for name in columns if name not in names]:
                raise InvalidError(f"{where}: there is no column {missing[0]!r}.", f"There are {shown(names)}.")
        here = {role: columns for role, columns in self._kept.items() if any(name in names for name in columns)}
        if not all(role in here for role in self._kept if role in ("id", "text")):
            here = {role: columns for role, columns in here.items() if role not in KNOWN}
        return self._added_to(here)

    def _added_to(self, kept: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """What the caller says, and what an index remembers beside it.

        Who names title or text names both; id, lists and numbers stay, unless they get another role.
        """
        said = dict(self._given)
        for role, columns in kept.items():
            if role in KNOWN:
                if role not in said and (role == "id" or not any(other in KNOWN for other in self._given)):
                    said[role] = columns
            else:
                taken = {name for other in said if other not in KNOWN for name in said[other]}
                if more := [name for name in columns if name not in taken]:
                    said[role] = [*said.get(role, []), *more]
        return said

    def _known(self, role: str, names: Sequence[str], where: str) -> tuple[str, ...]:
        """The columns that are known as this role: the usual ones, or the one of the first group that is there."""
        if any(name in names for name in _PLAIN[role]):
            return _PLAIN[role]
        for group in KNOWN[role]:
            found = [name for name in names if _folded(name) in group]
            if len(found) > 1:
                several = " and ".join(map(_short, found[:3]))
                raise InvalidError(f"{where}: {several} may both be the {role}.", self.advice({role: found[0]}))
            if found:
                return (found[0],)
        return ()


def as_columns(given: Columns) -> dict[str, list[str]]:
    """The columns of each role as lists. Raises InvalidError for other roles, no column, and two where one is due."""
    if not isinstance(given, Mapping):
        raise InvalidError("`columns` maps roles to columns.", 'An example: {"id": "sku", "text": "description"}.')
    columns = {role: [names] if isinstance(names, str) else list(names) for role, names in given.items()}
    for role, names in columns.items():
        named = names and all(isinstance(name, str) and name for name in names)
        if role not in {*KNOWN, *LISTS, NUMBERS} or not named:
            raise InvalidError(
                f"`columns` cannot be {role}={'+'.join(map(str, names))}.",
                "The roles are id, title, text, list, comma-list and number, such as id=sku, list=tags, number=price.",
            )
        if role in ("id", "title") and len(names) > 1:
            raise InvalidError(
                f"The {role} is one column, not {len(names)}.", "Text, lists and numbers may be several."
            )
    return columns


def shown(names: Collection[str]) -> str:
    """The first names of a table's columns, each cut to a few words."""
    return ", ".join(map(_short, list(names)[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _elements(value: Any, separators: Sequence[str]) -> Any:
    """A text as the list of its elements, without blank ones; no value is an empty list, others are what they are."""
    if not isinstance(value, str):
        return [] if is_missing(value) else value
    separator = next((sign for sign in separators if sign in value), separators[0])
    return [element for part in value.split(separator) if (element := part.strip())]


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number = plain_number(value.strip())
    return value if number is None else number


def _folded(name: str) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _short(name: str) -> str:
    return str(name)[:_CHARACTERS]
