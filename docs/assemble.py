"""Gather the pages of the site in build/docs, with their links: `make docs`.

Pages are written for the repository: their links work there. A page of docs/site keeps its place, and documents that
lie elsewhere get one; links are turned to where the pages go. Any other file of the repository that a page links to,
such as a picture, comes along as it is.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SITE = Path("docs/site")
ELSEWHERE = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "explanation/changelog.md",
    "configs/REFERENCE.md": "reference/settings.md",
    "data/README.md": "explanation/data.md",
    "benchmarks/README.md": "explanation/benchmarks.md",
}
"""Pages outside docs/site, and their places in the site; the other pages of benchmarks/ keep theirs."""

_FENCE = re.compile(r"\s*(```|~~~)")
_LINK = re.compile(r'`[^`]*`|(?P<start>\]\(|src=")(?P<target>[^)"#\s]+)')
"""Code, or the file that a link or picture names."""


def pages() -> dict[Path, Path]:
    """Each page of the site: its place in the repository → its place in the site."""
    written = {path.relative_to(ROOT): path.relative_to(ROOT / SITE) for path in sorted((ROOT / SITE).rglob("*.md"))}
    benchmarks = {path.relative_to(ROOT): path.relative_to(ROOT) for path in sorted(ROOT.glob("benchmarks/*.md"))}
    return written | benchmarks | {Path(here): Path(there) for here, there in ELSEWHERE.items()}


def lines_with_links(text: str) -> Iterator[tuple[int, str, bool]]:
    """Number, text, and whether links count there (not in code blocks) of each line."""
    fence = ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        mark = _FENCE.match(line)
        if mark is not None and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        yield number, line, not fence


def linked_files(page: Path, text: str) -> Iterator[tuple[int, str, Path]]:
    """The relative links of a page: line, target as written, and the path in the repository that it means."""
    for number, line, has_links in lines_with_links(text):
        for found in _LINK.finditer(line) if has_links else ():
            target = found["target"]
            if target is not None and not re.match(r"[a-z]+:", target):
                yield number, target, Path(os.path.normpath(page.parent / target))


def assemble(folder: Path) -> None:
    """Write the pages, and what they link to, into `folder`; ValueError if a link leads nowhere."""
    shutil.rmtree(folder, ignore_errors=True)
    places = pages()
    aliases = places | {Path("README.md"): places[SITE / "index.md"]}
    for page, place in places.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        targets = {}
        for number, target, path in linked_files(page, text):
            if not (ROOT / path).is_file():
                raise ValueError(f"{page}:{number}: there is no file {path}.")
            if path not in aliases:
                _copy(ROOT / path, folder / path)
            targets[target] = os.path.relpath(aliases.get(path, path), place.parent)
        _write(folder / place, _turned(text, targets))
    for extra in sorted((ROOT / SITE).rglob("*.css")):
        _copy(extra, folder / extra.relative_to(ROOT / SITE))


def _turned(text: str, targets: dict[str, str]) -> str:
    def turn(found: re.Match[str]) -> str:
        return found[0] if found["target"] not in targets else found["start"] + targets[found["target"]]

    return "".join(_LINK.sub(turn, line) if has_links else line for _, line, has_links in lines_with_links(text))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    try:
        assemble(ROOT / "build" / "docs")
    except ValueError as error:
        raise SystemExit(str(error)) from None
