"""Training sets by position: every shape on disk, bad rows, the cache, several readers at once."""

import gzip
import hashlib
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from debater_search.data import (
    TrainingSet,
    open_training_set,
    read_training_examples,
    training_cache,
    training_index,
    training_sources,
)
from debater_search.data.training_sources import is_hub_name
from debater_search.errors import DebaterError
from debater_search.types import TrainingExample

Row = dict[str, object]
ROWS: list[Row] = [
    {"query": f"q{n}", "positive": [f"p{n}", f"é{n}"], "negative": [f"n{n}", "x" * n]} for n in range(1, 6)
]
EXAMPLES = [TrainingExample(f"q{n}", f"p{n}", (f"n{n}", "x" * n), "set") for n in range(1, 6)]


@pytest.fixture(autouse=True)
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cache entries, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "debater" / "training"


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def saved(path: Path, *rows: object) -> Path:
    path.write_bytes(lines(*rows))
    return path


def everything(rows: TrainingSet, pick: int = 0) -> list[TrainingExample]:
    return [rows.example(row, pick) for row in range(len(rows))]


def test_rows_are_read_by_position(tmp_path: Path) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)
    rows = open_training_set(path)
    assert [rows.example(row) for row in (3, 0, 4)] == [EXAMPLES[row] for row in (3, 0, 4)]
    assert [rows.example(0, pick).positive for pick in range(3)] == ["p1", "é1", "p1"]
    assert (rows.source, len(rows), rows.bad.count, rows.place(3)) == ("set", 5, 0, f"{path}, line 4")
    assert rows.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert open_training_set(path, source="mine").example(0).source == "mine"
    for row in (-1, 5):
        with pytest.raises(IndexError):
            rows.example(row)


def test_the_longest_rows_are_known_without_reading_them(tmp_path: Path) -> None:
    path = saved(tmp_path / "set.jsonl", *({"query": "q", "positive": "x" * n} for n in (3, 9, 1, 9, 5)))
    rows = open_training_set(path)
    assert [rows.longest(count) for count in (0, 1, 3, 99)] == [[], [1], [1, 3, 4], [1, 3, 4, 0, 2]]


def test_it_reads_what_the_streaming_reader_reads(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(ROWS[0]) + b"\r\n" + lines(*ROWS[1:4]) + lines(ROWS[4]).rstrip())
    rows = open_training_set(path)
    assert everything(rows, 1) == list(read_training_examples(path, pick=1))
    assert rows.place(1) == f"{path}, line 3"


def as_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".ndjson.zst", ".parquet"])
def test_packed_files_are_unpacked_once(tmp_path: Path, entries: Path, suffix: str) -> None:
    path = tmp_path / f"set{suffix}"
    if suffix == ".parquet":
        as_parquet(path)
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(lines(*ROWS)))
    else:
        path.write_bytes(pa.compress(lines(*ROWS), codec="zstd", asbytes=True))
    rows = open_training_set(path)
    assert everything(rows) == EXAMPLES
    assert rows.fingerprint == open_training_set(saved(tmp_path / "set.jsonl", *ROWS)).fingerprint
    assert rows.place(4) == f"{path}, {'row' if suffix == '.parquet' else 'line'} 5"


def test_bad_rows_of_a_table_are_called_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_text('query,positive,negative\n"two\nlines",p,n\nq,,n\n', encoding="utf-8")
    rows = open_training_set(path, max_bad=1)
    assert everything(rows) == [TrainingExample("two\nlines", "p", ("n",), "set")]
    assert rows.bad.first == (f"{path}, line 4: there is no positive.",)


def beir(folder: Path, judgements: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    saved(folder / "corpus.jsonl", *({"_id": f"d{n}", "title": f"T{n}", "text": f"t{n}"} for n in range(4)))
    saved(folder / "queries.jsonl", *({"_id": f"{n}", "text": f"q{n}"} for n in range(4)))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgements}", encoding="utf-8")
    return folder


def test_a_beir_folder_makes_a_row_of_each_judged_query(tmp_path: Path) -> None:
    folder = beir(tmp_path / "sci", "2\td1\t1\n1\td3\t2\n2\td0\t1\n3\td0\t0\n")
    rows = open_training_set(folder)
    assert everything(rows) == [TrainingExample("q2", "T1 t1", (), "sci"), TrainingExample("q1", "T3 t3", (), "sci")]
    assert rows.example(0, pick=1).positive == "T0 t0"
    assert rows.place(1) == f"{folder}, query '1'"


def test_what_beir_judgements_name_must_be_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = beir(tmp_path / "sci", "9\td1\t1\n1\tlost\t1\n2\tlost\t1\n2\td0\t1\n")
    rows = open_training_set(folder, max_bad=2)
    assert rows.bad.first == (
        f"{folder}, query '9': there is no query.",
        f"{folder}, query '1': the positive is an empty list.",
    )
    assert everything(rows) == [TrainingExample("q2", "T0 t0", (), "sci")]
    assert "corpus.jsonl does not have: 1." in caplog.text


def test_a_folder_without_training_judgements_is_refused(tmp_path: Path) -> None:
    (beir(tmp_path / "sci", "1\td1\t1\n") / "qrels" / "train.tsv").unlink()
    with pytest.raises(DebaterError, match="holds no training data in BEIR layout"):
        open_training_set(tmp_path / "sci")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("org/name", True),
        ("org/my.name-2:config_1", True),
        ("org/name.jsonl", False),
        ("org/name.jsonl.gz", False),
        ("name", False),
        ("./name", False),
        ("../name", False),
        ("/data/name", False),
        ("org/sub/name", False),
        ("here/name", False),
    ],
)
def test_names_of_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_one: bool) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_hub_name(name) is is_one


def test_a_hubs_data_set_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_parquet(tmp_path / "train.parquet")
    real, asked = datasets.load_dataset, []

    def hub(name: str, config: str | None, **options: Any) -> object:
        asked.append((name, config))
        return real("parquet", data_files={"train": str(tmp_path / "train.parquet")}, **options)

    monkeypatch.setattr(datasets, "load_dataset", hub)
    for _ in range(2):
        rows = open_training_set("org/name:config", source="set")
        assert everything(rows) == EXAMPLES
    assert asked == [("org/name", "config")]
    assert rows.place(0) == "org/name:config, row 1"


def test_a_hub_out_of_reach_is_said_in_a_sentence() -> None:
    with pytest.raises(DebaterError) as error:
        open_training_set("org/name")
    assert "There is no file org/name, and no hub gave a data set of that name" in error.value.message
    assert "network" in error.value.hint


def test_a_hub_without_its_package_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DebaterError, match="the package datasets is needed"):
        open_training_set("org/name")


BAD = [b"{", b'{"query": "q"}', b"\xff", b"[1]", b'{"query": "", "positive": "p"}', b"{}", b"3"]


def test_more_bad_rows_than_allowed_stop_with_the_first_ones(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(lines(ROWS[0]) + b"\n".join(BAD) + b"\n" + lines(ROWS[1]))
    for max_bad in (0, 6):
        with pytest.raises(DebaterError) as error:
            open_training_set(path, max_bad=max_bad)
        assert "cannot be used: 7. " in error.value.message
        for number, what in enumerate(["not JSON", "no positive", "not UTF-8", "not an object", "empty text"], 2):
            assert f"{path}, line {number}: " in error.value.message
            assert what in error.value.message
        assert "line 7" not in error.value.message
        assert f"max_bad (now {max_bad})" in error.value.hint


def test_bad_rows_up_to_the_limit_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(lines(ROWS[0]) + b"\n".join(BAD) + b"\n" + lines(ROWS[1]))
    rows = open_training_set(path, max_bad=7)
    assert everything(rows) == EXAMPLES[:2]
    assert (rows.bad.count, len(rows.bad.first), rows.place(1)) == (7, 5, f"{path}, line 9")
    assert [(record.levelno, record.args) for record in caplog.records] == [(logging.WARNING, (path, rows.bad))]
    monkeypatch.chdir(tmp_path)  # by another name it is the same entry of the cache
    assert open_training_set("set.jsonl", max_bad=7).bad.first[0].startswith("set.jsonl, line 2: ")


def test_a_line_too_long_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (training_sources, training_index):
        monkeypatch.setattr(module, "MAX_LINE", 100)
    path = saved(tmp_path / "set.jsonl", ROWS[0], {"query": "q", "positive": "p" * 500}, ROWS[1])
    rows = open_training_set(path, max_bad=1)
    assert everything(rows) == EXAMPLES[:2]
    assert rows.bad.count == 1
    assert f"{path}, line 2: the line is longer than" in rows.bad.first[0]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n"])
def test_a_set_without_a_good_row_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.jsonl").write_bytes(content)
    with pytest.raises(DebaterError, match="There are no training examples"):
        open_training_set(tmp_path / "set.jsonl", max_bad=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.jsonl", "There is no file"),
        ("-", "standard input only once"),
        ("/dev/null", "is not a regular file"),
        ("set.xml", "has an unknown extension"),
        ("cut.jsonl.gz", "is cut off or damaged"),
    ],
)
def test_what_cannot_be_read_by_position_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    saved(tmp_path / "set.xml", *ROWS)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines(*ROWS))[:-20])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DebaterError, match=message):
        open_training_set(name)


def test_rows_with_all_their_teacher_scores_are_counted(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"query": "q", "positive": "p", "positive_scores": 1},
        {"query": "q", "positive": "p", "negative": "n", "positive_scores": 1, "negative_scores": [0]},
        {"query": "q", "positive": "p", "negative": "n", "positive_scores": 1},
        {"query": "q", "positive": "p"},
    ]
    assert open_training_set(saved(tmp_path / "set.jsonl", *rows)).scored == 2


@pytest.mark.parametrize("packed", [False, True])
def test_a_second_opening_reads_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)
    if packed:
        path = tmp_path / "set.jsonl.gz"
        path.write_bytes(gzip.compress(lines(*ROWS)))
    open_training_set(path)
    monkeypatch.setattr(training_cache, "index_lines", None)
    assert everything(open_training_set(path)) == EXAMPLES


def test_a_changed_file_is_indexed_again_and_its_old_entry_goes(tmp_path: Path, entries: Path) -> None:
    other = saved(tmp_path / "other.jsonl", *ROWS)
    path = saved(tmp_path / "set.jsonl", *ROWS)
    old = [open_training_set(file).fingerprint for file in (other, path)]
    saved(path, *ROWS[:2])
    assert len(open_training_set(path)) == 2
    assert len(list(entries.iterdir())) == 2
    assert open_training_set(other).fingerprint == old[0]


def test_entries_that_nobody_needs_go_when_one_is_made(tmp_path: Path, entries: Path) -> None:
    gone, unused, kept = (saved(tmp_path / f"{name}.jsonl", *ROWS) for name in ("gone", "unused", "kept"))
    folders = {}
    for path in (gone, unused, kept):
        before = set(entries.iterdir()) if entries.exists() else set()
        open_training_set(path)
        (folders[path.stem],) = set(entries.iterdir()) - before
    abandoned, young = entries / f"{32 * 'a'}.1.tmp", entries / "b.2.tmp"
    for folder in (abandoned, young):
        folder.mkdir()
        (folder / "rows.jsonl").write_bytes(b"x")
    long_ago = time.time() - 40 * 24 * 3600
    for file in (folders["unused"], *folders["unused"].iterdir(), abandoned / "rows.jsonl", abandoned):
        os.utime(file, (long_ago, long_ago))
    gone.unlink()
    open_training_set(saved(tmp_path / "new.jsonl", *ROWS))
    assert {folders["kept"], young} < set(entries.iterdir())
    assert not {folders["gone"], folders["unused"], abandoned} & set(entries.iterdir())


@pytest.mark.parametrize("file", ["index", "contents.json", "rows.jsonl"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, entries: Path, file: str) -> None:
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*ROWS)))
    open_training_set(path)
    (entry,) = entries.iterdir()
    (entry / file).write_bytes((entry / file).read_bytes()[:-10])
    assert everything(open_training_set(path)) == EXAMPLES


def test_an_open_set_outlives_its_files(tmp_path: Path, entries: Path) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)
    rows = open_training_set(path)
    path.unlink()
    shutil.rmtree(entries)
    assert everything(rows) == EXAMPLES


def test_a_file_changed_while_it_is_used_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)
    rows = open_training_set(path)
    path.write_bytes(b" " * 10)
    with pytest.raises(DebaterError, match="was changed after it had been opened"):
        rows.example(4)
    with pytest.raises(DebaterError, match="was changed after it had been opened"):
        pickle.loads(pickle.dumps(rows))


def test_a_file_that_grows_while_it_is_indexed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)

    def growing(stream: Any) -> Iterator[bytes]:
        yield from stream
        with path.open("ab") as file:
            file.write(lines(ROWS[0]))

    monkeypatch.setattr(training_sources, "_lines", growing)
    with pytest.raises(DebaterError, match="changed while it was read"):
        open_training_set(path)


def test_a_set_is_pickled_and_shared_by_threads(tmp_path: Path) -> None:
    rows = pickle.loads(pickle.dumps(open_training_set(saved(tmp_path / "set.jsonl", *ROWS), source="set")))
    order = [n % 5 for n in range(500)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(rows.example, order)) == [EXAMPLES[n] for n in order]


def test_several_processes_may_open_a_new_set_at_once(tmp_path: Path, entries: Path) -> None:
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*ROWS * 2000)))
    code = (
        "import sys; from debater_search.data import open_training_set; "
        "rows = open_training_set(sys.argv[1]); print(len(rows), rows.example(9999).query)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[0] for process in started] == ["10000 q5\n"] * 4
    (entry,) = entries.iterdir()  # no lock, nothing half-made
    assert sorted(file.name for file in entry.iterdir()) == ["contents.json", "index", "rows.jsonl"]


def test_a_cache_that_cannot_be_written_to_gives_way_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(open_training_set(saved(tmp_path / "set.jsonl", *ROWS))) == 5
    assert list(tmp_path.glob("debater-*/training/*/index"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(DebaterError, match="no folder for the cache"):
        open_training_set(tmp_path / "set.jsonl")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, entries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "set.jsonl", *ROWS)
    monkeypatch.setattr(training_cache, "INDEX", "/dev/full")
    with pytest.raises(DebaterError, match=r"cannot be written to .*No space left"):
        open_training_set(path)
    assert not list(entries.iterdir())


@pytest.mark.parametrize(("suffix", "line"), [("", "Reading set: 1/1 MiB"), (".gz", "Reading set: 1 MiB")])
def test_reading_much_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str, line: str
) -> None:
    path = tmp_path / f"set.jsonl{suffix}"
    path.write_bytes(gzip.compress(lines(*ROWS)) if suffix else lines(*ROWS))
    monkeypatch.setattr(training_cache, "LARGE", 1)
    open_training_set(path)
    assert capsys.readouterr().err.startswith(line)
    open_training_set(path)
    assert not capsys.readouterr().err


def test_a_missing_file_says_what_data_paths_are_relative_to(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="no file") as raised:
        open_training_set(tmp_path / "nosuch.jsonl")
    assert raised.value.hint.startswith("Check the name: data paths are relative to the config file")
