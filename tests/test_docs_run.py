"""The marked code blocks of README.md and the site run as they stand."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import ROOT, SLOW, Block, Session, blocks

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "site").rglob("*.md"))]


def marked() -> Iterator[object]:
    """A parameter for each page that has blocks to run."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "<!-- run -->" in text:
            name = str(page.relative_to(ROOT))
            yield pytest.param(name, id=name, marks=[pytest.mark.slow] if text.startswith(SLOW) else [])


@pytest.mark.parametrize("page", marked())
def test_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    run(page, (ROOT / page).read_text(encoding="utf-8"), tmp_path)


def run(page: str, text: str, folder: Path) -> None:
    session = Session(page, folder)
    try:
        for block in blocks(text):
            session.run(block)
    finally:
        session.close()


def test_blocks_share_variables_folders_and_files(tmp_path: Path) -> None:
    run("page.md", PAGE, tmp_path)
    assert (tmp_path / "work" / "inner" / "said").read_text() == "paper 43\n"


PAGE = """# A page

<!-- run -->
```sh
mkdir inner
cd inner
name=paper
```

Not run:

```sh
exit 1
```

<!-- run -->
```python
answer = 42
```

<!-- run -->

```python
open("number", "w").write(str(answer + 1))
```

<!-- run -->
```sh
echo "$name $(cat ../number)" > said
```
"""


@pytest.mark.parametrize(
    ("language", "code", "said"),
    [
        ("sh", "true\nfalse\ntrue\n", "page.md:7"),
        ("sh", "true\nno-such-program\n", "page.md: line 8: no-such-program"),
        ("sh", "false | true\n", "page.md:7"),
        ("python", "x = 1\nx / 0\n", 'File "page.md", line 8'),
    ],
)
def test_a_block_that_fails_is_named_with_file_and_line(language: str, code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7") as failed:
        run("page.md", f"# Page\n\n\n\n<!-- run -->\n```{language}\n{code}```\n", tmp_path)
    assert said in str(failed.value)


def test_what_a_block_leaves_running_is_ended_with_the_page(tmp_path: Path) -> None:
    run("page.md", "<!-- run -->\n```sh\nsleep 600 &\necho $! > pid\n```\n", tmp_path)
    stat = Path(f"/proc/{(tmp_path / 'work' / 'pid').read_text().strip()}/stat")
    for _ in range(100):
        if not stat.exists() or " Z " in stat.read_text():
            return
        time.sleep(0.05)
    raise AssertionError("sleep is still there")


@pytest.mark.parametrize("after", ["text\n", "```yaml\na: 1\n```\n"])
def test_a_mark_before_anything_but_code_is_refused(after: str) -> None:
    with pytest.raises(ValueError, match="fenced block of sh or python"):
        list(blocks(f"<!-- run -->\n{after}"))


def test_a_block_knows_its_line() -> None:
    assert list(blocks("a\n<!-- run -->\n```sh\nls\n```\n")) == [Block("sh", "ls\n", 4)]
