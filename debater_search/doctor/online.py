"""Services in the network: the model hub, and those that the index and the environment name."""

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem

_PATIENCE = 10  # seconds
_MAX_SKEW = 5 * 60
"""Seconds that clocks may differ; S3 refuses requests that are 15 minutes old."""
_CHECK_NETWORK = "Check the network, the address and the proxy settings."


def gather(asked: Asked) -> Iterator[Facts]:
    """For each service whether and how fast it answers, and how far its clock is from ours."""
    yield {"offline": os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")}
    found: dict[str, Facts] = {}
    for name, address in _services(asked):
        found[name] = _http(address) if address.startswith("http") and name != "Milvus" else _tcp(address)
        yield {"services": found}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Services that do not answer, and clocks that differ."""
    if facts.get("offline"):
        message = "HF_HUB_OFFLINE is set: models that are not in the cache cannot be loaded."
        yield note("online", message, "unset HF_HUB_OFFLINE")
    for name, service in facts.get("services", {}).items():
        if not service["answers"]:
            yield problem("online", f"{name} does not answer ({service['why']}).", _CHECK_NETWORK)
        elif abs(service.get("skew", 0)) > _MAX_SKEW:
            minutes = f"{abs(service['skew']) / 60:.0f} minutes"
            message = f"This clock is {minutes} off that of {name}: signed requests are refused."
            yield problem("online", message, "timedatectl set-ntp true")
        else:
            yield ok("online", f"{name} answers in {1000 * service['seconds']:.0f} ms")


def _services(asked: Asked) -> Iterator[tuple[str, str]]:
    """What is used from here: a name, and a URL or host:port."""
    from huggingface_hub.constants import ENDPOINT

    yield "the model hub", ENDPOINT
    if asked.index is not None:
        from debater_search.store.folders import open_manifest

        vectors = open_manifest(Path(asked.index)).vectors
        address = str(vectors.state.get("uri", "")) if vectors else ""
        if "://" in address:
            yield "Milvus", address
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID")
    if any(os.environ.get(name) for name in variables):
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        chosen = (os.environ.get(name) for name in variables[:2])
        yield "S3", next(filter(None, chosen), f"https://s3.{region}.amazonaws.com")
    if (cluster := os.environ.get("RAY_ADDRESS")) and cluster not in ("auto", "local"):
        yield "Ray", cluster


def _http(address: str) -> Facts:
    """Any answer counts, whatever its status."""
    start = time.perf_counter()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PATIENCE) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError) as error:
        return {"answers": False, "why": _why(error)}
    seconds = time.perf_counter() - start
    with suppress(TypeError, ValueError):
        return {"answers": True, "seconds": seconds, "skew": time.time() - parsedate_to_datetime(date).timestamp()}
    return {"answers": True, "seconds": seconds}


def _tcp(address: str) -> Facts:
    start = time.perf_counter()
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        default = {"https": 443, "http": 80}.get(parts.scheme, 0)
        with socket.create_connection((parts.hostname, parts.port or default), timeout=_PATIENCE):
            return {"answers": True, "seconds": time.perf_counter() - start}
    except (OSError, ValueError) as error:
        return {"answers": False, "why": _why(error)}


def _why(error: Exception) -> str:
    """The kind of an error, without the address that its message may hold."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {_PATIENCE} seconds"
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    return os.strerror(reason.errno) if isinstance(reason, OSError) and reason.errno else type(reason).__name__
