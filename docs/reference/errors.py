"""The page of errors: exit codes, kinds of errors in Python, codes of HTTP answers."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import debater_search.serving
from debater_search.errors import KINDS
from docs.reference.markdown import cell, table

EXIT_CODES = (
    ("0", "The command is done."),
    ("1", "debater failed: a bug (the traceback says where), a full disk or a full memory."),
    ("2", "The user can mend it: a wrong argument or file, or something that is missing. The message says what to do."),
    ("130", "The command was interrupted (Ctrl-C or SIGTERM). Run it again: it continues."),
)


def page() -> str:
    """The page."""
    return f"""# Errors

Made from the program by `make reference`. An error says what is wrong, then what to do.

## Exit codes

{table(("code", "meaning"), EXIT_CODES)}
## In Python

Each of these is a `DebaterError` ([debater_search.errors](python/errors.md)) with `message`, `hint` and `kind`.
Anything else that is raised is a bug.

{table(("class", "kind", "over HTTP", "meaning"), _kinds())}
## Over HTTP

Every error has one shape. Programs decide by `code`; messages are for people:

```json
{{"error": {{"code": "unknown_index", "message": "There is no such index.",
           "hint": "GET /v1/indexes lists those of your key.", "type": "not_found_error", "request_id": "…"}}}}
```

{table(("status", "code", "message"), _codes())}"""


def _kinds() -> Iterator[tuple[str, ...]]:
    from debater_search.serving.errors import ApiError

    log = logging.getLogger(ApiError.__module__)
    for kind, error in KINDS.items():
        log.disabled = True  # it says what it does not tell the client
        answer = ApiError.of(error("", ""), {})
        log.disabled = False
        meaning = " ".join((error.__doc__ or "").split())
        yield f"`{error.__name__}`", f"`{kind}`", f"{answer.status_code} `{answer.code}`", cell(meaning)


def _codes() -> list[tuple[str, ...]]:
    """Status, code and messages of the errors that the server's modules make, but for those of another kind."""
    made: dict[tuple[int, str], set[str]] = {}
    for path in sorted(Path(debater_search.serving.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "ApiError":
                status, code, message = call.args[:3]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    made.setdefault((status.value, code.value), set()).add(_words(message))
    return [(str(status), f"`{code}`", cell(" / ".join(sorted(made[status, code])))) for status, code in sorted(made)]


def _words(message: ast.expr) -> str:
    """A message as it is read, with … for what depends on the request."""
    if isinstance(message, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in message.values)
    return message.value if isinstance(message, ast.Constant) else "…"
