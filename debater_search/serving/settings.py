"""What a server is told: where it listens, who may use it, its limits, and how its models are loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo

KIB = 1024


class Reranker(Protocol):
    """A model that reads a query and a text together."""

    @property
    def name(self) -> str:
        """The name that the user gave the model."""

    @property
    def fingerprint(self) -> str:
        """A hash over everything that determines the scores."""

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Scores of the texts for the query, float32 [n]; higher is better."""


def load_encoder(info: EncoderInfo, folder: Path, device: str) -> TextEncoder:
    """The model of the index in `folder`; DebaterError if it cannot be loaded."""
    from debater_search.encoder.again import load_again

    return load_again(info, folder, device=device, for_queries=True)


def load_reranker(model: str, device: str) -> Reranker:
    """The reranker that a folder or a hub id names; DebaterError if it cannot be loaded."""
    from debater_search.encoder.reranker import Reranker as CrossEncoder

    return CrossEncoder.load(model, device=device)


@dataclass(frozen=True)
class Settings:
    """The settings of a server; the defaults are those of `debater serve`."""

    host: str = "127.0.0.1"
    port: int = 8080
    keys: Path | None = None
    """The file of keys. Without it everybody who reaches the port may do everything but write."""
    no_keys: bool = False
    """Serve without keys on an address that is not this machine's own."""
    rerank: str | None = None
    """The reranker: a folder or a hub id."""
    judgements: Path | None = None
    """The file that judgements of hits are appended to."""
    device: str = "auto"
    allow_origins: tuple[str, ...] = ()
    """Origins of web pages, other than the server's own, whose scripts may use it."""
    page: bool = True
    mcp: bool = True
    log_queries: bool = False

    max_k: int = 100
    """The largest k + offset of a search."""
    queue: int = 256
    """Requests that wait or are at work; more are answered with 429."""
    rate: float = 20.0
    """Requests per second of a key, or of an address where there are no keys; 0 for no limit."""
    body_bytes: int = 1024 * KIB
    large_body_bytes: int = 8 * 1024 * KIB
    """The largest body of embeddings and of documents to write."""
    query_characters: int = 10_000
    json_depth: int = 8
    request_seconds: float = 30.0
    write_seconds: float = 900.0
    drain_seconds: float = 20.0
    """How long a server that was told to stop answers the requests that it has accepted."""
    cached_queries: int = 10_000
    """Vectors of queries that are kept."""
    retrieval_threads: int = 4
    reranking_threads: int = 2
    watch_seconds: float = 1.0
    """How often each index is looked at for changes."""

    load_encoder: Callable[[EncoderInfo, Path, str], TextEncoder] = load_encoder
    load_reranker: Callable[[str, str], Reranker] = load_reranker

    @property
    def any_host(self) -> bool:
        """Whether requests may name any host: keys, or an address that others reach, guard against rebinding."""
        return self.keys is not None or not is_loopback(self.host)

    def __post_init__(self) -> None:
        for name in ("max_k", "queue", "retrieval_threads"):
            if getattr(self, name) < 1:
                raise InvalidError(f"`{name}` is {getattr(self, name)}.", "It must be 1 or more.")
        if self.keys is not None and self.no_keys:
            raise InvalidError("`keys` and `no_keys` exclude each other.", "Give one of them.")
        if self.keys is None and not self.no_keys and self.any_host:
            raise InvalidError(
                f"Without keys, {self.host} would serve these indexes to everybody who can reach it.",
                "Make a key (debater keys add NAME) and name the file as `keys`, or insist with `no_keys`.",
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's own address, which other machines cannot reach."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
