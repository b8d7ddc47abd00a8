"""Whatever fulfils `TextEncoder` builds, changes, searches and evaluates an index; without torch if it needs none."""

import subprocess
import sys
from pathlib import Path

import pytest

from debater_search.errors import InvalidError
from debater_search.indexing import build
from tests.fakes import BareEncoder, tiny_corpus

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
