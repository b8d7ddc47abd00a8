"""The code blocks of the guide to other frameworks: they compile, and (slow) each runs in its own environment."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.environments import environment

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "site" / "guides" / "integrations.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A code block, and what its first line says to install."""

    name: str
    install: list[str]
    code: str

    @property
    def makes_vectors(self) -> bool:
        return "exported/small" in self.code


def blocks() -> list[Block]:
    found = []
    for heading, code in re.findall(r"### (\w+)\n\n```python\n(.*?)```", PAGE, re.DOTALL):
        install = shlex.split(code.splitlines()[0].removeprefix("# pip install "))
        kind = "encoder" if "exported/small" in code else "index"
        found.append(Block(f"{heading} {kind}", install, code))
    return found


BLOCKS = pytest.mark.parametrize("block", blocks(), ids=lambda block: block.name)


def test_each_framework_has_both_ways() -> None:
    assert len({block.name for block in blocks()}) == 6


@BLOCKS
def test_a_block_is_python_and_says_what_it_needs(block: Block) -> None:
    compile(block.code, block.name, "exec")
    assert block.code.startswith("# pip install ")


@pytest.mark.slow
@BLOCKS
def test_a_block_runs_in_an_environment_of_its_own(block: Block, tmp_path: Path) -> None:
    from debater_search.encoder import Encoder
    from debater_search.encoder.export import export
    from debater_search.indexing import build

    encoder = Encoder.load("debater-small", device="cpu")
    if block.makes_vectors:
        export("debater-small", tmp_path / "exported" / "small", "sentence-transformers")
        says = "print('FOUND', json.dumps([list(map(float, query)), [list(map(float, d)) for d in documents]]))"
    else:
        from debater_search.types import Document

        corpus = [Document("stall", "A wing stalls at low speed."), Document("loud", "Propellers are loud.")]
        build(corpus, encoder, tmp_path / "indexes" / "papers")
        says = "print('FOUND', json.dumps([str(one) for one in found]))"
    made = environment(tmp_path / "venv")
    subprocess.run([made.programs / "python", "-m", "pip", "install", "--quiet", *block.install], check=True)
    if not block.makes_vectors:
        (made.packages / "debater.pth").write_text(f"{ROOT}\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables["HF_MODULES_CACHE"] = str(tmp_path / "modules")
    done = subprocess.run(
        [made.programs / "python", "-c", f"import json\n{block.code}\n{says}"],
        cwd=tmp_path, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("FOUND")).removeprefix("FOUND")
    )
    if block.makes_vectors:
        query, documents = found
        np.testing.assert_allclose(query, encoder.encode_queries(["how do wings stall?"])[0], atol=1e-5)
        texts = ["A wing stalls at low speed.", "Propellers are loud."]
        np.testing.assert_allclose(documents, encoder.encode_documents(texts), atol=1e-5)
    else:
        assert "A wing stalls" in found[0]
