"""Keys: a file that only its owner may read, with the sha256 of each key, what it may do, and until when.

{"keys": [{"name": "page", "sha256": "…", "scopes": ["search"], "indexes": ["*"], "created": "…", "expires": "…"}]}
"""

import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from hmac import compare_digest
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from debater_search.errors import DamagedError, DebaterError, InvalidError, MissingError
from debater_search.files import atomic
from debater_search.locks import one_at_a_time
from debater_search.refusals import dotted, refusal

log = logging.getLogger(__name__)

Scope = Literal["search", "document", "embed", "rerank", "metrics", "write", "judge"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_PREFIX = "dbt_"  # so that scanners of sources find keys that were committed


@dataclass(frozen=True)
class Caller:
    """The holder of a key, or anybody where there are no keys."""

    name: str
    scopes: frozenset[str]
    indexes: tuple[str, ...] = ("*",)
    """Patterns of the names of indexes that it may see."""

    def may(self, scope: Scope) -> bool:
        """Whether it may do this."""
        return scope in self.scopes

    def may_see(self, index: str) -> bool:
        """Whether an index exists for this caller."""
        return any(fnmatchcase(index, pattern) for pattern in self.indexes)


class Key(BaseModel):
    """A key in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: list[Scope]
    indexes: list[str] = ["*"]
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def has_expired(self) -> bool:
        """Whether it is of no use any more."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[Key] = []


class KeyFile:
    """The keys of a running server: read again when the file has changed. Nobody gets in while it cannot be read.

    Raises:
        DebaterError: the file is missing, damaged, or readable by others.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._keys: list[tuple[Key, Caller]] = []
        self._state: tuple[int, ...] | None = None
        self._renew()

    def find(self, token: str) -> Caller | None:
        """Whose key this is; None if it is unknown or has expired. Every key is compared, in constant time."""
        with self._lock:
            try:
                self._renew()
            except DebaterError as error:
                if self._keys:
                    log.error("No key is accepted: %s", error)
                self._keys, self._state = [], None
            keys = self._keys
        digest, found = _digest(token), None
        for key, caller in keys:
            if compare_digest(key.sha256, digest):
                found = None if key.has_expired else caller
        return found

    def _renew(self) -> None:
        state = _state(self.path)
        if state != self._state:
            self._keys = [
                (key, Caller(key.name, frozenset(key.scopes), tuple(key.indexes))) for key in list_keys(self.path)
            ]
            self._state = state


def list_keys(path: Path) -> list[Key]:
    """The keys in a file.

    Raises:
        MissingError: there is no such file.
        InvalidError: others may read it.
        DamagedError: it is no file of keys.

    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingError(f"There is no file of keys {path}.", "Make a key: debater keys add NAME.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"The file of keys {path} cannot be read ({type(error).__name__}).", "Check it.") from None
    if mode & 0o077:
        raise InvalidError(f"Other users may read or write the file of keys {path}.", f"Run: chmod 600 {path}")
    try:
        return _Keys.model_validate_json(text).keys
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DamagedError(
            f"{path} is no file of keys: {refusal(first, dotted(first['loc']) or 'it')}.",
            "Restore it, or make new keys in another file.",
        ) from None


def add_key(
    path: Path,
    name: str,
    *,
    scopes: Sequence[str] = ("search", "document"),
    indexes: Sequence[str] = ("*",),
    expires: datetime | None = None,
) -> str:
    """Make a key and return it: 32 random bytes in URL-safe letters, of which only the hash is kept.

    Raises:
        InvalidError: the name is taken or none, or a scope is unknown.
        DebaterError: the file cannot be read.

    """
    if not _NAME.fullmatch(name):
        raise InvalidError(f"{name!r} is no name for a key.", "Use letters, digits, points, hyphens; at most 64.")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise InvalidError(f"There is no scope {unknown[0]!r}.", f"Scopes: {', '.join(SCOPES)}.")
    token = _PREFIX + secrets.token_urlsafe(32)
    key = Key(
        name=name,
        sha256=_digest(token),
        scopes=[scope for scope in SCOPES if scope in scopes],
        indexes=list(indexes),
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
    )
    with one_at_a_time(path.with_name(path.name + ".lock")):
        keys = list_keys(path) if path.exists() else []
        if any(other.name == name for other in keys):
            raise InvalidError(f"There is a key {name} already.", "Revoke it first, or choose another name.")
        _write(path, [*keys, key])
    return token


def revoke_key(path: Path, name: str) -> None:
    """Remove a key; a running server refuses it from the next request on.

    Raises:
        MissingError: there is no key of this name.
        DebaterError: the file cannot be read.

    """
    with one_at_a_time(path.with_name(path.name + ".lock")):
        keys = list_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            names = ", ".join(key.name for key in keys) or "none"
            raise MissingError(f"There is no key {name!r} in {path}.", f"Keys: {names}.")
        _write(path, left)


def expiry(period: str) -> datetime:
    """The time after a period from now, such as 12h, 90d or 4w; InvalidError if it is none."""
    found = _PERIOD.fullmatch(period.strip())
    if found is None:
        raise InvalidError(f"{period!r} is no period.", "Give a number of hours, days or weeks: 12h, 90d, 4w.")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _write(path: Path, keys: Sequence[Key]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = json.dumps(_Keys(keys=list(keys)).model_dump(mode="json"), indent=1)
    with atomic(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(document + "\n")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
