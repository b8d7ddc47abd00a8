"""The page's files: what needs no browser."""

import json
import re
import shutil
import subprocess
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import debater_search
from debater_search.serving.schemas import SearchRequest
from debater_search.store.facets import count_values

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
    assert _printed("where.js", "compose, parse", f"compose(parse({json.dumps(text)}))") == again


@needs_node
@pytest.mark.parametrize(
    ("where", "counted"),
    [
        ("", [[None, ["a", "b"]]]),
        ("a >= 1 and not b = 2", [["a >= 1 and not b = 2", ["a", "b"]]]),
        ("a = 1", [["a = 1", ["b"]], [None, ["a"]]]),
        ("a in (1, 2) and b = 'x' and c > 3", [
            ["a in (1, 2) and b = 'x' and c > 3", []],
            ["c > 3 and b = 'x'", ["a"]],
            ["c > 3 and a in (1, 2)", ["b"]],
        ]),
    ],
)  # fmt: skip
def test_a_field_is_counted_without_its_own_ticked_values(where: str, counted: list[Any]) -> None:
    state = f"{{ q: 'x', mode: 'dense', where: {json.dumps(where)} }}, {{ modes: ['dense'] }}"
    bodies = f"[hitsRequest({state}, {{ offset: 0, k: 9, fields }}), ...countingRequests({state}, fields)]"
    told = f"((fields) => JSON.stringify({bodies}.map(([, body]) => [body.where ?? null, body.facets])))(['a', 'b'])"
    assert json.loads(_printed("searches.js", "countingRequests, hitsRequest", told)) == counted


@needs_node
def test_a_search_counts_no_more_fields_than_the_server_takes() -> None:
    state = "{ q: 'x', mode: 'dense', where: '' }, { modes: ['dense'] }"
    length = f"hitsRequest({state}, {{ offset: 0, k: 9, fields: [...Array(50).keys()].map(String) }})[1].facets.length"
    most = next(one.max_length for one in SearchRequest.model_fields["facets"].metadata if hasattr(one, "max_length"))
    assert int(_printed("searches.js", "hitsRequest", length)) == most


def test_every_value_with_a_box_is_counted() -> None:
    boxes = int(re.findall(r"^const FEW = (\d+);", (PAGE / "filters.js").read_text(), re.MULTILINE)[0])
    assert boxes <= signature(count_values).parameters["limit"].default


def _printed(module: str, names: str, expression: str) -> str:
    """What a module of the page makes of an expression."""
    script = f"import {{ {names} }} from {json.dumps((PAGE / module).as_uri())}; console.log({expression});"
    done = subprocess.run(
        ["node", "--input-type=module", "--experimental-default-type=module"],
        input=script, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def _imports(path: Path) -> list[str]:
    return re.findall(r'from "\./([\w.]+)"', path.read_text())
