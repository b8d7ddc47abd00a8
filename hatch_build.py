"""The description that a package index shows: README.md without its pictures and links to files of the repository."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


class Description(MetadataHookInterface):
    """Puts the description into the metadata of wheel and sdist."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add `readme`, which pyproject.toml leaves to this hook."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": _LINK.sub(r"\1", _PICTURE.sub("", text))}
