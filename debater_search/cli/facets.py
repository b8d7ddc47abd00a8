"""`debater facets`: how many documents have which value of a field."""

from typing import Annotated, Any

import typer

from debater_search.cli.index_option import Index
from debater_search.cli.options import Json, Where, examples
from debater_search.cli.output import Output, results

EXAMPLES = examples(
    "debater facets indexes/papers venue year",
    'debater facets indexes/papers venue --where "year > 2019" --values 50',
)

_NOT_COUNTED = {
    "object": "It holds other fields, which `debater info` lists.",
    "long": "Its values are too long to be counted.",
}


def facets(
    index: Index,
    fields: Annotated[list[str], typer.Argument(help="Metadata fields; `debater info` lists them.", metavar="FIELD")],
    where: Where = None,
    values: Annotated[
        int, typer.Option("--values", min=1, help="Values, or ranges of numbers, shown per field.", metavar="N")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Count the values of fields, in all or in filtered documents.

    A document with a list counts for each of its elements.
    """
    with results(as_json) as out:
        from debater_search.indexing import facets

        found = facets(index, fields, where=where, values=values)
        if as_json:
            out.json(found)
            return
        shown = [("index", found["index"]), ("where", found["where"]), ("documents", f"{found['documents']:,}")]
        out.facts([(name, value) for name, value in shown if value is not None])
        for field in found["fields"]:
            _show_field(out, field)


def _show_field(out: Output, field: dict[str, Any]) -> None:
    """Print how many documents have the field, and a row for each of its values or ranges."""
    between = f", {field['min']} … {field['max']}" if "min" in field else ""
    out.show("", f"{field['name']}: {field['type']}, in {field['documents']:,} documents{between}")
    rows = [(f"{low} … below {high}", f"{count:,}") for low, high, count in field.get("ranges", [])]
    rows += [(_in_words(value), f"{count:,}") for value, count in field.get("values", [])]
    if rows:
        out.table("", ("value", "documents"), rows)
    if field["type"] in _NOT_COUNTED:
        out.show(_NOT_COUNTED[field["type"]])
    if "values" in field and field["distinct"] > len(field["values"]):
        more = field["distinct"] - len(field["values"])
        out.show(f"… and {more:,} more: --values {field['distinct']} shows all.")


def _in_words(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
