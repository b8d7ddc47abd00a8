"""Folders as corpora: tables in parts, texts, and what describes them."""

import builtins
import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from debater_search.data import read_corpus
from debater_search.data.folders import natural
from debater_search.data.text_files import front_matter
from debater_search.errors import DamagedError, InvalidError, UnavailableError

TIME = "2024-05-01T12:00:00+00:00"
SECONDS = 1714564800


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (SECONDS, SECONDS))
    return folder


def rows(*ids: str, **more: Any) -> str:
    return "".join(json.dumps({"id": id, "contents": f"text {id}", **more}) + "\n" for id in ids)


def parquet(*ids: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"_id": list(ids), "text": [f"text {id}" for id in ids]}), sink)
    return sink.getvalue().to_pybytes()


def ids(folder: Path) -> list[str]:
    return [document.id for document in read_corpus(folder)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"docs00.jsonl": rows("1"), "docs01.jsonl": rows("2")}, ["1", "2"]),
        ({"docs10.jsonl": rows("c"), "docs9.jsonl": rows("b"), "docs1.jsonl": rows("a")}, ["a", "b", "c"]),
        (
            {
                "data/train-00001-of-00002.parquet": parquet("3"),
                "data/train-00000-of-00002.parquet": parquet("1", "2"),
                "dataset_infos.json": '{"default": {"features": {}}}',
            },
            ["1", "2", "3"],
        ),
        (
            {
                "_SUCCESS": "",
                "_metadata": "x",
                "part-00000-a.c000.snappy.parquet": parquet("1"),
                "part-00001-a.c000.snappy.parquet": parquet(),
                ".part-00000-a.c000.snappy.parquet.crc": "x",
                "_delta_log/000.json": rows("9"),
            },
            ["1"],
        ),
        ({"part-00000.json": rows("1"), "part-00001.json.gz": gzip.compress(rows("2").encode())}, ["1", "2"]),
        ({"a.csv": "id,text\n1,x\n", "b.tsv.gz": gzip.compress(b"id\ttext\n2\ty\n")}, ["1", "2"]),
        ({"a.jsonl.zst": pa.compress(rows("1").encode(), codec="zstd", asbytes=True)}, ["1"]),
        ({"docs.jsonl": rows("1"), "queries.jsonl": rows("q"), "qrels/test.tsv": "id\ttext\nq\t1\n"}, ["1"]),
        ({"corpus/corpus-00000.parquet": parquet("1"), "queries/queries-00000.parquet": parquet("q")}, ["1"]),
    ],
)
def test_tables_win_over_what_describes_them(
    tmp_path: Path, files: dict[str, str | bytes], expected: list[str]
) -> None:
    folder = write(tmp_path, {"README.md": "# My data set\ncard", "LICENSE.txt": "free", **files})
    corpus = read_corpus(folder)
    assert [document.id for document in corpus] == expected
    (warning,) = corpus.warnings
    assert warning.startswith("Files of the folder that are not read: ")
    assert "README.md" in warning


def test_notes_beside_tables_of_documents_are_said_to_be_skipped(tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path, {"a.jsonl": rows("1"), **{f"n{i}.md": "note" for i in range(7)}}))
    assert [document.id for document in corpus] == ["1"]
    assert corpus.warnings == ["Files of the folder that are not read: 7 (n0.md, n1.md, n2.md, n3.md, n4.md, …)."]


def test_tables_that_hold_no_documents_are_skipped_beside_texts(tmp_path: Path) -> None:
    corpus = read_corpus(
        write(tmp_path, {"note.md": "words", "prices.csv": "item,price\nx,1\n", "settings.json": "{}"})
    )
    assert [document.id for document in corpus] == ["note.md"]
    assert corpus.warnings == ["Files of the folder that are not read: 2 (prices.csv, settings.json)."]


def test_tables_without_ids_beside_a_readme_are_an_error_never_a_corpus_of_the_readme(tmp_path: Path) -> None:
    folder = write(tmp_path, {"README.md": "card", "data/train.jsonl": '{"text": "a"}\n'})
    with pytest.raises(InvalidError, match=r"train\.jsonl, line 1: there is no id"):
        ids(folder)


def test_a_damaged_part_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, {"README.md": "card", "a.parquet": parquet("1"), "b.parquet": parquet("2")[:50]})
    with pytest.raises(DamagedError, match=r"b\.parquet, row 1: this does not read as Parquet"):
        ids(folder)


def test_an_id_in_two_parts_names_both(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.jsonl": rows("1", "2"), "b.parquet": parquet("3", "1")})
    with pytest.raises(InvalidError) as error:
        ids(folder)
    assert error.value.message == (
        f"{tmp_path}/b.parquet, row 2: the id '1' stands in {tmp_path}/a.jsonl, line 1 already."
    )


def test_columns_in_the_names_of_folders_are_metadata(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "year=2020/lang=en/part-0.jsonl": rows("1"),
        "year=2021/lang=__HIVE_DEFAULT_PARTITION__/part-0.jsonl": rows("2", lang="own"),
    }
    assert [document.metadata for document in read_corpus(write(tmp_path, files))] == [
        {"year": 2020, "lang": "en"},
        {"year": 2021, "lang": "own"},
    ]


def test_a_beir_folder_is_its_corpus_file(tmp_path: Path) -> None:
    corpus = read_corpus(write(tmp_path, {"corpus.jsonl": rows("1"), "other.jsonl": rows("2"), "README.md": "card"}))
    assert [document.id for document in corpus] == ["1"]
    assert not corpus.warnings


def test_a_folder_with_nothing_to_read_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is empty: no document is in it"):
        ids(write(tmp_path, {"picture.png": "x"}))


def test_a_readme_alone_is_a_text(tmp_path: Path) -> None:
    assert ids(write(tmp_path, {"README.md": "words"})) == ["README.md"]


def test_markdown_is_read_with_its_front_matter(tmp_path: Path) -> None:
    text = (
        "---\ntitle: On wings\ntags: [lift, drag]\ndate: 2020-05-01\ndraft: false\n---\n\n# A heading\n\nThey lift.\n"
    )
    (document,) = read_corpus(write(tmp_path, {"deep/wing.md": text}))
    assert (document.id, document.title, document.text) == ("deep/wing.md", "On wings", "# A heading\n\nThey lift.\n")
    assert document.metadata == {
        "path": "deep/wing.md", "modified": TIME, "tags": ["lift", "drag"], "date": "2020-05-01", "draft": False
    }  # fmt: skip


def test_tags_with_commas_in_front_matter_are_a_list(tmp_path: Path) -> None:
    text = "---\nTags: k8s, ops,\nkeywords: one\nplace: Rome, Italy\n---\nx"
    (document,) = read_corpus(write(tmp_path, {"a.md": text}))
    own = {"path": "a.md", "modified": TIME}
    assert document.metadata == {**own, "Tags": ["k8s", "ops"], "keywords": "one", "place": "Rome, Italy"}


def test_texts_have_their_path_and_time_of_change(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.txt": "x", "b.markdown": "# B\ny", "c.txt.gz": gzip.compress(b"z", mtime=0)})
    documents = list(read_corpus(folder))
    assert [(d.id, d.title, d.text) for d in documents] == [
        ("a.txt", "a", "x"),
        ("b.markdown", "B", "y"),
        ("c.txt.gz", "c", "z"),
    ]
    assert [d.metadata for d in documents] == [{"path": d.id, "modified": TIME} for d in documents]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\na: 1\n---\nrest", ({"a": 1}, "rest")),
        ("---\r\na: 1\r\n---\r\nrest".replace("\r\n", "\n"), ({"a": 1}, "rest")),
        ("---\na: 1\n...\nrest", ({"a": 1}, "rest")),
        ("---\na: 1\n---", ({"a": 1}, "")),
        ("---\n1: x\nnull: y\n---\n", ({"1": "x", "None": "y"}, "")),
        ("no front matter", None),
        ("---\n---\nrest", None),
        ("---\nwords, and a rule\n---\nrest", None),
        ("---\n- a\n- b\n---\nrest", None),
        ("---\na: [\n---\nrest", None),
        ("---\na: !!python/object:os.system x\n---\nrest", None),
        ("---\na: !!bool x\n---\nrest", None),
        ("---\na: !!timestamp x\n---\nrest", None),
        ("---\na: &a [x]\nb: *a\n---\nrest", None),
        ("---\na: &a [*a]\n---\nrest", None),
        (f"---\na: {'[' * 20_000}\n---\nrest", None),
        (f"---\na: {'1' * 6_000}\n---\nrest", None),
        (f"---\na: {'x' * 200_000}\n---\nrest", None),
        ("---\nnever closed", None),
        ("----\na: 1\n---\n", None),
    ],
)
def test_front_matter_is_a_mapping_in_safe_yaml(text: str, expected: tuple[dict[str, Any], str] | None) -> None:
    assert front_matter(text)[:2] == (expected or (None, text))


def test_broken_front_matter_is_text_and_its_file_is_named(tmp_path: Path) -> None:
    broken = "---\ntags: [a, b\n---\nwords"
    folder = write(tmp_path, {"a/open.md": broken, "rule.md": "---\na sentence\n---\nwords", "plain.md": "words"})
    corpus = read_corpus(folder)
    assert [document.text for document in corpus if document.id == "a/open.md"] == [broken]
    warning = (
        "Files with front matter that is no valid YAML: 1 (a/open.md, line 2). It is indexed as text. "
        "Put quotes around the value in that line."
    )
    assert corpus.warnings == [warning]
    list(corpus)
    assert corpus.warnings == [warning]  # of the last iteration alone


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("title: Postmortem: payments outage", {"title": "Postmortem: payments outage"}),
        ("title: A: b\ndate: 2024-05-01\ndraft: false", {"title": "A: b", "date": "2024-05-01", "draft": False}),
        ("title: A: b\ntags:\n- x\n- y\n\n# why\nn: 3", {"title": "A: b", "tags": ["x", "y"], "n": 3}),
        ("tags:\n  - x: y: z\n  - w\nby: @jane", {"tags": ["x: y: z", "w"], "by": "@jane"}),
        ("title: A: b\nauthor:\n  name: Jo", {"title": "A: b", "author": {"name": "Jo"}}),
        ("title: 'Tis the season: wings", {"title": "'Tis the season: wings"}),
        ("title: A: b\ntags: [x, y]", {"title": "A: b", "tags": ["x", "y"]}),
    ],
)
def test_values_that_are_no_yaml_are_texts(block: str, expected: dict[str, Any]) -> None:
    assert front_matter(f"---\n{block}\n---\nrest") == (expected, "rest", 0)


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ("title: A: b\ntags: [x, y", 3),
        ("title: A: b\nno entry", 3),
        ("title: A: b\n\nx: *alias", 4),
        ("title: A: b\nx: !!python/object:os.system x", 3),
        ("title: A: b\nx:\n- &a [*a]", 3),
        ("title: A: b\n" + "a: x\n" * 33_000, 0),
        ("title: A: b\n" + "a: x\n" * 15_000, 1),
    ],
)
def test_what_is_neither_yaml_nor_simple_is_named_by_its_line(block: str, line: int) -> None:
    text = f"---\n{block}\n---\nrest"
    start = time.perf_counter()
    assert front_matter(text) == (None, text, line)
    assert time.perf_counter() - start < 5


def test_the_title_of_front_matter_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.md": "---\nTitle: On wings\n---\nlift", "b.md": "---\nTITLE: x\ntitle: y\n---\nlift"})
    assert [document.title for document in read_corpus(folder)] == ["On wings", "y"]


def test_a_few_lines_of_yaml_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    (document,) = read_corpus(write(tmp_path, {"bomb.md": "---\n" + "\n".join(lines) + "\n---\nwords"}))
    assert set(document.metadata) == {"path", "modified"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", b"---\ntags: [x]\n---\n# On wings\nlift"),
        ("b.txt", b"words"),
        ("c.txt.gz", gzip.compress(b"words", mtime=0)),
    ],
)
def test_a_text_alone_is_read_as_in_its_folder(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write(tmp_path / "notes", {name: content})
    corpus = read_corpus(folder / name)
    corpus.check_start()
    assert list(corpus) == list(read_corpus(folder))
    assert [document.id for document in corpus] == [name]


def test_a_text_alone_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, {"a.txt": b"\xff", "b.pdf": "x"})
    with pytest.raises(InvalidError, match=r"a\.txt, line 1: the text is not UTF-8"):
        list(read_corpus(folder / "a.txt"))
    without(monkeypatch, "pypdf")
    with pytest.raises(UnavailableError, match=r"b\.pdf cannot be read: PDF needs the library pypdf"):
        read_corpus(folder / "b.pdf")


PAGE = (
    "<html><head><title>On wings</title><meta name='date' content='2024-05-01'></head><body><nav>Menu Home</nav>"
    "<article><h1>On wings</h1>" + "<p>Lift is a force that acts on a wing in a stream of air.</p>" * 5 + "</article>"
    "<script>alert(1)</script></body></html>"
)


def test_pages_are_read_without_their_menus(tmp_path: Path) -> None:
    pytest.importorskip("trafilatura")
    (document,) = read_corpus(write(tmp_path, {"wing.html": PAGE}))
    assert document.title == "On wings"
    assert "Lift is a force" in document.text
    assert "alert" not in document.text
    assert document.metadata["date"] == "2024-05-01"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>short</p><script>no</script>", "short"),
        ("", ""),
        ("just words", "just words"),
        ("<!-- x -->", ""),
    ],
)
def test_pieces_of_a_page_are_read_too(tmp_path: Path, page: str, text: str) -> None:
    pytest.importorskip("trafilatura")
    (bare,) = read_corpus(write(tmp_path, {"x.htm": page}))
    assert [bare] == list(read_corpus(tmp_path / "x.htm"))
    assert (bare.text.strip(), bare.title) == (text, "x")


def pdf(text: str) -> bytes:
    """A page with a line of text."""
    stream = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title(On wings)/Author(Ting)>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 7\n0000000000 65535 f \n" + table + b"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\n"
    return out + head + b"startxref\n%d\n%%%%EOF" % len(out)


def test_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    (document,) = read_corpus(write(tmp_path, {"wing.pdf": pdf("Wings lift")}))
    assert (document.title, document.text.strip()) == ("On wings", "Wings lift")
    assert document.metadata == {"path": "wing.pdf", "modified": TIME, "author": "Ting"}


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4\nnothing", b"<html>"])
def test_a_damaged_pdf_is_named(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pypdf")
    with pytest.raises(DamagedError, match=r"wing\.pdf cannot be read as PDF"):
        ids(write(tmp_path, {"wing.pdf": content}))


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] in libraries:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **more)

    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("a.html", "trafilatura", "html"), ("a.htm", "trafilatura", "html"), ("a.pdf", "pypdf", "pdf")],
)
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str, extra: str
) -> None:
    without(monkeypatch, library)
    with pytest.raises(UnavailableError) as error:
        ids(write(tmp_path / "only", {name: "x"}))
    assert library in error.value.message
    assert f"debater-search[{extra}]" in error.value.hint
    corpus = read_corpus(write(tmp_path / "more", {name: "x", "note.txt": "words"}))
    assert [document.id for document in corpus] == ["note.txt"]
    assert corpus.warnings == [f"Files that are not read because the extra {extra} is not installed: 1."]


def test_pages_beside_tables_need_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "trafilatura", "pypdf")
    assert ids(write(tmp_path, {"index.html": "x", "paper.pdf": "x", "docs.jsonl": rows("1")})) == ["1"]


@pytest.mark.parametrize("name", ["a\nq1 Q0 evil 1 9 x.txt", "tab\there.txt", "es\x1b[31mc.md", "c1\x9b.txt"])
def test_a_file_whose_name_can_be_no_id_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, {"good.txt": "wings", name: "more"})
    with pytest.raises(InvalidError, match="holds a control character"):
        list(read_corpus(folder))


def test_parts_are_in_natural_order() -> None:
    names = ["part-10", "part-2", "part-1b", "part-1", "a", "10", "9", "9a"]
    assert sorted(names, key=natural) == ["9", "9a", "10", "a", "part-1", "part-1b", "part-2", "part-10"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "notes", {"a.txt": "x"})
    (folder / "again").symlink_to(folder, target_is_directory=True)
    assert ids(folder) == ["a.txt"]


def test_an_unreadable_table_is_skipped_among_texts_and_an_error_among_tables(tmp_path: Path) -> None:
    folder = write(tmp_path, {"note.txt": "words", "broken.jsonl": "{"})
    assert ids(folder) == ["note.txt"]
    with pytest.raises(InvalidError, match=r"broken\.jsonl, line 1: this is not JSON"):
        ids(write(tmp_path, {"docs.jsonl": rows("1")}))
