import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from debater_search.errors import BusyError, DebaterError
from debater_search.indexing import build
from debater_search.mining import MiningSettings, Summary, mine
from debater_search.mining import miner as miner_module
from debater_search.mining.questions import Question, read_questions
from debater_search.mining.selection import select
from debater_search.mining.texts import CorpusTexts, digest
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder

REPOSITORY = Path(__file__).parents[2]

# Every text shares words with the query, fewer and fewer of them from a0 on.
WORDS = ["how", "do", "wings", "of", "aircraft", "stall", "at", "low", "speed", "near", "ground"]
QUERY = " ".join(WORDS)
CORPUS = [Document(f"a{n}", " ".join(WORDS[: 10 - n] + [f"filler{n}{i}" for i in range(n)])) for n in range(8)]

Row = dict[str, Any]
Rows = list[Row]


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder(dim=4096)


@pytest.fixture
def engine(tmp_path: Path, encoder: FakeEncoder) -> Callable[[list[Document]], SearchEngine]:
    """Index documents and open the index; the encoder then counts from 0."""

    def make(documents: list[Document]) -> SearchEngine:
        build(documents, encoder, tmp_path / "index", force=True)
        encoder.encoded = 0
        return SearchEngine.open(tmp_path / "index", encoder=encoder)

    return make


def training_file(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def mined(output: Path) -> Rows:
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def mine_one(tmp_path: Path, engine: Callable[[list[Document]], SearchEngine]) -> Callable[..., tuple[Row, Summary]]:
    """Mine for QUERY: the row and the summary."""

    def run(
        positive: Any, documents: list[Document] = CORPUS, *, query: str = QUERY, **settings: Any
    ) -> tuple[Row, Summary]:
        source = training_file(tmp_path / "train.jsonl", {"query": query, "positive": positive})
        settings = {"negatives": 2, "max_share": 100.0, **settings}
        output = tmp_path / "out.jsonl"
        summary = mine(source, output, MiningSettings(**settings), engine=engine(documents), force=True)
        return mined(output)[0], summary

    return run


def names(row: Row, documents: list[Document] = CORPUS) -> list[str]:
    ids = {document.content: document.id for document in documents}
    return [ids[text] for text in row["negative"]]


MODES = pytest.mark.parametrize("mode", ["dense", "lexical"])


@MODES
def test_the_best_documents_that_are_no_positives_become_negatives_with_their_scores(
    mine_one: Callable[..., tuple[Row, Summary]], mode: str
) -> None:
    row, summary = mine_one(CORPUS[1].text, mode=mode)
    assert row["query"] == QUERY
    assert row["positive"] == [CORPUS[1].text]
    assert names(row) == ["a0", "a2"]
    assert row["negative_scores"][0] > row["positive_scores"][0] > row["negative_scores"][1]
    assert summary.dropped["positive"] == 1
    assert (summary.rows, summary.negatives, summary.per_row) == (1, 2, {2: 1})


def test_scores_are_the_cosines_of_the_encoder(
    mine_one: Callable[..., tuple[Row, Summary]], encoder: FakeEncoder
) -> None:
    foreign = "a text on wings that no index holds"
    documents = [*CORPUS[:7], Document('it\'s "a7"', CORPUS[7].text)]
    row, _ = mine_one([CORPUS[7].text, foreign], documents, window=(1, 3))  # the last one is below the window
    [query] = encoder.encode_queries([QUERY])
    for kind in ("positive", "negative"):
        expected = encoder.encode_documents(row[kind]) @ query
        np.testing.assert_allclose(row[f"{kind}_scores"], expected, atol=1e-5)


def test_only_positives_that_the_index_does_not_hold_are_encoded_and_each_once(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine], encoder: FakeEncoder
) -> None:
    rows = [{"query": f"wings {n}", "positive": positive} for n, positive in enumerate(["New", CORPUS[0].text, "new "])]
    mine(training_file(tmp_path / "t.jsonl", *rows), tmp_path / "o.jsonl", engine=engine(CORPUS))
    assert encoder.encoded == 1


def test_a_positive_is_known_by_its_text_without_the_title_too(
    mine_one: Callable[..., tuple[Row, Summary]], encoder: FakeEncoder
) -> None:
    content = f"A title {CORPUS[0].text}"
    documents = [Document("titled", CORPUS[0].text, "A title"), *CORPUS[1:], Document("untitled", content)]
    row, _ = mine_one(CORPUS[0].text.upper(), documents)
    assert names(row, documents) == ["a1", "a2"]
    assert encoder.encoded == 0


def test_bm25_scores_a_positive_that_is_not_in_the_corpus_and_never_offers_it(tmp_path: Path) -> None:
    build(CORPUS, None, tmp_path / "words")
    rows = [
        {"query": QUERY, "positive": f"{QUERY} surplus"},
        {"query": "filler71 surplus", "positive": "unrelated"},
    ]
    engine = SearchEngine.open(tmp_path / "words")
    mine(
        training_file(tmp_path / "t.jsonl", *rows), tmp_path / "o.jsonl", MiningSettings(mode="lexical"), engine=engine
    )
    first, second = mined(tmp_path / "o.jsonl")
    assert names(first) == [f"a{n}" for n in range(8)]
    assert first["positive_scores"][0] > first["negative_scores"][4]
    assert second["positive_scores"] == [0.0]
    assert names(second) == ["a7"]


def test_the_window_counts_ranks_as_a_search_shows_them(mine_one: Callable[..., tuple[Row, Summary]]) -> None:
    row, summary = mine_one(CORPUS[3].text, window=(3, 5), negatives=3)
    assert names(row) == ["a2", "a4"]
    assert summary.dropped["positive"] == 1


def test_no_negative_is_nearer_than_the_margin_or_the_share_to_the_best_positive(
    mine_one: Callable[..., tuple[Row, Summary]],
) -> None:
    row, summary = mine_one([CORPUS[2].text, CORPUS[0].text], margin=0.15, negatives=8)
    assert names(row) == ["a3", "a4", "a5", "a6", "a7"]
    assert max(row["negative_scores"]) <= max(row["positive_scores"]) - 0.15
    assert (summary.dropped["positive"], summary.dropped["margin"]) == (2, 1)
    row, summary = mine_one(CORPUS[2].text, max_share=0.8, negatives=8)
    assert names(row) == ["a4", "a5", "a6", "a7"]
    assert max(row["negative_scores"]) <= 0.8 * row["positive_scores"][0]
    assert summary.dropped["share"] == 3


def test_by_default_dense_negatives_have_at_most_95_percent_of_the_positives_score() -> None:
    assert MiningSettings().share == 0.95
    assert MiningSettings(mode="lexical").share is None


def test_a_share_lowers_a_negative_score_too() -> None:
    texts = SimpleNamespace(digests=np.array([5, 6, 7], np.uint64), holders={})
    ranking = [(0, -0.1), (1, -0.101), (2, -0.2)]
    selection = select(Question("q", ("p",)), ranking, [-0.1], cast(CorpusTexts, texts), MiningSettings(max_share=0.9))
    assert selection.negatives == [(2, -0.2)]


@MODES
def test_identical_texts_empty_texts_and_the_query_itself_are_no_negatives(
    mine_one: Callable[..., tuple[Row, Summary]], mode: str
) -> None:
    documents = [
        *CORPUS[:4],
        Document("copy", CORPUS[2].text.upper() + "  "),
        Document("answer", " " + CORPUS[0].text.title()),
        Document("question", QUERY + "\n"),
        Document("empty", ""),
    ]
    row, summary = mine_one(CORPUS[0].text.upper(), documents, negatives=8, mode=mode)
    assert len({digest(text) for text in row["negative"]}) == len(row["negative"])
    assert sorted(row["negative"]) == sorted(document.text for document in CORPUS[1:4])
    assert summary.dropped["positive"] == 2
    assert summary.dropped["duplicate"] == 1
    assert summary.dropped["query"] == 1
    assert summary.dropped["empty"] == (mode == "dense")


def test_a_text_ranked_before_the_window_does_not_come_back_inside_it(
    mine_one: Callable[..., tuple[Row, Summary]],
) -> None:
    documents = [CORPUS[1], CORPUS[2], Document("copy", CORPUS[1].text), *CORPUS[3:]]
    row, _ = mine_one(CORPUS[7].text, documents, window=(2, 4))
    assert names(row, documents) == ["a2", "a3"]


def test_positives_of_all_rows_of_a_query_are_kept_out(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine]
) -> None:
    rows = [
        {"query": QUERY, "positive": [CORPUS[0].text, CORPUS[1].text]},
        {"query": "other wings", "positive": CORPUS[5].text},
        {"query": QUERY.upper(), "positive": CORPUS[2].text, "negative": CORPUS[7].text},
    ]
    source, output = training_file(tmp_path / "t.jsonl", *rows), tmp_path / "o.jsonl"
    mine(source, output, MiningSettings(negatives=3, max_share=2), engine=engine(CORPUS))
    first, second = mined(output)
    assert sorted(first["positive"]) == sorted(CORPUS[n].text for n in range(3))
    assert len(first["positive_scores"]) == 3
    assert names(first) == ["a3", "a4", "a5"]
    assert second["query"] == "other wings"


def test_a_random_choice_depends_on_the_seed_and_the_query_and_not_on_the_order(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(f"d{n}", f"wing number{n}") for n in range(60)]
    rows = [{"query": query, "positive": "wing plane"} for query in ("wing plane", "plane wing")]  # one ranking
    rows += [{"query": f"wing number{n}", "positive": f"wing number{n}"} for n in range(8)]
    opened = engine(documents)

    def chosen(rows: list[dict[str, str]], seed: int, block: int) -> dict[str, Any]:
        monkeypatch.setattr(miner_module, "BLOCK", block)
        settings = MiningSettings(negatives=3, window=(1, 40), choice="random", seed=seed)
        mine(training_file(tmp_path / "t.jsonl", *rows), tmp_path / "o.jsonl", settings, engine=opened, force=True)
        return {row["query"]: row["negative"] for row in mined(tmp_path / "o.jsonl")}

    once = chosen(rows, 1, 256)
    assert chosen(rows[::-1], 1, 3) == once
    assert chosen(rows, 2, 256) != once
    assert once["wing plane"] != once["plane wing"]


def test_a_folder_gives_the_queries_of_a_split(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine], encoder: FakeEncoder
) -> None:
    folder = tmp_path / "task"
    (folder / "qrels").mkdir(parents=True)
    training_file(folder / "corpus.jsonl", *({"_id": d.id, "text": d.text} for d in CORPUS))
    training_file(folder / "queries.jsonl", {"_id": "1", "text": QUERY}, {"_id": "2", "text": "unjudged"})
    for split, judged in {"train": "1\ta0\t2\n1\ta2\t1\n1\ta1\t0\n", "dev": "1\ta5\t1\n"}.items():
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    opened = engine(CORPUS)
    mine(folder, tmp_path / "o.jsonl", MiningSettings(negatives=2, max_share=2), engine=opened)
    [row] = mined(tmp_path / "o.jsonl")
    assert row["positive"] == [CORPUS[0].text, CORPUS[2].text]
    assert names(row) == ["a1", "a3"]  # judged 0 is no answer
    assert encoder.encoded == 0
    assert [question.positives for question in read_questions(folder, "dev")] == [(CORPUS[5].text,)]
    with pytest.raises(DebaterError, match="no split 'test'"):
        read_questions(folder, "test")


def test_the_trainer_reads_what_was_mined(tmp_path: Path, engine: Callable[[list[Document]], SearchEngine]) -> None:
    from debater_search.data import read_training_examples

    source = training_file(tmp_path / "t.jsonl", {"query": QUERY, "positive": CORPUS[0].text})
    mine(source, tmp_path / "o.jsonl", MiningSettings(negatives=3), engine=engine(CORPUS))
    [example] = read_training_examples(tmp_path / "o.jsonl")
    assert (example.query, example.positive, len(example.negatives)) == (QUERY, CORPUS[0].text, 3)


def test_a_query_without_negatives_keeps_its_row(mine_one: Callable[..., tuple[Row, Summary]]) -> None:
    row, summary = mine_one(CORPUS[0].text, margin=5.0)
    assert (row["negative"], row["negative_scores"]) == ([], [])
    assert summary.per_row == {0: 1}
    assert summary.scores["negative"] == {}
    assert summary.nearest == []


def test_the_report_counts_and_shows_texts_as_they_are(
    mine_one: Callable[..., tuple[Row, Summary]],
) -> None:
    documents = [*CORPUS, Document("html", f"{QUERY} <b>|bold|</b>\n\n# no heading")]
    row, summary = mine_one(CORPUS[0].text, documents)
    report = summary.report.read_text(encoding="utf-8")
    assert summary.report.name == "out.md"
    assert "1 rows, 2 negatives." in report
    assert f"{row['positive_scores'][0]:.4f}" in report
    assert r"\<b\>\|bold\|\</b\> \# no heading" in report
    assert json.loads(json.dumps(summary.as_dict()))["nearest"][0]["query"] == QUERY


# Killed and started again


def many_rows(path: Path, count: int) -> Path:
    rows = [{"query": f"{WORDS[n % 10]} {WORDS[n * 7 % 9]} filler{n}", "positive": f"stall {n}"} for n in range(count)]
    return training_file(path, *rows)


class StopsAfter(FakeEncoder):
    """Fails at a call of encode_queries."""

    calls = 0
    fatal = 0

    def encode_queries(self, texts: Any, **settings: Any) -> np.ndarray:
        self.calls += 1
        if self.calls == self.fatal:
            raise KeyboardInterrupt
        return super().encode_queries(texts, **settings)


def test_an_interrupted_run_goes_on_without_encoding_or_mining_anything_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_module, "BLOCK", 5)
    source = many_rows(tmp_path / "t.jsonl", 32)
    encoder = StopsAfter(dim=4096)
    build(CORPUS, encoder, tmp_path / "index")
    engine = SearchEngine.open(tmp_path / "index", encoder=encoder)
    whole, output = tmp_path / "whole.jsonl", tmp_path / "o.jsonl"
    mine(source, whole, engine=engine)
    encoder.encoded, encoder.fatal = 0, encoder.calls + 6
    with pytest.raises(KeyboardInterrupt):
        mine(source, output, engine=engine)
    assert not output.exists()
    calls_before = encoder.calls
    mine(source, output, engine=engine)
    assert output.read_bytes() == whole.read_bytes()
    assert (
        output.with_suffix(".md").read_text().replace("o.jsonl", "whole.jsonl") == whole.with_suffix(".md").read_text()
    )
    assert encoder.encoded == 32
    assert encoder.calls - calls_before < encoder.calls // 2
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from debater_search.mining import MiningSettings, mine, miner, work
miner.BLOCK = 5
commit, commits = work.write_manifest, []
def write_manifest(path, state):
    commits.append(path)
    if len(commits) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)   # the block's rows are written, and not committed
    commit(path, state)
work.write_manifest = write_manifest
mine("t.jsonl", Path("o.jsonl"), MiningSettings(mode="lexical", negatives=3, choice="random"), corpus="corpus.jsonl")
"""


def test_a_killed_run_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    many_rows(tmp_path / "t.jsonl", 32)
    training_file(tmp_path / "corpus.jsonl", *({"_id": d.id, "text": d.text} for d in CORPUS))

    def run(kill_at: int) -> int:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(kill_at)], cwd=tmp_path, env=environment, check=False
        ).returncode

    output = tmp_path / "o.jsonl"
    assert run(0) == 0
    whole, report = output.read_bytes(), output.with_suffix(".md").read_bytes()
    output.unlink()
    output.with_suffix(".md").unlink()
    for kill_at in (1, 2, 3):
        assert run(kill_at) == -signal.SIGKILL
        assert not output.exists()
    assert run(0) == 0
    assert output.read_bytes() == whole
    assert output.with_suffix(".md").read_bytes() == report
    assert len(mined(output)) == 32


@pytest.fixture
def unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Summary]:
    """A run for o.jsonl that stopped after its first block; call to run again with other settings."""
    monkeypatch.setattr(miner_module, "BLOCK", 5)
    source = many_rows(tmp_path / "t.jsonl", 32)
    build(CORPUS, None, tmp_path / "index")

    def run(**settings: Any) -> Summary:
        force = settings.pop("force", False)
        engine = SearchEngine.open(tmp_path / "index")
        given = MiningSettings(**{"mode": "lexical", **settings})
        return mine(source, tmp_path / "o.jsonl", given, engine=engine, force=force)

    with monkeypatch.context() as patch:
        searched: list[Any] = []
        mined_block = miner_module._mined

        def stop(*arguments: Any) -> Any:
            searched.append(arguments)
            if len(searched) == 2:
                raise KeyboardInterrupt
            return mined_block(*arguments)

        patch.setattr(miner_module, "_mined", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    return run


def test_unfinished_work_of_another_command_is_refused_and_replaced_by_force(
    tmp_path: Path, unfinished: Callable[..., Summary]
) -> None:
    with pytest.raises(DebaterError, match="another call \\(different: negatives, margin\\)"):
        unfinished(negatives=3, margin=1.0)
    assert unfinished(negatives=3, force=True).per_row.keys() <= {0, 1, 2, 3}
    assert len(mined(tmp_path / "o.jsonl")) == 32


@pytest.mark.parametrize("force", [False, True])
def test_a_second_process_waits_for_the_end_of_the_first_and_takes_nothing_of_its_work(
    tmp_path: Path, unfinished: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    def second(*arguments: Any) -> Any:
        if not refused:  # while the first is at work
            with pytest.raises(BusyError, match="is being written to by process"):
                unfinished(force=force)
            refused.append(True)
        return mined_block(*arguments)

    mined_block, refused = miner_module._mined, list[bool]()
    monkeypatch.setattr(miner_module, "_mined", second)
    assert unfinished().rows == 32
    assert refused
    assert len(mined(tmp_path / "o.jsonl")) == 32
    assert not (tmp_path / ".o.jsonl.mining").exists()


def test_an_output_that_was_finished_while_this_process_waited_is_not_replaced(
    tmp_path: Path, unfinished: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished()
    whole = (tmp_path / "o.jsonl").read_bytes()
    (tmp_path / "o.jsonl").unlink()

    def read(*arguments: Any) -> Any:
        (tmp_path / "o.jsonl").write_bytes(whole)  # another process ends
        return read_questions(*arguments)

    monkeypatch.setattr(miner_module, "read_questions", read)
    with pytest.raises(DebaterError, match="exists"):
        unfinished()
    assert (tmp_path / "o.jsonl").read_bytes() == whole


@pytest.mark.parametrize("damage", ["{", '{"schema_version": 99, "job": {}}'])
def test_a_damaged_state_is_a_sentence_and_force_starts_over(
    tmp_path: Path, unfinished: Callable[..., Summary], damage: str
) -> None:
    (tmp_path / ".o.jsonl.mining" / "state.json").write_text(damage)
    with pytest.raises(DebaterError, match=r"state\.json.*Start over with `force`"):
        unfinished()
    assert unfinished(force=True).rows == 32


def test_rows_that_were_lost_are_mined_again(tmp_path: Path, unfinished: Callable[..., Summary]) -> None:
    (tmp_path / ".o.jsonl.mining" / "rows.jsonl").write_text("{")
    assert unfinished().rows == 32
    assert len(mined(tmp_path / "o.jsonl")) == 32


def test_a_finished_output_is_replaced_only_by_force(tmp_path: Path, unfinished: Callable[..., Summary]) -> None:
    unfinished()
    before = (tmp_path / "o.jsonl").read_bytes()
    with pytest.raises(DebaterError, match="exists"):
        unfinished()
    assert (tmp_path / "o.jsonl").read_bytes() == before
    unfinished(negatives=1, force=True)
    assert all(len(row["negative"]) <= 1 for row in mined(tmp_path / "o.jsonl"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "hybrid"}, "mode 'hybrid'"),
        ({"choice": "worst"}, "choice 'worst'"),
        ({"negatives": 0}, "0 negatives"),
        ({"window": (0, 10)}, "0:10"),
        ({"window": (20, 10)}, "20:10"),
        ({"window": (1, 5)}, "fewer ranks than the 8 negatives"),
        ({"margin": float("nan")}, "margin nan"),
        ({"max_share": 0.0}, "have 0.0"),
    ],
)
def test_impossible_settings_are_sentences(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        MiningSettings(**settings)


def test_a_window_beyond_the_corpus_leaves_nothing_behind(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine]
) -> None:
    source = training_file(tmp_path / "t.jsonl", {"query": QUERY, "positive": "p"})
    with pytest.raises(DebaterError, match="begins at rank 9, and there are 8 documents"):
        mine(source, tmp_path / "x" / "o.jsonl", MiningSettings(window=(9, 20)), engine=engine(CORPUS))
    assert not (tmp_path / "x").exists()


def test_a_model_that_gives_nan_is_a_sentence(
    tmp_path: Path,
    engine: Callable[[list[Document]], SearchEngine],
    encoder: FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = engine(CORPUS)
    monkeypatch.setattr(encoder, "encode_queries", lambda texts, **_: np.full((len(texts), 4096), np.nan, np.float32))
    source = training_file(tmp_path / "t.jsonl", {"query": QUERY, "positive": "p"})
    with pytest.raises(DebaterError, match="not finite"):
        mine(source, tmp_path / "o.jsonl", engine=opened)


def test_each_query_is_encoded_once_with_its_instruction(
    tmp_path: Path, engine: Callable[[list[Document]], SearchEngine], encoder: FakeEncoder
) -> None:
    source = training_file(tmp_path / "t.jsonl", {"query": "filler10", "positive": [CORPUS[7].text, "foreign"]})
    mine(source, tmp_path / "o.jsonl", MiningSettings(instruction="Find:", window=(1, 8)), engine=engine(CORPUS))
    assert encoder.instructions == ["Find:"]
