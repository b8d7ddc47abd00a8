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
