"""Types as the users of the package see them."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USER = """
import asyncio
import debater_search
from debater_search import SearchEngine
from debater_search.evaluation import evaluate
from debater_search.indexing import add, build, update
from debater_search.types import Document

encoder = debater_search.Encoder.load("debater-small")
engine = debater_search.SearchEngine.open("indexes/notes")
reveal_type(encoder)
reveal_type(engine)
reveal_type(engine("wing"))
reveal_type(asyncio.run(engine.asearch("wing"))[0])
reveal_type(engine.search_many(["wing"]))
reveal_type(engine.search_batch({"q1": "wing"}))
reveal_type(engine.add(["wing"]))
reveal_type(evaluate("task", encoder))
rows: list[dict[str, str]] = [{"id": "1", "text": "wing"}]
pairs: list[tuple[int, str]] = [(1, "wing")]
build(rows, encoder, "indexes/rows")
add("indexes/rows", pairs)
update("indexes/rows", (Document(str(n), "wing") for n in range(3)))
encoder.encode_documents(["wing", ("2", "Heat", "hot"), {"text": "ice"}])
encoder.encode_queries({"q1": "wing"})
build([1, 2], encoder, "indexes/wrong")
"""
SEEN = ["Encoder", "SearchEngine", "Hits", "Hit", "Hits]", "float]]", "Change", "Result"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("debater_search") / "py.typed").is_file()


@pytest.mark.slow
def test_names_that_load_on_first_use_have_their_types(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    settings = "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"
    (tmp_path / "mypy.ini").write_text(settings + "[mypy-torch.*,transformers.*]\nfollow_imports = skip\n")
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    ).stdout
    revealed = re.findall(r'Revealed type is "(.*)"', told)
    assert [type.rpartition(".")[2].rpartition(" ")[2] for type in revealed] == SEEN, told
    errors = [line for line in told.splitlines() if ": error: " in line]
    assert errors, told
    assert all("incompatible type" in line and "[list-item]" in line for line in errors), told
