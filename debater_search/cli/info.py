"""`debater info`: what is in an index, without loading its model."""

from datetime import datetime
from typing import Any

from debater_search.cli.errors import worded
from debater_search.cli.index_option import Index
from debater_search.cli.options import Json, examples
from debater_search.cli.output import NOTED, Output, results
from debater_search.terminal import size_in_words

_FIELDS, _VALUES, _CHARACTERS = 30, 5, 30  # shown of an index, of a field, of a value
_SUMMED = 10  # fields in the summary of a new index
_ADDRESS = 200  # characters of a value that may be an id or an address

EXAMPLES = examples("debater info indexes/cranfield", "debater info indexes/cranfield --json")


def info(
    index: Index,
    as_json: Json = False,
) -> None:
    """Say what is in an index: documents, fields, model, size, age."""
    with results(as_json) as out:
        from debater_search.indexing.description import describe

        facts = describe(index)
        if as_json:
            return out.json(facts)
        show_facts(out, facts)
        show_fields(out, facts["fields"])
        return out.show(*(f"Warning: {worded(warning, NOTED)}" for warning in facts["warnings"]))


def show_summary(out: Output, facts: dict[str, Any]) -> None:
    """Print what matters of an index that was just built; `info` tells the rest."""
    names = ["index", "corpus", "columns", "documents", "passages", "vectors", "server", "model", "encoded_in", "bytes"]
    if "vectors" not in facts:
        names.insert(names.index("vectors"), "type")
    if any(share < 1 for share in facts.get("recall", {}).values()):
        names.insert(names.index("server"), "recall")
    kept = {name: facts[name] for name in names if name in facts}
    kinds = [f"{field['name']} ({_type(field)})" for field in facts["fields"][:_SUMMED]]
    more = ", …" if len(facts["fields"]) > _SUMMED else ""
    shown = {"metadata": ", ".join(kinds) + more} if kinds else {}
    show_facts(out, kept | shown)


def show_facts(out: Output, facts: dict[str, Any]) -> None:
    """Print what `describe` found, for people."""
    shown = {**facts, "size": size_in_words(facts["bytes"])} if "bytes" in facts else dict(facts)
    if "created" in shown:
        shown["created"] = _local(shown["created"])
    skipped = {"bytes", "warnings", "fingerprint", "fields"} | {name for name, value in facts.items() if value == {}}
    out.facts([(name.replace("_", " "), _shown(value)) for name, value in shown.items() if name not in skipped])


def show_fields(out: Output, fields: list[dict[str, Any]]) -> None:
    """Print the metadata fields, as `describe` found them, for people."""
    if fields:
        out.show("")
        rows = [(field["name"], _type(field), _range(field), f"{field['documents']:,}") for field in fields[:_FIELDS]]
        out.table("", ("field", "type", "values", "documents"), rows, text_columns=3)
    if len(fields) > _FIELDS:
        out.show(f"… and {len(fields) - _FIELDS:,} more fields: --json has all.")


def _type(field: dict[str, Any]) -> str:
    return f"{field['type']}, lists" if field.get("lists") else str(field["type"])


def _range(field: dict[str, Any]) -> str:
    """The values of a field in a few words: the range of numbers and dates, the most frequent ones of others."""
    if "min" in field:
        return f"{field['min']} … {field['max']}"
    values = [
        _short(str(value) if not isinstance(value, bool) else str(value).lower())
        for value, _ in field.get("values", [])[:_VALUES]
    ]
    more = field.get("distinct", 0) - len(values)
    return ", ".join(values) + (f", … ({more:,} more)" if more > 0 else "")


def _local(moment: str) -> str:
    """A time in ISO 8601 as the clock on the wall here showed it."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:  # a manifest that was edited
        return moment


def _short(text: str) -> str:
    most = _ADDRESS if text.isascii() and " " not in text else _CHARACTERS
    return text if len(text) <= most else f"{text[:most]}…"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and all(isinstance(part, list) for part in value.values()):
        return ", ".join(f"{name}={'+'.join(part)}" for name, part in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {part:.4g}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
