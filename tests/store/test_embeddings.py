import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from debater_search.errors import DebaterError
from debater_search.files import sha256_file
from debater_search.identity import EncoderInfo
from debater_search.store import embeddings
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import (
    CorpusInfo,
    DType,
    EmbeddingsManifest,
    read_manifest,
    write_manifest,
)

ENCODER = EncoderInfo(name="fake", fingerprint="f" * 64, dim=4, thinking_steps=3, recipe={"model": "fake"})
CORPUS = CorpusInfo(source="corpus.jsonl", fingerprint="c" * 64, documents=5)
IDS = [["a", "b", "ü"], ["d", "e"]]
STEPS = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)


def written(folder: Path, *, dtype: DType = "float32", thinking_steps: int = 0) -> EmbeddingStore:
    writer = EmbeddingWriter(folder, 4, dtype=dtype, thinking_steps=thinking_steps)
    values = STEPS if thinking_steps else STEPS[:, -1]
    made = [writer.write(0, IDS[0], values[:3]), writer.write(1, IDS[1], values[3:])]
    return writer.finish(made, ENCODER, CORPUS)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 2e-3)])
def test_vectors_and_steps_come_back_as_float32(tmp_path: Path, dtype: DType, tolerance: float) -> None:
    written(tmp_path / "e", dtype=dtype, thinking_steps=3)
    store = EmbeddingStore.open(tmp_path / "e")
    assert len(store) == 5
    assert store.ids() == IDS[0] + IDS[1]
    assert store.vectors().dtype == np.float32
    np.testing.assert_allclose(store.vectors(), STEPS[:, -1], atol=tolerance)
    np.testing.assert_allclose(np.concatenate(list(store.steps())), STEPS, atol=tolerance)


@pytest.mark.parametrize(("dtype", "value"), [("float32", pa.float32()), ("float16", pa.float16())])
def test_shards_have_the_documented_schema(tmp_path: Path, dtype: DType, value: pa.DataType) -> None:
    written(tmp_path / "e", dtype=dtype, thinking_steps=3)
    schema = pq.read_schema(tmp_path / "e" / "shard-00000.parquet")
    assert schema.names == ["id", "embedding", "thinking_steps"]
    assert schema.field("id").type == pa.string()
    assert (schema.field("embedding").type.value_type, schema.field("embedding").type.list_size) == (value, 4)
    assert schema.field("thinking_steps").type.list_size == 12


def test_the_manifest_counts_rows_and_hashes_every_shard(tmp_path: Path) -> None:
    written(tmp_path / "e")
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["schema_version"] == 1
    assert manifest["encoder"]["fingerprint"] == ENCODER.fingerprint
    assert manifest["corpus"]["fingerprint"] == CORPUS.fingerprint
    assert [(s["file"], s["rows"], len(s["sha256"])) for s in manifest["shards"]] == [
        ("shard-00000.parquet", 3, 64),
        ("shard-00001.parquet", 2, 64),
    ]
    assert (manifest["dim"], manifest["dtype"], manifest["thinking_steps"]) == (4, "float32", 0)
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        "manifest.json",
        "shard-00000.parquet",
        "shard-00001.parquet",
    ]


def test_steps_of_a_store_without_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="only the last thinking step"):
        list(written(tmp_path / "e").steps())


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    written(tmp_path / "e")
    (tmp_path / "e" / "shard-00001.parquet").unlink()
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet is missing"):
        EmbeddingStore.open(tmp_path / "e")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: flipped(b, 60)])
def test_a_truncated_or_flipped_shard_is_named_on_reading(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    written(tmp_path / "e")
    path = tmp_path / "e" / "shard-00001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet is damaged"):
        EmbeddingStore.open(tmp_path / "e").vectors()
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet is damaged"):
        EmbeddingStore.open(tmp_path / "e").copy_to(tmp_path / "copy")
    assert not (tmp_path / "copy" / "manifest.json").exists()


def large(folder: Path, rows: int = 300, seed: int = 0) -> tuple[Path, np.ndarray]:
    """A store of two shards, each of several row groups, and its steps."""
    steps = np.random.default_rng(seed).normal(size=(rows, 3, 4)).astype(np.float32)
    writer = EmbeddingWriter(folder, 4, thinking_steps=3)
    half = rows // 2
    made = [
        writer.write(number, [f"{seed}-{row}" for row in range(rows)[part]], steps[part])
        for number, part in enumerate((slice(0, half), slice(half, rows)))
    ]
    writer.finish(made, ENCODER, CORPUS)
    return folder, steps


@pytest.mark.parametrize("steps", [False, True])
def test_rows_around_a_position_are_read_without_the_rest(tmp_path: Path, steps: bool) -> None:
    (first, one), (later, two) = large(tmp_path / "0"), large(tmp_path / "1", seed=1)
    store, values = EmbeddingStore.open(first, later), np.concatenate([one, two])
    for positions in ([0], [149, 150], [63, 64, 449, 450, 599], list(range(600)), []):
        found = list(store.around(np.array(positions, np.int64), steps=steps))
        read = np.concatenate([start + np.arange(len(rows)) for start, rows in found] or [np.empty(0, np.int64)])
        assert set(positions) <= set(read.tolist())
        assert len(read) == len(set(read.tolist())) <= 64 * len(positions)
        for start, rows in found:
            expected = values[start : start + len(rows)]
            np.testing.assert_array_equal(rows, expected if steps else expected[:, -1])


def test_shards_of_one_compressed_row_group_are_read_too(tmp_path: Path) -> None:
    folder, values = large(tmp_path / "e")
    manifest = read_manifest(folder / "manifest.json", EmbeddingsManifest)
    for shard in manifest.shards:
        pq.write_table(pq.read_table(folder / shard.file), folder / shard.file, compression="zstd")
        shard.sha256 = sha256_file(folder / shard.file)
    write_manifest(folder / "manifest.json", manifest)
    ((start, rows),) = EmbeddingStore.open(folder).around(np.array([151, 299]), steps=True)
    np.testing.assert_array_equal(rows, values[start:])


def test_a_shard_is_hashed_once_and_its_pages_are_checked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, steps = large(tmp_path / "e")
    hashed: list[str] = []
    monkeypatch.setattr(
        embeddings, "_hash_of", lambda file, real=embeddings._hash_of: hashed.append(Path(file.name).name) or real(file)
    )
    store = EmbeddingStore.open(folder)
    for _ in range(3):
        list(store.around(np.array([100, 200])))
    assert hashed == ["shard-00000.parquet", "shard-00001.parquet"]
    path = folder / "shard-00000.parquet"
    content = path.read_bytes()
    path.write_bytes(flipped(content, content.find(steps[70, -1].tobytes())))
    with pytest.raises(DebaterError, match=r"shard-00000\.parquet cannot be read"):
        list(store.around(np.array([70])))
    path.write_bytes(content[:-8])
    with pytest.raises(DebaterError, match=r"shard-00000\.parquet cannot be read"):
        list(store.around(np.array([70])))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: flipped(b, 60)])
def test_rows_of_a_damaged_shard_are_not_read(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder, _ = large(tmp_path / "e")
    path = folder / "shard-00001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    store = EmbeddingStore.open(folder)
    assert list(store.around(np.array([3])))
    for _ in range(2):
        with pytest.raises(DebaterError, match=r"shard-00001\.parquet is damaged"):
            list(store.around(np.array([3, 299])))


def test_a_shard_of_other_length_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "e")
    path = tmp_path / "e" / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"rows": 2', '"rows": 3'), encoding="utf-8")
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet cannot be read: 2 rows"):
        EmbeddingStore.open(tmp_path / "e").ids()
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet cannot be read: 2 rows"):
        list(EmbeddingStore.open(tmp_path / "e").around(np.array([5])))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_the_hash_made_while_writing_is_that_of_the_file(tmp_path: Path) -> None:
    shards = written(tmp_path / "e", thinking_steps=3).manifest.shards
    assert [shard.rows for shard in shards] == [3, 2]
    assert [shard.sha256 for shard in shards] == [sha256_file(tmp_path / "e" / shard.file) for shard in shards]


@pytest.mark.parametrize("name", ["papers:v2", "~", "http:", "caf\udce9", "100%#?"])
def test_a_folder_of_any_name_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    store = EmbeddingStore.open(written(Path(name)).place)
    np.testing.assert_array_equal(store.vectors(), STEPS[:, -1])
    [(_, rows)] = store.around(np.array([4]))
    np.testing.assert_array_equal(rows, STEPS[3:, -1])


def test_a_writer_finds_its_undamaged_shards(tmp_path: Path) -> None:
    first, _ = written(tmp_path / "e").manifest.shards
    again = EmbeddingWriter(tmp_path / "e", 4)
    assert again.find(0, IDS[0]) == first
    assert not again.find(0, ["a", "b", "other"])
    assert not again.find(2, IDS[0])
    assert not EmbeddingWriter(tmp_path / "e", 4, dtype="float16").find(0, IDS[0])
    assert not EmbeddingWriter(tmp_path / "e", 5).find(0, IDS[0])
    assert not EmbeddingWriter(tmp_path / "e", 4, thinking_steps=3).find(0, IDS[0])


def test_a_writer_does_not_trust_a_damaged_shard(tmp_path: Path) -> None:
    written(tmp_path / "e")
    path = tmp_path / "e" / "shard-00000.parquet"
    content = path.read_bytes()
    again = EmbeddingWriter(tmp_path / "e", 4)
    path.write_bytes(content[:-9])
    assert not again.find(0, IDS[0])
    where = content.find(STEPS[0, -1].tobytes()[:3])  # inside the values
    path.write_bytes(flipped(content, where if where > 0 else 60))
    assert not again.find(0, IDS[0])


def test_a_newer_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{"schema_version": 99, "other": 1}', encoding="utf-8")
    with pytest.raises(DebaterError, match="schema version 99, newer than"):
        read_manifest(path, EmbeddingsManifest)


@pytest.mark.parametrize("content", ["", '{"schema_version": 1, "enc', "[]", "{}", "\udcff"])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DebaterError, match=r"manifest\.json is damaged"):
        read_manifest(path, EmbeddingsManifest)


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    written(tmp_path / "e")
    path = tmp_path / "e" / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("shard-00001", "../shard-00001"), encoding="utf-8")
    with pytest.raises(DebaterError, match="damaged"):
        EmbeddingStore.open(tmp_path / "e")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_manifest_that_is_a_stream_is_damaged_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(DebaterError, match="is damaged: it is not a regular file"):
        read_manifest(tmp_path / "manifest.json", EmbeddingsManifest)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, f'{{"schema_version": {"1" * 6000}}}', "\0", "[]"])
def test_json_of_strangers_is_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(DebaterError, match="is damaged"):
        read_manifest(tmp_path / "manifest.json", EmbeddingsManifest)
