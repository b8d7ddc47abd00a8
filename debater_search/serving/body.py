"""Bodies of requests: JSON that is UTF-8, not deep, and holds texts that can be stored; and JSON as the answer."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from debater_search.files import from_json
from debater_search.serving.errors import ApiError

_SUSPICIOUS = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")  # escapes of surrogates and of NUL
_NESTING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)  # strings are skipped whole


class JsonResponse(Response):
    """A JSON document; half a surrogate pair that an index may hold is escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content as UTF-8."""
        try:
            return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class JsonRoute(APIRoute):
    """A route whose body, if it takes one, is read by `parse_json`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The handler, given requests that read their JSON carefully."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def careful(request: Request) -> Response:
            if takes_json:
                require_content_type(request, "application/json")
                request = _CarefulRequest(request.scope, request.receive, request._send)
            response: Response = await handle(request)
            return response

        return careful


class _CarefulRequest(Request):
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self._careful: Any = None

    async def json(self) -> Any:
        if self._careful is None:
            depth = self.app.state.service.settings.json_depth
            self._careful = parse_json(await self.body(), depth)
        return self._careful


def require_content_type(request: Request, *expected: str) -> str:
    """The type of the body; raises the 415 error unless this route reads it."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in expected:
        raise ApiError(
            415,
            "unsupported_media_type",
            "The Content-Type is another than this path reads.",
            f"Send {' or '.join(expected)}.",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "unsupported_media_type", "Compressed bodies are not read.", "Send it as it is.")
    return given


def parse_json(body: bytes, max_depth: int) -> Any:
    """The JSON document of a body; the 400 error says what is wrong with it, and quotes nothing."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "invalid_json", "The body is not UTF-8.", "Send JSON in UTF-8.") from None
    if _depth(text) > max_depth:
        raise ApiError(400, "too_deep", f"The body is nested more than {max_depth} levels deep.", "Send it flatter.")
    try:
        parsed = from_json(text)
        suspicious = _SUSPICIOUS.search(text) is not None
    except ValueError:
        raise ApiError(400, "invalid_json", "The body is not JSON.", "Send one JSON object.") from None
    if suspicious:
        for string in _strings(parsed):
            require_text(string)
    return parsed


def require_text(string: str) -> None:
    """Raise the 400 error for half a surrogate pair or a NUL character, which no text holds."""
    if "\0" in string or any("\ud800" <= character <= "\udfff" for character in string):
        raise ApiError(
            400, "invalid_text", "A string holds a NUL character or half a surrogate pair.", "Send Unicode text."
        )


def _depth(text: str) -> int:
    depth = deepest = 0
    for found in _NESTING.finditer(text):
        character = found[0][0]
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item)
