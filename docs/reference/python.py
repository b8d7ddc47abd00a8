"""The pages of the Python interface: which modules are public. mkdocstrings reads them when the site is built."""

import ast
from pathlib import Path

import debater_search
from docs.reference.markdown import table

MODULES = sorted({"errors", "types", *dir(debater_search)} - set(debater_search.__all__))
"""The public modules: those that `import debater_search` offers, its errors, and the nouns that they all share."""

PACKAGE = Path(debater_search.__file__).parent


def index() -> str:
    """The first page: how to import, and what each module is for."""
    rows = [(f"[`debater_search.{name}`]({name}.md)", _purpose(name)) for name in MODULES]
    names = ", ".join(f"`{name}`" for name in debater_search.__all__ if not name.startswith("_"))
    return f"""# Python

`import debater_search` is light: a name loads its module when it is first used. {names} can be imported from
`debater_search` itself, everything else from its module.

{table(("module", "purpose"), rows)}"""


def page(name: str) -> str:
    """The page of a module; its title may break behind the dot, on a narrow screen."""
    return f"# debater_search.<wbr>{name}\n\n::: debater_search.{name}\n"


def _purpose(name: str) -> str:
    """The first paragraph of a module's docstring, without importing it."""
    path = PACKAGE / f"{name}.py"
    source = (path if path.is_file() else PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
    return " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
