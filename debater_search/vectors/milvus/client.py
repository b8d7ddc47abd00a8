"""Connections to Milvus: one per address and process, and errors in words that tell what to do."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from debater_search.errors import BusyError, DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.extras import require

TOKEN = "DEBATER_MILVUS_TOKEN"
"""The environment variable with `user:password` or an API key; no token is ever written to a file."""

_SECONDS = 10.0  # to connect
_OLDEST = (2, 5)
_CODE_MISSING = 100  # Milvus's error code for a collection that does not exist
_DENIED = ("auth", "permission", "unauthenticated", "privilege")


def place_of(uri: str) -> str:
    """An address as a record keeps it: a server's as it is, a file of milvus-lite as an absolute path.

    Raises:
        InvalidError: it is neither, or it holds a password.

    """
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https", "tcp") and parts.hostname:
        if parts.username or parts.password or parts.query:
            raise InvalidError("The address of Milvus must not hold a password.", f"Set {TOKEN} in the environment.")
        return uri
    if not uri.endswith(".db"):
        raise InvalidError(
            f"{uri!r} is not an address of Milvus.",
            "Give a server's, such as http://localhost:19530, or a file of milvus-lite, such as papers.db.",
        )
    return str(Path(uri).resolve())


def is_lite(uri: str) -> bool:
    """Whether an address is a file of milvus-lite."""
    return "://" not in uri


@cache
def connect(uri: str) -> Any:
    """The client of this process for an address.

    Raises:
        UnavailableError: pymilvus is missing, nothing answers there, or the server is too old.
        BusyError: another process has the file of milvus-lite open.
        InvalidError: the token is refused.

    """
    library = require("pymilvus", extra="milvus")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints a traceback for each refused call
    if is_lite(uri):
        require("milvus_lite", extra="milvus")
        for name in ("milvus_lite", "grpc._server"):  # its server runs in this process and logs what it does not know
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not Path(uri).parent.is_dir():
            raise MissingError(f"The folder {Path(uri).parent} does not exist.", "Make it, or name another file.")
    with spoken(uri):
        client = library.MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=_SECONDS)
        version = str(client.get_server_version())
    numbers = version.removeprefix("v").split(".")[:2]
    if not is_lite(uri) and all(part.isdigit() for part in numbers) and tuple(map(int, numbers)) < _OLDEST:
        raise UnavailableError(f"Milvus {version} is too old.", "Use Milvus 2.5 or newer.")
    return client


@contextmanager
def spoken(uri: str) -> Iterator[None]:
    """Turn the errors of pymilvus into ours."""
    try:
        yield
    except DebaterError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pymilvus", "grpc"):
            raise
        raise _told(uri, error) from None


def _told(uri: str, error: Exception) -> DebaterError:
    said = str(getattr(error, "message", "") or error).strip()
    if getattr(error, "code", None) == _CODE_MISSING or "collection not found" in said.lower():
        return MissingError(
            f"The collection of this index is gone from {uri}.", "Build the index again: `debater index … --force`."
        )
    if is_lite(uri) and "open local milvus failed" in said.lower():
        return BusyError(
            f"{uri} cannot be opened: milvus-lite lets one process at a time use a file.",
            "End the other process, or use a Milvus server.",
        )
    if any(word in said.lower() for word in _DENIED):
        return InvalidError(f"Milvus at {uri} refuses access: {said}", f"Check {TOKEN}.")
    if "connect" in said.lower() or "unavailable" in said.lower() or "deadline" in said.lower():
        return UnavailableError(f"Milvus does not answer at {uri}.", "Is the server running, and is the address right?")
    return UnavailableError(f"Milvus at {uri} failed: {said}", "See the server's log.")
