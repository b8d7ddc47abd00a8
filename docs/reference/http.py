"""The page of the HTTP interface, from the application's openapi.json."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docs.reference.markdown import cell, code, table

INTRODUCTION = """# HTTP

The paths of `debater serve`, made from its `/openapi.json` by `make reference`. `/` is the page for people, and `/mcp/`
the tools for agents ([Agents](../guides/agents.md)). Bodies are JSON, with `Content-Type: application/json`, if nothing
else is said; unknown fields are refused. Where the server has a file of keys, send `Authorization: Bearer KEY`. Errors
have one shape: [Errors](errors.md#over-http).

"""
_ERROR = "[ErrorBody](#errorbody)"


def page() -> str:
    """The page."""
    document = described()
    parts = [INTRODUCTION]
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"## {tag.capitalize()}\n\n")
            parts.append("\n".join(_operation(f"{method.upper()} {path}", operation)) + "\n")
    parts.append(f"## Statuses of errors\n\n{table(('status', 'meaning'), _statuses(document))}\n")
    parts.append("## Bodies\n\nRequests, answers, and what they hold. `?` marks a field that may be left out.\n\n")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "".join(parts).rstrip() + "\n"


def described() -> dict[str, Any]:
    """The OpenAPI document of a server that takes judgements, and serves an index of one word."""
    from debater_search.indexing import build
    from debater_search.serving import Settings, make_app
    from debater_search.types import Document

    with TemporaryDirectory() as name:
        folder = Path(name)
        build([Document("1", "word")], None, folder / "index")
        settings = Settings(judgements=folder / "judgements.jsonl", mcp=False, page=False)
        app = make_app([folder / "index"], settings)
        document: dict[str, Any] = app.openapi()
    return document


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### {title}\n\n{inspect.cleandoc(operation.get('description', ''))}\n"
    rows = [_parameter(parameter) for parameter in operation.get("parameters", []) if parameter["in"] != "path"]
    if rows:
        yield table(("parameter", "type", "meaning"), rows)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        about = content["schema"].get("description", "")
        yield f"Body (`{media}`): {_type(content['schema'])}{f'. {cell(about)}' if about else ''}\n"
    answers, errors = [], []
    for status, answer in operation["responses"].items():
        kinds = [_type(content.get("schema", {})) for content in answer.get("content", {}).values()]
        if kinds == [_ERROR]:
            errors.append(status)
        else:
            answers.append(f"{status} with {' or '.join(kinds) or 'nothing'}")
    yield f"Answer: {'; '.join(answers)}.\n"
    if errors:
        yield f"Errors: {', '.join(errors)}.\n"


def _parameter(parameter: dict[str, Any]) -> tuple[str, ...]:
    return code(parameter["name"]), _type(parameter["schema"]), _meaning({**parameter["schema"], **parameter})


def _statuses(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every status of an error, and what it means."""
    operations = [one for path in document["paths"].values() for one in path.values()]
    meanings = {
        status: answer["description"]
        for operation in operations
        for status, answer in operation["responses"].items()
        if [_type(content.get("schema", {})) for content in answer.get("content", {}).values()] == [_ERROR]
    }
    for status in sorted(meanings):
        yield status, cell(meanings[status])


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (code(key if key in required else f"{key}?"), _type(field), _meaning(field))
        for key, field in schema.get("properties", {}).items()
    ]
    head: tuple[str, ...] = ("field", "type", "meaning")
    if not any(meaning for _, _, meaning in rows):
        head, rows = head[:2], [row[:2] for row in rows]
    return f"### {name}\n\n{inspect.cleandoc(schema.get('description', ''))}\n\n{table(head, rows)}\n"


def _meaning(field: dict[str, Any]) -> str:
    """What a field is for, its bounds and its default."""
    parts = [field.get("description", "").rstrip(".")]
    inner = next((one for one in field.get("anyOf", []) if one.get("type") != "null"), field)
    low, high = inner.get("minimum"), inner.get("maximum")
    if low is not None and high is not None:
        parts.append(f"{low:,.0f} to {high:,.0f}")
    if inner.get("maxLength") is not None:
        parts.append(f"at most {inner['maxLength']:,} characters")
    if inner.get("maxItems") is not None:
        parts.append(f"at most {inner['maxItems']:,} entries")
    if field.get("default") not in (None, [], False):
        parts.append(f"default: `{field['default']}`")
    return cell("; ".join(filter(None, parts)))


def _type(schema: dict[str, Any]) -> str:
    """A schema in words, such as `list of [HitBody](#hitbody) or null`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return " or ".join(code(f'"{value}"') for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_type({"type": one}) for one in kind)
    if kind == "array" and "prefixItems" in schema:
        return f"[{', '.join(_type(one) for one in schema['prefixItems'])}]".replace("[", "\\[", 1)
    if kind == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind or "", kind or "")
