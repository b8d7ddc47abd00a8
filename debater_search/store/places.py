"""Where embeddings lie: a folder of this machine, or a place on object storage that pyarrow has a file system for.

On object storage there is no rename and no lock. A file is made whole in memory and written at once, and whoever is at
work says so in `lease.json`.
"""

import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlencode, urlsplit

from debater_search.errors import DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.files import atomic

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
"""What pyarrow has file systems for."""

_ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


class Place(Protocol):
    """A flat place for files, each of which is whole or not there."""

    remote: bool
    """Whether it lies on object storage."""

    def __str__(self) -> str:
        """What messages call it; never with credentials."""
        ...

    def make(self) -> None:
        """Make sure that files can be written there."""
        ...

    def names(self) -> set[str]:
        """The names of all files."""
        ...

    def read(self, name: str) -> bytes:
        """A file's content. Raises FileNotFoundError."""
        ...

    def reading(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file, open to be read from anywhere. Raises FileNotFoundError."""
        ...

    def writing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write to; it is there, whole, when the block has ended well, and unchanged if it has not."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone is no error."""
        ...

    def clear(self) -> None:
        """Remove every file, and the place."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path
    remote = False

    def __str__(self) -> str:
        return str(self.path)

    def make(self) -> None:
        """As `Place.make`."""
        self.path.mkdir(exist_ok=True)

    def names(self) -> set[str]:
        """As `Place.names`."""
        return {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()

    def read(self, name: str) -> bytes:
        """As `Place.read`."""
        return (self.path / name).read_bytes()

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """As `Place.reading`."""
        with (self.path / name).open("rb") as file:
            yield file

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """As `Place.writing`."""
        with atomic(self.path / name) as temporary, temporary.open("wb") as file:
            yield file

    def remove(self, name: str) -> None:
        """As `Place.remove`."""
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """As `Place.clear`."""
        shutil.rmtree(self.path)


@dataclass(frozen=True)
class ObjectStore:
    """A place on object storage, `s3://bucket/papers`; credentials come from the environment or a profile only."""

    uri: str
    remote = True

    def __str__(self) -> str:
        return self.uri

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        from pyarrow import fs

        with _told(self.uri):
            return cast(tuple[Any, str], fs.FileSystem.from_uri(_with_endpoint(self.uri)))

    def _path(self, name: str) -> str:
        return f"{self._root[1].rstrip('/')}/{name}"

    def make(self) -> None:
        """As `Place.make`: a bucket must be there. Only a mounted disk (`file://`) has folders to make."""
        if self.uri.startswith("file://"):
            self._root[0].create_dir(self._root[1], recursive=True)
        self.names()

    def names(self) -> set[str]:
        """As `Place.names`."""
        from pyarrow import fs

        files, path = self._root
        with _told(self.uri):
            found = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
            if not found and self.uri.startswith("s3://"):  # pyarrow finds nothing in a bucket that does not exist
                (bucket,) = files.get_file_info([path.partition("/")[0]])
                if bucket.type == fs.FileType.NotFound:
                    raise FileNotFoundError("no such bucket")
        return {info.base_name for info in found if info.type == fs.FileType.File}

    def read(self, name: str) -> bytes:
        """As `Place.read`."""
        with _told(self.uri), self._root[0].open_input_file(self._path(name)) as file:
            return bytes(file.read())

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """As `Place.reading`."""
        with _told(self.uri), self._root[0].open_input_file(self._path(name)) as file:
            yield cast(BinaryIO, file)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """As `Place.writing`. pyarrow keeps what was written when a block fails: it gets whole files only."""
        made = io.BytesIO()
        yield made
        with _told(self.uri), self._root[0].open_output_stream(self._path(name)) as stream:
            stream.write(made.getbuffer())

    def remove(self, name: str) -> None:
        """As `Place.remove`."""
        with _told(self.uri):
            try:
                self._root[0].delete_file(self._path(name))
            except FileNotFoundError:
                return

    def clear(self) -> None:
        """As `Place.clear`."""
        for name in self.names():
            self.remove(name)

    def age(self, name: str) -> float | None:
        """Seconds since a file was written, by the store's clock against ours; None if it is not there."""
        import time

        with _told(self.uri):
            (info,) = self._root[0].get_file_info([self._path(name)])
        return None if info.mtime_ns is None else time.time() - info.mtime_ns / 1e9

    def __truediv__(self, name: str) -> "ObjectStore":
        return ObjectStore(f"{self.uri.rstrip('/')}/{name}")


def is_remote(where: object) -> bool:
    """Whether this names a place on object storage."""
    return isinstance(where, ObjectStore) or (isinstance(where, str) and "://" in where)


def place_at(where: "str | Path | Place") -> Place:
    """The place at a path or an address.

    Raises:
        InvalidError: there is no such kind of place, or the address holds credentials.

    """
    if not isinstance(where, str | Path):
        return where
    if not is_remote(where):
        return Folder(Path(where))
    parts = urlsplit(str(where))
    if parts.scheme not in (*SCHEMES, "file"):
        raise InvalidError(f"There are no places of the kind {parts.scheme}://.", f"Kinds: {', '.join(SCHEMES)}.")
    if parts.username or parts.password or parts.query:
        raise InvalidError(
            "The address of a place must not hold credentials or settings.",
            "Set them in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION.",
        )
    return ObjectStore(str(where).rstrip("/"))


def endpoint() -> dict[str, str]:
    """What the environment says of where addresses lead to; other machines need it to find the same places."""
    return {name: os.environ[name] for name in _ENDPOINT if name in os.environ}


def _with_endpoint(uri: str) -> str:
    """An S3 address with the endpoint and the region that the environment names."""
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not uri.startswith("s3://") or not server:
        return uri
    there = urlsplit(server)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    settings = {"endpoint_override": there.netloc, "scheme": there.scheme, "region": region}
    return f"{uri}?{urlencode(settings)}"


_SAID = (  # in small letters, without spaces and underscores: services and pyarrow spell these in many ways
    (("nosuchbucket", "bucketdoesnotexist", "bucketnotfound"), MissingError,
     "The bucket of {uri} does not exist.", "Make it, or check the address."),
    (("accessdenied", "forbidden", "invalidaccesskeyid", "signaturedoesnotmatch", "invalidsignature", "expiredtoken",
      "unrecognizedclient", "authenticationtoken", "statuscode:403", "nocredentials", "unauthorized"), InvalidError,
     "Access to {uri} is denied.", "Check the credentials in the environment or the profile."),
    (("tooskewed",), UnavailableError,
     "{uri} refuses requests of this machine, whose clock is wrong.", "Set the clock."),
    (("connect", "network", "resolvehost", "timeout", "timedout"), UnavailableError,
     "{uri} cannot be reached.", "Check the network and AWS_ENDPOINT_URL."),
)  # fmt: skip


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Turn what a file system says into a sentence; a file that is missing stays a FileNotFoundError."""
    try:
        yield
    except DebaterError:
        raise
    except (OSError, ValueError, ImportError) as error:
        said = re.sub(r"[_\s]", "", str(error).lower())
        for words, kind, message, hint in _SAID:
            if any(word in said for word in words):
                raise kind(message.format(uri=uri), hint) from None
        if isinstance(error, FileNotFoundError):
            raise
        first = str(error).strip().splitlines()[0][:300]
        raise UnavailableError(f"{uri} cannot be used: {first}", "Check the address and the network.") from None
