"""Filters over documents: a tree of comparisons, and the words that people write it in."""

from debater_search.filters.parser import parse_filter, require_filter
from debater_search.filters.tree import (
    Comparison,
    Filter,
    Junction,
    Missing,
    Not,
    Operator,
    Value,
    fields_of,
    leaves_of,
)

__all__ = [
    "Comparison",
    "Filter",
    "Junction",
    "Missing",
    "Not",
    "Operator",
    "Value",
    "fields_of",
    "leaves_of",
    "parse_filter",
    "require_filter",
]
