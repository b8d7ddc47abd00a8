"""Safe YAML of strangers: values, and the line that each key is in."""

import re
from collections.abc import Iterator

import yaml

from debater_search.config.keys import Key

_DEPTH = 50
"""Levels of a config; no setting lies as deep."""

YAML_ERRORS = (
    yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError
)  # fmt: skip
"""What safe YAML raises for text of a stranger: a wrong value of a tag (`!!bool x`) is a KeyError, and so on."""


class ShallowLoader(yaml.SafeLoader):
    """Safe YAML that ends where values are nested deeply: reading on would take time by the square of the depth."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML does; a YAMLError below a depth that no file of ours has."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise yaml.YAMLError("values are nested too deeply")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class ConfigLoader(ShallowLoader):
    """Safe YAML, in which 2e-4 is a number too (YAML 1.1 asks for 2.0e-4)."""


ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def lines_of(node: yaml.Node, key: Key, seen: set[int]) -> Iterator[tuple[Key, int]]:
    """The line of every key below a node; aliases are followed once, or a small file could take forever."""
    if id(node) in seen:
        return
    seen.add(id(node))
    children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(name.value), name, value) for name, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, item, item) for index, item in enumerate(node.value)]
    for name, marked, value in children:
        yield (*key, name), marked.start_mark.line + 1
        yield from lines_of(value, (*key, name), seen)
