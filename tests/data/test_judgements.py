"""Queries, judgements, runs and training examples: formats and bad rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.data import read_qrels, read_queries, read_run, read_tag, read_training_examples, write_run
from debater_search.errors import DebaterError
from debater_search.types import Query, TrainingExample

DATA = Path(__file__).parents[2] / "data"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_queries_come_from_file_or_beir_folder() -> None:
    queries = read_queries(DATA / "cranfield")
    assert len(queries) == 225
    assert queries == read_queries(DATA / "cranfield" / "queries.jsonl")


def test_queries_of_a_tsv(tmp_path: Path) -> None:
    assert read_queries(write(tmp_path / "q.tsv", "qid\tquery\n1\twhat lifts ?\n")) == [Query("1", "what lifts ?")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "1", "text": " \\u0000"}', "line 1: the query '1' is empty"),
        ('{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}', "line 2: the id '1' stands in line 1 already"),
        ("\n", "There are no queries in"),
    ],
)
def test_bad_queries_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DebaterError) as error:
        read_queries(write(tmp_path / "q.jsonl", text))
    assert message in error.value.message


@pytest.mark.parametrize("read", [read_queries, lambda path: list(read_training_examples(path))])
def test_a_missing_file_is_called_missing_whatever_its_extension(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(DebaterError, match="There is no file"):
        read(tmp_path / "none")


@pytest.mark.parametrize("header", ["query-id\tcorpus-id\tscore\n", ""])
def test_beir_judgements_with_blanks_in_ids(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "test.tsv", f"{header}1\ta b\t2\n1\tc\t0\n")
    assert read_qrels(path) == {"1": {"a b": 2, "c": 0}}


def test_trec_judgements(tmp_path: Path) -> None:
    assert read_qrels(write(tmp_path / "qrels", "1 0  a 2\r\n1\t0\tc\t-1\n")) == {"1": {"a": 2, "c": -1}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\ta\t0.5", "line 2: the gain '0.5' is not a whole number"),
        ("1\ta\t99999999999", "line 2: the gain '99999999999' is not"),
        ("1 a", "line 2: 2 columns"),
        ("1\ta\t3", "line 2: query '1' and document 'a' are judged 3 here and 1 before"),
    ],
)
def test_bad_judgement_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DebaterError) as error:
        read_qrels(write(tmp_path / "q.tsv", f"1\ta\t1\n{line}\n"))
    assert message in error.value.message


def test_repeated_judgements_and_negative_gains_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_qrels(write(tmp_path / "q", "1 0 a 1\n1 0 a 1\n1 0 b -2\n")) == {"1": {"a": 1, "b": -2}}
    repeated, negative = caplog.messages
    assert "repeat a judgement: 1" in repeated
    assert "below 0" in negative
    assert ": 1. They count as 0 and as not judged" in negative
    caplog.clear()
    read_qrels(write(tmp_path / "q", "1 0 a 1\n1 0 b 0\n2 0 a 1\n"))
    assert not caplog.messages


def test_ranks_that_disagree_with_scores_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "1 Q0 a 1 0.1 t\n2 Q0 a 1 0.9 t\n1 Q0 b 2 0.5 t\n1 Q0 c 3 0.7 t\n2 Q0 b 2 0.9 t\n"
    assert read_run(write(tmp_path / "run", text))["1"] == {"a": 0.1, "b": 0.5, "c": 0.7}
    (message,) = caplog.messages
    assert "ranks disagree with the scores: 1 of 2" in message


@pytest.mark.parametrize("ranks", [(1, 1, 1), (0, 1, 2), (9, 8, 7), ("-", "-", "-")])
def test_ranks_that_say_nothing_against_the_scores_are_not_spoken_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ranks: tuple[object, ...]
) -> None:
    scores = (3, 2, 1) if ranks != (9, 8, 7) else (1, 2, 3)
    lines = [f"1 Q0 {name} {rank} {score} t\n" for name, rank, score in zip("abc", ranks, scores, strict=True)]
    assert len(read_run(write(tmp_path / "run", "".join(lines)))["1"]) == 3
    assert not caplog.messages


def test_run_is_written_best_first_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.trec"
    write_run({"1": {"a": 0.1, "b": 0.123456789012, "c": -1.0}}, path, tag="me", depth=2)
    assert path.read_text(encoding="utf-8") == "1 Q0 b 1 0.123456789 me\n1 Q0 a 2 0.1 me\n"
    assert [file.name for file in path.parent.iterdir()] == ["run.trec"]


@pytest.mark.parametrize(
    ("system", "tag"),
    [
        ("debater-small + bm25", "debater-small+bm25"),
        ("my model\tof today\n", "my-model-of-today"),
        ("my\x00model\u2028x", "my-model-x"),
        (" ", "debater"),
    ],
)
@pytest.mark.parametrize("id", ["a", "my note"])
def test_the_tag_of_a_run_is_one_column_whatever_the_system_is_called(
    tmp_path: Path, system: str, tag: str, id: str
) -> None:
    write_run({"1": {id: 1.0}}, tmp_path / "run.trec", tag=system)
    assert read_tag(tmp_path / "run.trec") == tag
    assert read_run(tmp_path / "run.trec") == {"1": {id: 1.0}}


def test_run_with_blanks_in_ids_reads_back(tmp_path: Path) -> None:
    run = {"q 1": {"my note.txt": 1.0}}
    write_run(run, tmp_path / "run.trec")
    assert read_run(tmp_path / "run.trec") == run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 Q0 a 1 0.5", "line 2: 5 columns"),
        ("1 Q0 b 1 high tag", "line 2: the score 'high' is not a number"),
        ("1 Q0 b 1 nan tag", "line 2: the score is NaN"),
        ("1 Q0 a 2 0.1 tag", "line 2: query '1' has document 'a' twice"),
    ],
)
def test_bad_run_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DebaterError) as error:
        read_run(write(tmp_path / "run", f"1 Q0 a 1 0.5 tag\n{line}\n"))
    assert message in error.value.message


def examples(tmp_path: Path, *rows: dict[str, object], pick: int = 0) -> list[TrainingExample]:
    path = write(tmp_path / "set.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return list(read_training_examples(path, pick=pick))


def test_training_fields_are_strings_or_lists(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"query": "q", "positive": "p", "negative": "n", "negative_source": "bm25"},
        {"query": ["q"], "pos": ["p", "p2"], "neg": ["n", "p2", "n2"]},
        {"query": "q", "positive": ["p"]},
        {"query": "q", "positive": "p", "negative": None, "negative_scores": None},
    ]
    assert examples(tmp_path, *rows) == [
        TrainingExample("q", "p", ("n",), "set"),
        TrainingExample("q", "p", ("n", "n2"), "set"),
        TrainingExample("q", "p", (), "set"),
        TrainingExample("q", "p", (), "set"),
    ]


def test_training_fields_have_the_names_that_others_give_them(tmp_path: Path) -> None:
    passages = [{"docid": "1", "title": "T", "text": "p"}, {"docid": "2", "title": None, "text": " p2 "}]
    rows: list[dict[str, object]] = [
        {"query_id": 1, "query": "q", "positive_passages": passages, "negative_passages": [{"title": "", "text": "n"}]},
        {"query_id": 2, "query": "q", "positive_passages": passages[1:], "negative_passages": []},
        {"anchor": "q", "positive": "p", "negative": "n"},
        {"question": "q", "answer": "p"},
    ]
    assert examples(tmp_path, *rows) == [
        TrainingExample("q", "T p", ("n",), "set"),
        TrainingExample("q", "p2", (), "set"),
        TrainingExample("q", "p", ("n",), "set"),
        TrainingExample("q", "p", (), "set"),
    ]


def test_teacher_scores_follow_their_texts(tmp_path: Path) -> None:
    lists = {"query": "q", "pos": ["a", "b"], "pos_scores": [3, 2.5], "neg": ["n", "b", "m"], "neg_scores": [1, 9, 0.5]}
    single = {"query": "q", "positive": "p", "positive_scores": 1, "negative": "n", "negative_scores": -2}
    assert examples(tmp_path, lists, single, pick=1) == [
        TrainingExample("q", "b", ("n", "m"), "set", 2.5, (1.0, 0.5)),
        TrainingExample("q", "p", ("n",), "set", 1.0, (-2.0,)),
    ]


def test_training_rows_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "set.csv", 'query,positive,negative\n"two\nlines",p,n\nq,p,\n')
    assert list(read_training_examples(path)) == [
        TrainingExample("two\nlines", "p", ("n",), "set"),
        TrainingExample("q", "p", (), "set"),
    ]


def test_pick_goes_round_the_positives(tmp_path: Path) -> None:
    row: dict[str, object] = {"query": "q", "pos": ["a", "b"]}
    assert [examples(tmp_path, row, pick=pick)[0].positive for pick in range(3)] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"positive": "p"}, "there is no query"),
        ({"query": "q", "negative": "n"}, "there is no positive"),
        ({"query": " ", "positive": "p"}, "the field query holds an empty text"),
        ({"query": "q", "positive": []}, "the positive is an empty list"),
        ({"query": "q", "positive": 3}, "the field positive is neither a string nor a list"),
        ({"query": "q", "positive": "p", "negative": ["n", None]}, "the field negative is neither"),
        ({"query": "q", "positive": "p", "negative": ["p", "p "]}, "every negative is also a positive"),
        ({"query": "q", "positive": "p", "negative": "\0"}, "the field negative holds an empty text"),
        ({"query": None, "positive": "p"}, "the field query is neither a string nor a list"),
        ({"query": "q", "positive_passages": [{"docid": "1"}]}, "the field positive_passages is neither"),
        ({"query": "q", "positive_passages": [{"title": 1, "text": "p"}]}, "the field positive_passages is neither"),
        ({"query": "q", "positive_passages": {"title": "", "text": " "}}, "the field positive_passages holds an empty"),
        (
            {"query": "q", "positive": "p", "positive_scores": [1, 2]},
            "the field positive_scores holds 2 scores",
        ),
        (
            {"query": "q", "positive": "p", "negative_scores": [1]},
            "the field negative_scores holds 1 scores",
        ),
        (
            {"query": "q", "positive": "p", "pos_scores": float("nan")},
            "the field pos_scores holds a value that is not a finite",
        ),
        (
            {"query": "q", "positive": "p", "pos_scores": 10**400},
            "the field pos_scores holds a value that is not a finite",
        ),
        (
            {"query": "q", "positive": "p", "pos_scores": True},
            "the field pos_scores holds a value that is not a finite",
        ),
        (
            {"query": "q", "positive": "p", "negative": "n", "neg_scores": ["1"]},
            "the field neg_scores holds a value that is not a finite",
        ),
    ],
)
def test_bad_training_row_names_file_and_line(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(DebaterError) as error:
        examples(tmp_path, {"query": "q", "positive": "p"}, row)
    assert f"set.jsonl, line 2: {message}" in error.value.message


def test_training_file_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="There are no training examples"):
        examples(tmp_path)


def test_no_heldout_question_is_in_the_training_files() -> None:
    def same(question: str) -> str:
        return "".join(question.casefold().split())

    held = {same(query.text) for query in read_queries(DATA / "heldout")}
    answers = {
        document_id
        for documents in read_qrels(DATA / "heldout" / "qrels" / "test.tsv").values()
        for document_id in documents
    }
    assert len(held) == 150
    assert len(answers) > 150
    for name, rows in {"medquad": 2800, "pubmedqa": 950, "scifact": 848}.items():
        training = list(read_training_examples(DATA / "train" / f"{name}.jsonl.gz"))
        assert len(training) == rows
        assert all(example.source == name and example.negatives for example in training)
        assert held.isdisjoint(same(example.query) for example in training)


def test_data_folder_stays_small() -> None:
    assert sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file()) < 20_000_000
