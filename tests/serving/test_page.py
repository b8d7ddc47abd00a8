"""The page's files: what needs no browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import debater_search

PACKAGE = Path(debater_search.__file__).parent
PAGE = PACKAGE / "serving" / "page"
SHARED = PACKAGE / "reports" / "page" / "shared"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def test_every_file_that_the_page_names_is_served_and_nothing_is_inline(client: TestClient) -> None:
    page = client.get("/")
    files = re.findall(r'(?:src|href)="([\w.]+)"', page.text)
    assert {"main.js", "page.css", "colours.css"} <= set(files)
    modules = {name for path in (*PAGE.glob("*.js"), *SHARED.glob("*.js")) for name in _imports(path)}
    for name in {*files, *modules} - {"openapi.json"}:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not name.endswith(".js") or "javascript" in answer.headers["content-type"]
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|\sstyle=", page.text)
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy


def test_no_module_makes_markup_of_data() -> None:
    for path in (*PAGE.glob("*.js"), *SHARED.glob("*.js")):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()), path


@needs_node
@pytest.mark.parametrize("module", [*PAGE.glob("*.js"), *SHARED.glob("*.js")], ids=lambda path: path.name)
def test_modules_parse(module: Path) -> None:
    with module.open() as file:
        subprocess.run(["node", "--check", "--input-type=module"], stdin=file, check=True)


@needs_node
@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("", ""),
        ("year >= 1950 and year <= 1960", "year between 1950 and 1960"),
        ("venue in ('A', 'it''s')", "venue in ('A', 'it''s')"),
        ('`odd name` = "x" and b has TRUE', "`odd name` = 'x' and b = true"),
        ("a = 1 or b = 2", "(a = 1 or b = 2)"),
        ("(a = 1 or b = 2) and c contains 'z'", "(a = 1 or b = 2) and c contains 'z'"),
        ("not a = 1 and x is missing", "not a = 1 and x is missing"),
        ("year not between 1 and 2 and year >= 3", "year not between 1 and 2 and year >= 3"),
        ("a = constructor", "a = constructor"),
        ("a = 'open", "a = 'open"),
        ("a = 1)", "a = 1)"),
    ],
)
def test_filters_are_read_and_written_without_loss(text: str, again: str) -> None:
    where = (PAGE / "where.js").as_uri()
    script = f"import {{ compose, parse }} from {json.dumps(where)}; console.log(compose(parse({json.dumps(text)})));"
    done = subprocess.run(
        ["node", "--input-type=module", "--experimental-default-type=module"],
        input=script, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == again + "\n", done.stderr


def _imports(path: Path) -> list[str]:
    return re.findall(r'from "\./([\w.]+)"', path.read_text())
