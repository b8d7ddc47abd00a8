"""Limits: the size of a body, the time of a request, requests at once, requests per second."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from debater_search.serving.errors import ApiError, error_response
from debater_search.serving.settings import Settings

_BUCKETS = 10_000


class Admission:
    """At most so many requests wait or are at work; used by the event loop alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Take a place while the block runs; the 429 error if there is none."""
        if self.count >= self._limit:
            raise ApiError(429, "queue_full", "Too many requests wait.", "Ask again later.", retry_after=1)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Rates:
    """A bucket for each key or address: `rate` requests per second, twice as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate, self._size = rate, max(1.0, 2 * rate)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> None:
        """Count a request; the 429 error says when the next one is welcome."""
        if not self._rate:
            return
        now = monotonic()
        left, before = self._buckets.get(who, (self._size, now))
        left = min(self._size, left + (now - before) * self._rate)
        if left < 1:
            wait = (1 - left) / self._rate
            raise ApiError(429, "rate_limited", "Too many requests in a second.", "Ask less often.", retry_after=wait)
        self._buckets[who] = (left - 1, now)
        self._buckets.move_to_end(who)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)


class Limits:
    """ASGI middleware for /v1: bodies that are too large, requests that take too long, clients that are gone."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request within the limits."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        writes = scope["method"] in ("PUT", "DELETE")
        large = writes or scope["path"] == "/v1/embeddings"
        limit = self.settings.large_body_bytes if large else self.settings.body_bytes
        body = _Body(receive, limit, dict(scope["headers"]).get(b"content-length"))
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            body.require_announced_size()
            async with asyncio.timeout(self.settings.write_seconds if writes else self.settings.request_seconds):
                await _until_client_leaves(self.app(scope, body, note_start), body)
        except ApiError as error:
            await error_response(error, scope["request_id"])(scope, receive, send)
        except TimeoutError:
            if not started:
                late = ApiError(504, "timeout", "The request took too long.", "Ask for less, or again later.")
                if body.is_awaited:
                    late = ApiError(408, "slow_body", "The body came too slowly.", "Send it faster, or send less.")
                await error_response(late, scope["request_id"])(scope, receive, send)


class _Body:
    """A body that is refused once it is longer than the limit, announced or not."""

    def __init__(self, receive: Receive, limit: int, announced: bytes | None) -> None:
        self._receive, self._limit, self._announced = receive, limit, announced
        self._length = 0
        self.read = asyncio.Event()
        """Set when all of it has come."""
        self.is_awaited = False
        """Whether the application waits for more of it."""

    def require_announced_size(self) -> None:
        """Raise the 413 error for a body that says it is too long."""
        if self._announced is not None and self._announced.isdigit() and int(self._announced) > self._limit:
            raise self._too_large()

    async def __call__(self) -> Message:
        """The next message of the client."""
        self.is_awaited = True
        message = await self._receive()
        self.is_awaited = False
        if message["type"] == "http.request":
            self._length += len(message.get("body", b""))
            if self._length > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                self.read.set()
        return message

    async def client_left(self) -> None:
        """Return when the client has left; it has sent its body by now."""
        await self.read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _too_large(self) -> ApiError:
        return ApiError(413, "body_too_large", f"The body is larger than {self._limit:,} bytes.", "Send less at once.")


async def _until_client_leaves(serving, body: _Body) -> None:  # type: ignore[no-untyped-def]
    """Serve a request; give up, and thereby free its place in the queue, when its client has gone."""
    request = asyncio.ensure_future(serving)
    leaving = asyncio.ensure_future(body.client_left())
    try:
        await asyncio.wait((request, leaving), return_when=asyncio.FIRST_COMPLETED)
        if request.done():
            request.result()
    finally:
        for task in (request, leaving):
            task.cancel()
        await asyncio.gather(request, leaving, return_exceptions=True)
