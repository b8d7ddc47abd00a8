"""uvicorn's HTTP protocol, with limits on the head of a request, which it does not have."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its headers."""
IDLE_SECONDS = 75.0
"""From a new connection to its first byte."""
HEAD_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """A connection. A head that comes too slowly is answered with 408, one that is too long with 431."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(IDLE_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        self._received = len(data) if not self._in_head else self._received + len(data)
        super().data_received(data)
        if self._in_head and self._received > HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Wait for the headers."""
        super().on_message_begin()
        self._stop_timer()
        self._in_head = True
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _refuse(self, status: bytes) -> None:
        self._stop_timer()
        self._in_head = False
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
