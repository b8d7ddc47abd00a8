import os
import subprocess
import sys
from pathlib import Path

import pytest

from debater_search.errors import UnavailableError
from debater_search.extras import require, require_installed


def test_an_installed_library_is_imported() -> None:
    assert require("json.decoder", extra="eval").JSONDecoder


def test_a_missing_library_is_named_with_its_extra() -> None:
    with pytest.raises(UnavailableError, match=r"no_such_library is not installed") as caught:
        require("no_such_library.part", extra="eval")
    assert caught.value.hint == "Install it: pip install 'debater-search[eval]'."


def test_a_library_is_looked_for_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large_library.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    require_installed("large_library", extra="rerank")
    with pytest.raises(UnavailableError, match=r"no_such_library is not installed"):
        require_installed("no_such_library", extra="rerank")


def test_a_library_that_is_broken_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("import no_such_part", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        require("broken_library", extra="eval")


WITHOUT = """
import sys
import os
import subprocess
import sys
from pathlib import Path
for name in ("ray", "pymilvus", "milvus_lite"):
    sys.modules[name] = None
import debater_search.cli, debater_search.indexing.engines.ray, debater_search.vectors.milvus
from debater_search.errors import UnavailableError
from debater_search.indexing import build, encode_to
from debater_search.search import SearchEngine
from tests.fakes import FakeEncoder, tiny_corpus
folder = Path(sys.argv[1])
place = f"file://{folder}/store"
encode_to(tiny_corpus(), FakeEncoder(), place)
build(tiny_corpus(), None, folder / "i", embeddings=place)
assert SearchEngine.open(folder / "i", encoder=FakeEncoder()).search("wing")
for settings in ({"engine": "ray"}, {"backend": "milvus", "uri": "http://127.0.0.1:9"}):
    try:
        build(tiny_corpus(), FakeEncoder(), folder / "other", **settings)
    except UnavailableError as error:
        print(error.message, error.hint)
"""


def test_an_index_is_built_and_searched_without_ray_and_milvus(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", WITHOUT, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "The library ray is not installed. Install it: pip install 'debater-search[ray]'.",
        "The library pymilvus is not installed. Install it: pip install 'debater-search[milvus]'.",
    ]
