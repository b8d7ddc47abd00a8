"""Bad rows and files of a corpus: several are told at once, or they are left out by name."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from debater_search.data import bad, read_corpus
from debater_search.data.files import require_exists
from debater_search.errors import DamagedError, DebaterError, InvalidError

LINES = ['{"id": 1, "text": "a"}', "nope", '{"id": 2, "text": "b"}', '{"id": 3}', '{"id": 1, "text": "c"}', "{", ""]
TOLD = "lines 2 and 6: this is not JSON; line 4: there is no text; line 5: the id '1' stands in line 1 already"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def ids(path: Path, skip_bad: bool | None = None) -> list[str]:
    return [document.id for document in read_corpus(path, skip_bad=skip_bad)]


def test_bad_lines_are_told_together(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", *LINES)
    with pytest.raises(InvalidError) as error:
        ids(path)
    assert error.value.message == f"{path}, {TOLD}."
    assert "`skip_bad`" not in error.value.hint
    with pytest.raises(InvalidError) as error:
        ids(path, skip_bad=False)
    assert error.value.hint.endswith("Or leave out what cannot be read, with `skip_bad`.")


def test_bad_lines_are_left_out_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", *LINES)
    corpus = read_corpus(path, skip_bad=True)
    assert [document.id for document in corpus] == ["1", "2"]
    assert corpus.warnings == [f"Bad rows that were left out: 4 ({path}, {TOLD})."]
    assert len(list(corpus)) == 2
    assert len(corpus.warnings) == 1  # of the last iteration alone


def test_only_the_first_bad_rows_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "id,text", "1,a", *["x"] * 9)
    with pytest.raises(InvalidError) as error:
        ids(path)
    numbers = "lines 3, 4, 5, 6 and 7"
    assert error.value.message == f"{path}, {numbers}: 1 field, where the header names 2; there may be more."
    corpus = read_corpus(path, skip_bad=True)
    assert [document.id for document in corpus] == ["1"]
    assert corpus.warnings == [
        f"Bad rows that were left out: 9 ({path}, {numbers}: 1 field, where the header names 2)."
    ]


def test_a_long_file_is_not_read_to_its_end_for_more_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad, "LOOK_ON", 3)
    rows = [json.dumps({"id": n, "text": "a"}) for n in range(9)]
    path = write(tmp_path / "c.jsonl", rows[0], "nope", *rows[1:], "nope")
    with pytest.raises(InvalidError, match=r"c\.jsonl, line 2: this is not JSON\."):
        ids(path)


def test_a_stream_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    with pytest.raises(InvalidError, match=r"standard input, line 2: this is not JSON\."):
        list(read_corpus("-"))


def test_a_file_that_cannot_be_read_further_is_an_error_even_if_bad_rows_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="line 3: this does not parse"):
        ids(write(tmp_path / "c.csv", "id,text", "1,a", '2,"open'), skip_bad=True)
    with pytest.raises(InvalidError, match="line 1: this is not JSON"):
        ids(write(tmp_path / "c.json", "[", '{"id": 1, "text": "a"}', "]"), skip_bad=True)
    with pytest.raises(InvalidError, match="there is no text"):
        ids(write(tmp_path / "d.csv", "id,words", "1,a"), skip_bad=True)


def test_a_corpus_of_nothing_but_bad_rows_says_how_to_see_them(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is empty") as error:
        ids(write(tmp_path / "c.jsonl", "nope"), skip_bad=True)
    assert "without `skip_bad`" in error.value.hint


def test_an_empty_file_is_called_empty_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is empty") as error:
        ids(write(tmp_path / "c.csv"))
    assert error.value.hint == "Name another corpus."


@pytest.mark.parametrize("name", ["a.md", "a.jsonl"])
def test_bytes_that_no_encoding_has_bring_no_advice_to_convert_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x\0\x81\n")
    with pytest.raises(InvalidError, match=r"line 1: these bytes are not text\.") as error:
        ids(tmp_path / name, skip_bad=False)
    first, second = error.value.hint.splitlines()  # each in a line of its own
    assert first == f"Write {tmp_path / name} again as UTF-8, or remove it."
    assert second == "Or leave out what cannot be read, with `skip_bad`."


def notes(folder: Path, bad_ones: int) -> Path:
    folder.mkdir()
    for name in ("a.txt", "z.txt"):
        write(folder / name, "words")
    for number in range(bad_ones):
        (folder / f"b{number}.md").write_bytes(b"caf\xe9")
    return folder


def test_all_bad_files_are_told_together(tmp_path: Path) -> None:
    folder = notes(tmp_path / "notes", 12)
    with pytest.raises(DebaterError) as error:
        ids(folder)
    assert error.value.message.startswith(
        f"12 files of {folder} cannot be read: b0.md, line 1: the text is not UTF-8; b1.md, line 1: "
    )
    assert error.value.message.endswith("b9.md, line 1: the text is not UTF-8; and 2 more.")
    assert error.value.hint == f"Convert it to UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {folder}/b0.md > new.md"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("cp.csv", "cp1252"), ("my cp.csv.gz", "cp1252"), ("wide.csv", "utf-16"), ("note.txt", "utf-16")],
)
def test_the_advice_for_text_that_is_not_utf8_works(tmp_path: Path, name: str, encoding: str) -> None:
    data = "id,text\n1,Größe\n".encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(InvalidError) as error:
        ids(tmp_path / name)
    command = error.value.hint.removeprefix("Convert it to UTF-8: ")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    (new,) = tmp_path.glob("new.*")
    assert new.read_text(encoding="utf-8").endswith("1,Größe\n")
    assert len(ids(new)) == 1


def test_errors_of_several_kinds_keep_their_advice(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    folder = notes(tmp_path / "notes", 1)
    (folder / "c.pdf").write_bytes(b"%PDF-1.4")
    with pytest.raises(InvalidError, match=r"2 files of .*c\.pdf cannot be read as PDF") as error:
        ids(folder, skip_bad=False)
    assert "iconv" in error.value.hint
    assert "without a password" in error.value.hint
    assert error.value.hint.endswith("with `skip_bad`.")
    (folder / "b0.md").unlink()
    with pytest.raises(DamagedError, match=r"c\.pdf cannot be read as PDF"):
        ids(folder)


def test_bad_files_are_left_out_by_name(tmp_path: Path) -> None:
    corpus = read_corpus(notes(tmp_path / "notes", 2), skip_bad=True)
    assert [document.id for document in corpus] == ["a.txt", "z.txt"]
    assert corpus.warnings == ["Files that cannot be read and were left out: 2 (b0.md, b1.md)."]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("nope.csv", "Look into the folder"),
        ("note.csv", "notes.csv?"),
        ("notes.jsonl", "notes.csv?"),
        ("NOTES.csv.gz", "notes.csv?"),
    ],
)
def test_only_a_file_of_nearly_that_name_is_suggested(tmp_path: Path, asked: str, hint: str) -> None:
    (tmp_path / "notes.csv").touch()
    with pytest.raises(DebaterError) as raised:
        require_exists(tmp_path / asked)
    assert hint in raised.value.hint
