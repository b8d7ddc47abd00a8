"""A self-contained page from plain data: one file that loads nothing and treats no data as markup."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

STYLES = ("shared/colours.css", "page.css")
SCRIPTS = ("shared/dom.js", "base.js", "comparisons.js", "scores.js", "queries.js", "page.js")
"""Joined into one style and one script, in this order. A server's page takes what is in `shared` too."""


def render(title: str, data: Any) -> str:
    """The page as HTML. `data` has plain JSON types; the page's script shows all of it as text.

    The content security policy lets the browser load nothing and run only the page's own script, by its hash.
    """
    style, script = "".join(map(_file, STYLES)), _joined(SCRIPTS)
    policy = [
        "default-src 'none'",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return Template(_file("page.html")).substitute(
        policy="; ".join(policy), title=html.escape(title), style=style, script=script, data=_inert(data)
    )


def _joined(modules: Sequence[str]) -> str:
    """Modules as one script, in which all names are common."""
    return '"use strict";\n' + re.sub(r"^export ", "", "".join(map(_file, modules)), flags=re.MULTILINE)


def _inert(data: Any) -> str:
    """JSON that contains no tag, in particular no </script>."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
