"""`debater eval --baseline … --compare …`, and runs of other systems."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Debater

QRELS = "tasks/flight/qrels/test.tsv"


@pytest.fixture
def run(task: Path) -> Path:
    """A system that answers q1 rightly and q2 last."""
    path = Path("other.trec")
    path.write_text("q1 Q0 noise 1 2 t\nq2 Q0 layer 1 3 t\nq2 Q0 stall 2 1 t\n", encoding="utf-8")
    return path


def test_baselines_are_scored_saved_and_compared(debater: Debater, run: Path) -> None:
    names = ("--baseline", "bm25", "--baseline", "m2", "--baseline", str(run))
    shown = debater("eval", "tasks/flight", "--model", "m", *names, "--output", "results", "--json").json
    assert [result["model"] for result in shown["results"]] == ["m", "bm25", "m2", "other"]
    assert [(entry["system"], entry["baseline"]) for entry in shown["comparisons"]] == [
        ("m", "bm25"),
        ("m", "m2"),
        ("m", "other"),
    ]
    same = shown["comparisons"][1]["metrics"]["ndcg@10"]
    assert (same["difference"], same["ties"]) == (0.0, 2)
    saved = json.loads(Path("results/results.json").read_text(encoding="utf-8"))
    assert saved["comparisons"] == shown["comparisons"]
    assert Path("results/flight/m2.trec").is_file()
    assert shown["results"][3]["metrics"]["mrr@10"] == 0.75


def test_a_model_is_compared_with_earlier_results_and_runs(debater: Debater, run: Path) -> None:
    assert debater("eval", "tasks/flight", "--baseline", "bm25", "--output", "before").code == 0
    compared = debater("eval", "tasks/flight", "--compare", "before", str(run), "--json").json["comparisons"]
    assert [entry["baseline"] for entry in compared] == ["debater-small (before/flight/run.trec)", "bm25", "other"]
    assert all(entry["metrics"]["ndcg@10"]["ties"] == 2 for entry in compared[:1])


def test_scores_stay_in_their_columns_below_a_name_with_a_path(debater: Debater, run: Path) -> None:
    assert debater("eval", "tasks/flight", "--mode", "lexical", "--output", "before").code == 0
    shown = debater("eval", "tasks/flight", "--mode", "lexical", "--compare", "before", str(run)).out
    rows = [line for line in shown.splitlines() if line.startswith("flight  ")]
    assert rows[1].split()[1:3] == ["bm25", "(before/flight/run.trec)"]
    assert all("…" in row for row in rows), "a system that is compared with has an interval, too"
    assert "95% intervals are not" in shown
    assert len({row.index("0.") for row in rows}) == 1


@pytest.mark.parametrize("others", [["--compare", "b.trec", "c.trec"], ["--compare", "b.trec", "--compare", "c.trec"]])
def test_runs_are_compared_by_their_judgements_alone(debater: Debater, run: Path, others: list[str]) -> None:
    Path("b.trec").write_text("q1 Q0 stall 1 1 t\nq2 Q0 stall 1 1 t\n", encoding="utf-8")
    Path("c.trec").write_text("q1 Q0 noise 1 1 t\n", encoding="utf-8")
    score = ("eval", "--run", str(run), "--qrels", QRELS, *others)
    compared = debater(*score, "--json").json["comparisons"]
    assert [(entry["system"], entry["baseline"]) for entry in compared] == [("other", "b"), ("other", "c")]
    (gained,) = compared[0]["gained"]
    assert (gained["query"], gained["text"], gained["system"]) == ("q1", "loud propellers", 1.0)
    assert gained["baseline_ranking"] == [["stall", None]]
    text = debater(*score).out
    assert "flight: other against b" in text
    scores = [line.split() for line in text.splitlines() if line.startswith("flight  ")]
    assert [row[:3] for row in scores] == [
        ["flight", "other", "0.8155"],
        ["flight", "b", "0.5000"],
        ["flight", "c", "0.5000"],
    ]
    assert "0.000 → 1.000  q1  loud propellers\n" in text


def test_a_runs_numbers_need_no_queries(debater: Debater, run: Path) -> None:
    Path("tasks/flight/queries.jsonl").unlink()
    Path("b.trec").write_text("q1 Q0 stall 1 1 t\n", encoding="utf-8")
    (entry,) = debater("eval", "--run", str(run), "--qrels", QRELS, "--compare", "b.trec", "--json").json["comparisons"]
    assert entry["gained"][0]["text"] == ""


def test_hybrid_search_is_compared_with_its_own_model(debater: Debater, run: Path) -> None:
    outcome = debater("eval", "tasks/flight", "--mode", "hybrid", "--baseline", "debater-small", "--json")
    assert outcome.json["comparisons"][0]["system"] == "debater-small + bm25"


def test_published_figures_stand_beside_what_was_measured(debater: Debater, run: Path) -> None:
    Path("tasks/flight").rename("tasks/scifact")
    outcome = debater("eval", "tasks/scifact", "--model", "minilm")
    assert "Measured beside published" in outcome.out
    assert "0.64508" in outcome.out
    (result,) = debater("eval", "tasks/scifact", "--model", "minilm", "--json").json["results"]
    assert result["published"][0]["differs"] is True
    assert "published" not in debater("eval", "tasks/scifact", "--model", "mine", "--json").json["results"][0]


def test_two_results_of_one_name_are_refused_before_anything_is_scored(debater: Debater, run: Path) -> None:
    outcome = debater("eval", "tasks/flight", "--baseline", "debater-small", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "have the same name: debater-small" in outcome.err


def test_a_run_of_several_tasks_or_of_another_is_refused(
    debater: Debater, run: Path, fake_model: list[dict[str, Any]]
) -> None:
    assert debater("eval", "tasks/flight", "--mode", "lexical", "--output", "before").code == 0
    Path("tasks/flight").rename("tasks/wings")
    Path("tasks/other/qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        Path("tasks/other", name).write_bytes(Path("tasks/wings", name).read_bytes())
    for arguments, word in (
        (["tasks/wings", "--compare", "before"], "before has no results on wings"),
        (["tasks/wings", "tasks/other", "--compare", str(run)], "answers one task, and there are 2"),
    ):
        outcome = debater("eval", *arguments, "--json")
        assert (outcome.code, outcome.out) == (2, "")
        assert word in outcome.err
    assert fake_model == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("q1 Q0 noise 1 nan t\n", "line 1: the score is NaN"),
        ("q1 Q0 noise 1 -inf t\n", "line 1: the score is infinite"),
        ("q1 Q0 noise 1 2 t\nq1 Q0 noise 2 1 t\n", "line 2: query 'q1' has document 'noise' twice"),
        ("q9 Q0 noise 1 2 t\n", "answers none of the queries"),
        ("", "There is no run in"),
    ],
)
@pytest.mark.parametrize("by", ["--run", "--compare"])
def test_a_bad_run_is_one_sentence(debater: Debater, run: Path, by: str, text: str, word: str) -> None:
    Path("bad.trec").write_text(text, encoding="utf-8")
    others = ["--compare", str(run)] if by == "--run" else ["--run", str(run)]
    outcome = debater("eval", by, "bad.trec", *others, "--qrels", QRELS)
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ("q1\tnoise\t1", 0, "repeat a judgement: 1"),
        ("q1\tstall\t-3", 0, "below 0"),
        ("q1\tnoise\t2", 2, "are judged 2 here and 1 before"),
        ("q1\tstall\tmuch", 2, "the gain 'much' is not a whole number"),
        ("q7\tstall\t1", 0, "does not answer: 1 of 3"),
    ],
)
def test_odd_judgements_are_counted_and_bad_ones_refused(
    debater: Debater, run: Path, line: str, code: int, word: str
) -> None:
    with Path(QRELS).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    outcome = debater("eval", "--run", str(run), "--qrels", QRELS)
    assert outcome.code == code
    assert word in outcome.err
    assert ("flight" in outcome.out) == (code == 0)


def test_ranks_against_scores_are_spoken_of_once_and_scores_decide(debater: Debater, run: Path) -> None:
    run.write_text("q1 Q0 layer 1 1 t\nq1 Q0 noise 2 2 t\n", encoding="utf-8")
    outcome = debater("eval", "--run", str(run), "--qrels", QRELS, "--json")
    assert outcome.err.count("ranks disagree with the scores") == 1
    assert outcome.json["results"][0]["metrics"]["mrr@10"] == 0.5
    assert outcome.json["results"][0]["counts"] == {"queries_without_hits": 1, "queries_without_judgements": 0}


def test_queries_that_are_not_judged_are_one_sentence(debater: Debater, run: Path) -> None:
    Path("tasks/flight/queries.jsonl").write_text('{"_id": "q9", "text": "why"}\n', encoding="utf-8")
    outcome = debater("eval", "tasks/flight", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "name none of its queries" in outcome.err
