"""Which texts become negatives, with which scores."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import build
from debater_search.mining import MiningSettings, Summary, mine
from debater_search.mining import miner as miner_module
from debater_search.mining.questions import Question, read_questions
from debater_search.mining.selection import select
from debater_search.mining.texts import CorpusTexts, digest
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder
from tests.mining.wings import CORPUS, QUERY, Row, mined, training_file


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
