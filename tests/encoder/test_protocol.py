"""The contract of `TextEncoder`, and proof that nothing more is needed: not even torch."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from debater_search.encoder import Encoder, TextEncoder
from debater_search.encoder.protocol import Calibrating, Tokenizing, device_of, instruction_of, is_cacheable
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo
from debater_search.indexing import build
from debater_search.progress import Progress
from debater_search.training.development import SharedEncoder
from debater_search.training.parallel import Parallel
from debater_search.training.student import Student
from debater_search.types import Document
from tests.fakes import BareEncoder, FakeEncoder, tiny_corpus

DOCUMENTS = [
    Document("d1", "lift of a wing", "Wings"),
    Document("d2", "drag"),
    Document("d3", "lift of a wing", "Wings"),
]
CONTENTS = ["Wings lift of a wing", "drag", "Wings lift of a wing"]


def shared(start: Encoder) -> SharedEncoder:
    student = Student(start)
    return SharedEncoder(student, Parallel(student))


MADE_OF_NOTHING = {"bare": BareEncoder, "fake": FakeEncoder}
MADE_OF_A_MODEL = {"Encoder": lambda start: start, "Student": Student, "SharedEncoder": shared}


@pytest.fixture(params=[*MADE_OF_NOTHING, *MADE_OF_A_MODEL])
def encoder(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> TextEncoder:
    if request.param in MADE_OF_NOTHING:
        return MADE_OF_NOTHING[request.param]()
    return MADE_OF_A_MODEL[request.param](Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=3))


def assert_vectors(vectors: np.ndarray, *shape: int) -> None:
    assert (vectors.dtype, vectors.shape) == (np.float32, shape)
    assert np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)


def test_every_method_gives_unit_vectors_in_order(encoder: TextEncoder) -> None:
    steps, dim = encoder.thinking_steps, encoder.dim
    queries, documents = encoder.encode_queries(["wing", "drag"]), encoder.encode_documents(DOCUMENTS)
    assert_vectors(queries, 2, dim)
    assert_vectors(documents, 3, dim)
    thought = encoder.deliberate(DOCUMENTS)
    assert_vectors(thought, 3, steps, dim)
    assert np.allclose(thought[:, -1], documents, atol=1e-6)
    assert np.allclose(documents[0], documents[2], atol=1e-6)
    assert not np.allclose(documents[0], documents[1], atol=1e-3)
    assert np.allclose(encoder.encode_documents(CONTENTS), documents, atol=1e-6)  # title, then text
    for row, text in zip(queries, ["wing", "drag"], strict=True):
        assert np.allclose(encoder.encode_queries([text])[0], row, atol=1e-5)


def test_nothing_gives_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode_queries([]).shape == encoder.encode_documents([]).shape == (0, encoder.dim)
    assert encoder.deliberate([]).shape == (0, encoder.thinking_steps, encoder.dim)


@pytest.mark.parametrize("batch_tokens", [None, 64])
def test_windows_are_those_of_one_call_and_advance_the_callers_line(
    encoder: TextEncoder, batch_tokens: int | None
) -> None:
    def windows() -> Iterator[list[Document]]:
        yield DOCUMENTS[:2]
        yield []
        yield DOCUMENTS[2:]

    bar = Progress("Encoding", 3, "documents", enabled=False)
    found = list(encoder.deliberate_windows(windows(), batch_tokens=batch_tokens, progress=bar))
    assert [len(vectors) for vectors in found] == [2, 0, 1]
    assert np.allclose(np.concatenate(found), encoder.deliberate(DOCUMENTS), atol=1e-5)
    assert bar.done == 3


def test_texts_that_a_model_does_not_read_to_their_end_are_counted(tiny_model: Callable[..., Path]) -> None:
    encoder = Encoder.load(tiny_model("bert"), device="cpu", max_length=8)
    bar = Progress("Encoding", 4, "documents", enabled=False)
    long = Document("1", "wing " * 30)
    windows = [[long, Document("2", "wing")], [long, Document("3", "drag")]]
    list(encoder.deliberate_windows(windows, progress=bar))
    assert (bar.done, bar.filled) == (4, 2)


def test_an_instruction_is_a_choice_of_each_call(encoder: TextEncoder) -> None:
    plain = encoder.encode_queries(["wing"], instruction="")
    assert_vectors(encoder.encode_queries(["wing"], instruction="Find:"), 1, encoder.dim)
    assert np.allclose(encoder.encode_queries(["wing"], instruction=""), plain, atol=1e-6)


def test_a_manifest_can_record_its_identity(encoder: TextEncoder) -> None:
    info = EncoderInfo.of(encoder)
    assert EncoderInfo.model_validate_json(info.model_dump_json()) == info
    assert len(encoder.fingerprint) == 64
    assert encoder.fingerprint == encoder.fingerprint


def test_abilities_have_defaults() -> None:
    bare: TextEncoder = BareEncoder()
    assert not isinstance(bare, Tokenizing | Calibrating)
    assert (device_of(bare), instruction_of(bare), is_cacheable(bare)) == ("cpu", "", True)
    assert isinstance(FakeEncoder(), Tokenizing)
    assert isinstance(FakeEncoder(), Calibrating)


def test_a_model_in_training_is_neither_cached_nor_calibrated(tiny_model: Callable[..., Path]) -> None:
    start = Encoder.load(tiny_model("bert"), device="cpu")
    assert is_cacheable(start)
    assert isinstance(start, Calibrating)
    student = Student(start)
    for encoder in (student, SharedEncoder(student, Parallel(student))):
        assert not is_cacheable(encoder)
        assert not isinstance(encoder, Calibrating)


# A process with an encoder that is not ours, from the corpus to the metrics.
STRANGER = """
import sys
from pathlib import Path

repository, place, task = map(Path, sys.argv[1:])
sys.path.insert(0, str(repository))
from tests.fakes import BareEncoder, tiny_corpus

from debater_search.encoder.protocol import TextEncoder
from debater_search.evaluation import evaluate
from debater_search.indexing import add, build, compact, delete, verify
from debater_search.search import SearchEngine

encoder: TextEncoder = BareEncoder(dim=4096)
corpus = tiny_corpus(2100)
build(corpus[:-1], encoder, place, all_steps=True)
assert add(place, corpus[-1:], encoder=encoder).encoded == 1
delete(place, ["d3"])
engine = SearchEngine.open(place, encoder=encoder)
for mode in ("dense", "lexical", "hybrid"):
    assert engine.search(corpus[-1].content, 3, mode=mode)[0].id == "d2099", mode
assert "d3" not in [hit.id for hit in engine.search("unique3.", 5)]
assert len(engine.more_like("d7", 5, rescore="max")) == 5
engine.close()
compact(place)
assert not verify(place).damaged
assert 0 < evaluate(task, encoder).metrics["ndcg@10"] <= 1

loaded = {"torch", "transformers"} & sys.modules.keys()
assert not loaded, loaded
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(f'{{"_id": "{d.id}", "title": "{d.title}", "text": "{d.text}"}}\n' for d in tiny_corpus())
    )
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "aircraft unique3."}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td3\t1\n")
    return folder


def test_an_encoder_of_other_make_does_everything_without_torch(task: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STRANGER, str(Path(__file__).parents[2]), str(tmp_path / "index"), str(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_passages_need_an_encoder_that_shows_its_tokens(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="fake cannot cut documents into passages"):
        build(tiny_corpus(), BareEncoder(), tmp_path / "index", passages=32)
