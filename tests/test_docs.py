"""The documents say what the program does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from debater_search.cli.commands import COMMANDS
from docs.assemble import assemble, linked_files, pages
from docs.reference.pages import PAGES

ROOT = Path(__file__).parent.parent
COMMANDS_PAGE = (ROOT / "docs" / "site" / "reference" / "commands.md").read_text(encoding="utf-8")
FAMILIES = "docs/site/reference/families.md"  # compared in tests/encoder/test_families.py


@pytest.mark.parametrize("place", [place for place in PAGES if place != FAMILIES])
def test_a_generated_page_is_the_programs(place: str) -> None:
    assert (ROOT / place).read_text(encoding="utf-8") == PAGES[place](), "run: make reference"


def test_no_page_was_generated_for_what_is_gone() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "site" / "reference" / "python").glob("*.md")}
    assert there == {place for place in PAGES if "/python/" in place}, "remove it"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"\n## debater {command}\n" in COMMANDS_PAGE


@pytest.mark.parametrize("document", ["README.md", *map(str, pages())])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    lost = [f"{document}:{line}: {path}" for line, _, path in linked_files(Path(document), text)
            if not (ROOT / path).exists()]  # fmt: skip
    assert not lost


def test_pages_are_gathered_with_their_links_and_pictures(tmp_path: Path) -> None:
    assemble(tmp_path / "site")
    architecture = (tmp_path / "site" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    assert "](../docs/dataflow.svg)" in architecture
    assert (tmp_path / "site" / "docs" / "dataflow.svg").exists()
    assert "](../reference/families.md)" in architecture
    assert "[docs/site/reference/families.md]" in architecture  # only targets are turned


def test_the_navigation_has_every_page_but_single_benchmarks() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert set(leaves(config["nav"])) == {str(place) for place in pages().values() if place.parent.name != "benchmarks"}


def leaves(entry: Any) -> Iterator[str]:
    """The pages of a navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from leaves(inner)
