"""From a corpus to an index: what is in the folder, and what an interrupted build does."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.types import Document
from tests.fakes import FakeEncoder, Interrupted, tiny_corpus

CORPUS = tiny_corpus()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_index_is_the_documented_folder(tmp_path: Path) -> None:
    result = build(CORPUS, FakeEncoder(), tmp_path / "new" / "index", shard_size=10)
    folder = tmp_path / "new" / "index"
    assert sorted(p.name for p in folder.iterdir()) == ["documents.sqlite", "embeddings", "manifest.json", "vectors"]
    assert len(list((folder / "embeddings").glob("shard-*.parquet"))) == 3
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["name"] == "index"
    assert manifest["encoder"]["recipe"] == {"model": "fake"}
    assert manifest["corpus"]["documents"] == result.documents == 25
    assert manifest["vectors"]["type"] == "flat"
    assert EmbeddingStore.open(folder / "embeddings").ids() == [document.id for document in CORPUS]
    assert list(tmp_path.rglob("*.tmp")) == []


def test_stored_vectors_are_the_encoders(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=10, all_steps=True)
    store = EmbeddingStore.open(tmp_path / "i" / "embeddings")
    np.testing.assert_array_equal(store.vectors(), FakeEncoder().encode_documents(CORPUS))
    np.testing.assert_array_equal(np.concatenate(list(store.steps())), FakeEncoder().deliberate(CORPUS))


def test_an_iterable_is_read_once_and_streamed(tmp_path: Path) -> None:
    assert build(iter(CORPUS), FakeEncoder(), tmp_path / "i", shard_size=7).documents == 25


def test_a_corpus_file_is_read_and_its_warnings_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "1", "text": "wing"}\n{"_id": "2", "text": ""}\n', encoding="utf-8")
    result = build(path, FakeEncoder(), tmp_path / "i")
    assert result.manifest is not None
    assert result.manifest.corpus.source == str(path)
    assert len(result.warnings) == 1
    assert "Empty texts" in caplog.text


def test_without_an_encoder_the_index_is_lexical(tmp_path: Path) -> None:
    result = build(CORPUS, None, tmp_path / "i")
    assert result.manifest is not None
    assert result.manifest.encoder is result.manifest.vectors is None
    assert sorted(p.name for p in (tmp_path / "i").iterdir()) == ["documents.sqlite", "manifest.json"]


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, Interrupted(20), tmp_path / "i", shard_size=10)
    assert not (tmp_path / "i" / "manifest.json").exists()
    again = FakeEncoder()
    result = build(CORPUS, again, tmp_path / "i", shard_size=10)
    assert (result.reused, again.encoded) == (20, 5)
    build(CORPUS, FakeEncoder(), tmp_path / "whole", shard_size=10)
    ours, undisturbed = (EmbeddingStore.open(tmp_path / name / "embeddings") for name in ("i", "whole"))
    np.testing.assert_array_equal(ours.vectors(), undisturbed.vectors())
    assert ours.ids() == undisturbed.ids()


def test_a_damaged_shard_of_an_interrupted_build_is_encoded_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, Interrupted(20), tmp_path / "i", shard_size=10)
    path = tmp_path / "i" / "embeddings" / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=10).reused == 10


@pytest.mark.parametrize(
    ("what", "difference"),
    [
        ({"encoder": FakeEncoder("other")}, "encoder"),
        ({"corpus": tiny_corpus(24)}, "corpus"),
        ({"shard_size": 5}, "shard size"),
        ({"all_steps": True}, "all steps"),
        ({"encoder": None}, "of another job"),
    ],
)
def test_another_command_does_not_touch_unfinished_work(tmp_path: Path, what: dict, difference: str) -> None:
    folder = tmp_path / "i"
    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, Interrupted(20), folder, shard_size=10)
    before = snapshot(folder)
    arguments = {"corpus": CORPUS, "encoder": FakeEncoder(), "shard_size": 10} | what
    with pytest.raises(DebaterError, match=f"unfinished work of another command .*{difference}"):
        build(folder=folder, **arguments)
    assert snapshot(folder) == before
    assert build(folder=folder, force=True, **arguments).reused == 0
    assert len(SearchEngine.open(folder).documents) == len(arguments["corpus"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("all_steps", [False, True])
def test_an_embedding_that_is_not_finite_names_its_document(tmp_path: Path, value: float, all_steps: bool) -> None:
    class Broken(FakeEncoder):
        def deliberate(self, texts: Sequence[str | Document], *, progress: bool = False) -> np.ndarray:
            vectors = super().deliberate(texts)
            vectors[["unique13." in str(text) for text in texts], -1, 5] = value
            return vectors

    with pytest.raises(DebaterError, match="document 'd13'"):
        build(CORPUS, Broken(), tmp_path / "i", shard_size=10, all_steps=all_steps)
    assert not (tmp_path / "i" / "manifest.json").exists()


def test_ready_embeddings_make_the_same_index_without_a_model(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "shards", shard_size=10, encode_only=True)
    assert not (tmp_path / "shards" / "manifest.json").exists()
    build(CORPUS, None, tmp_path / "i", embeddings=tmp_path / "shards")
    build(CORPUS, FakeEncoder(), tmp_path / "direct")
    answers = [SearchEngine.open(tmp_path / name, encoder=FakeEncoder()).search("unique4.") for name in ("i", "direct")]
    assert answers[0] == answers[1]


def test_encode_only_is_finished_by_the_full_command_and_refused_to_itself(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", encode_only=True)
    with pytest.raises(DebaterError, match="finished embeddings already"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", encode_only=True)
    assert build(CORPUS, FakeEncoder(), tmp_path / "i").reused == 25


def test_embeddings_of_another_corpus_or_model_are_refused(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "shards", encode_only=True)
    with pytest.raises(DebaterError, match="another corpus"):
        build(CORPUS[::-1], None, tmp_path / "i", embeddings=tmp_path / "shards")
    with pytest.raises(DebaterError, match=r"made by fake .*, not by other"):
        build(CORPUS, FakeEncoder("other"), tmp_path / "i", embeddings=tmp_path / "shards")
    with pytest.raises(DebaterError, match="only the last thinking step"):
        build(CORPUS, None, tmp_path / "i", embeddings=tmp_path / "shards", all_steps=True)
    with pytest.raises(DebaterError, match="does not exist"):
        build(CORPUS, None, tmp_path / "i", embeddings=tmp_path / "nowhere")
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"type": "hsnw"}, "no index type 'hsnw'"),
        ({"dtype": "int8"}, "stored as 'int8'"),
        ({"shard_size": 0}, "cannot hold 0 documents"),
        ({"encoder": None, "encode_only": True}, "no model to encode with"),
    ],
)
def test_a_bad_setting_stops_before_any_work(tmp_path: Path, setting: dict, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        build(**{"corpus": CORPUS, "encoder": FakeEncoder(), "folder": tmp_path / "i"} | setting)
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_to_stderr_with_documents_and_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Encoding: 25/25 documents" in captured.err


def test_where_nothing_is_left_to_encode_there_is_no_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", encode_only=True)
    build(CORPUS, FakeEncoder(), tmp_path / "i", progress=True)
    assert "Encoding" not in capsys.readouterr().err


def test_the_batch_size_is_chosen_before_the_first_shard_and_kept_by_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("debater_search.indexing.encoding.WORTH_CALIBRATING", 20)
    monkeypatch.setattr("debater_search.indexing.encoding.SAMPLE", 5)
    first = Interrupted(10)
    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, first, tmp_path / "i", shard_size=10)
    assert first.calibrations == 1
    assert json.loads((tmp_path / "i" / "embeddings" / "job.json").read_text())["batch_tokens"] == 1234
    again = FakeEncoder()
    build(CORPUS, again, tmp_path / "i", shard_size=10)
    assert (again.encoded, again.calibrations, again.used_batch_tokens) == (15, 0, 1234)
    small = FakeEncoder()
    build(CORPUS[:10], small, tmp_path / "small")
    assert (small.calibrations, small.used_batch_tokens) == (0, small.batch_tokens)


def test_a_shard_that_cannot_be_written_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(EmbeddingWriter, "write", full)
    encoder = FakeEncoder()
    with pytest.raises(OSError, match="disk full"):
        build(CORPUS, encoder, tmp_path / "i", shard_size=5)
    assert encoder.encoded <= 15


def test_a_killed_process_loses_only_the_shards_in_hand(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, signal, sys
        from debater_search.indexing import build
        from tests.fakes import FakeEncoder, Interrupted, tiny_corpus

        class Killed(FakeEncoder):
            def deliberate(self, texts, *, progress=False):
                if self.encoded >= 20:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().deliberate(texts)

        build(tiny_corpus(), Killed(), sys.argv[1], shard_size=10)
    """)
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "i")],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DebaterError, match="unfinished"):
        SearchEngine.open(tmp_path / "i")
    # One was being computed; the one before it was being written, or was written already.
    assert build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=10).reused in (10, 20)


def test_an_index_of_another_type_keeps_its_recall_in_the_manifest(tmp_path: Path) -> None:
    result = build(tiny_corpus(400), FakeEncoder(), tmp_path / "i", type="ivfpq", recall=0.9)
    assert result.manifest is not None
    vectors = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder()).manifest.vectors
    assert vectors is not None
    assert vectors == result.manifest.vectors
    assert (vectors.state["factory"], vectors.state["target"]) == ("IVF10,PQ32x4fs", 0.9)
    assert vectors.state["recall"]["10"] >= 0.9
    assert sorted(path.name for path in (tmp_path / "i" / "vectors").iterdir()) == ["index.faiss"]


def test_a_recall_out_of_reach_becomes_a_warning(tmp_path: Path) -> None:
    corpus = [Document(f"d{i}", f"word{i} word{i * 7 % 97} word{i * 5 % 89}") for i in range(1500)]
    result = build(corpus, FakeEncoder(), tmp_path / "i", type="PCA1,Flat", recall=1.0)
    assert "recall@10 of 1 cannot be reached with PCA1,Flat" in result.warnings[0]
    assert result.manifest is not None
    assert result.manifest.warnings == result.warnings
