import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.data import write_run
from debater_search.errors import DebaterError, InvalidError, MissingError
from debater_search.evaluation import (
    Judged,
    Result,
    SavedRun,
    compare,
    find_runs,
    load_results,
    published_figures,
    read_results,
    read_saved,
    save_comparisons,
    scored,
    write_results,
)
from debater_search.evaluation.comparison import COMPARED
from debater_search.evaluation.significance import holm
from debater_search.types import Qrels, Run

QUERIES = 30
QRELS: Qrels = {f"q{i:02}": {"good": 1, "bad": 0} for i in range(QUERIES)}
JUDGED = Judged("toy", QRELS, {query: f"text of {query}" for query in QRELS})


def result(name: str, ranks: list[int], task: str = "toy") -> Result:
    """A system that puts the relevant document of query i at rank `ranks[i]`; 0: nowhere."""
    run: Run = {}
    for query, rank in zip(QRELS, ranks, strict=True):
        documents = [f"d{i}" for i in range(1, 10)]
        documents[rank - 1 if rank else 10 : rank - 1 if rank else 10] = ["good"] * bool(rank)
        run[query] = {document: -float(place) for place, document in enumerate(documents)}
    return scored(task, name, run, QRELS)


GOOD = result("good", [1] * 20 + [2] * 5 + [3] * 5)
POOR = result("poor", [2] * 20 + [2] * 5 + [1] * 5)


def test_comparison_counts_wins_and_gives_the_means_of_both() -> None:
    (entry,) = compare(GOOD, [POOR], JUDGED)
    assert (entry["task"], entry["system"], entry["baseline"]) == ("toy", "good", "poor")
    values = entry["metrics"]["ndcg@10"]
    assert (values["wins"], values["ties"], values["losses"]) == (20, 5, 5)
    assert values["difference"] == pytest.approx(GOOD.metrics["ndcg@10"] - POOR.metrics["ndcg@10"])
    low, high = values["interval"]
    assert low < values["difference"] < high
    assert 0 < values["p_randomisation"] < values["p_randomisation_holm"] < 0.1
    same = entry["metrics"]["recall@100"]
    assert (same["difference"], same["ties"], same["p_t"], same["effect_size"]) == (0.0, QUERIES, 1.0, None)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def test_holm_counts_all_metrics_and_baselines() -> None:
    entries = compare(GOOD, [POOR, result("other", [1] * 19 + [2] * 6 + [3] * 5)], JUDGED)
    cells = [entry["metrics"][name] for entry in entries for name in COMPARED]
    for test in ("p_randomisation", "p_t"):
        raw, corrected = (np.array([cell[name] for cell in cells]) for name in (test, f"{test}_holm"))
        assert corrected.tolist() == holm(raw).tolist()
    alone = compare(GOOD, [POOR], JUDGED)[0]["metrics"]["ndcg@10"]
    assert alone["p_t"] == entries[0]["metrics"]["ndcg@10"]["p_t"]
    assert alone["p_t_holm"] < entries[0]["metrics"]["ndcg@10"]["p_t_holm"]


def test_queries_that_changed_most_come_first_with_texts_and_rankings() -> None:
    ranks = [1] * 12 + [2] * 12 + [3] * 6
    entry = compare(result("system", [*ranks[:-1], 0]), [result("baseline", [0] + [2] * 29)], JUDGED)[0]
    assert [len(entry["gained"]), len(entry["lost"])] == [10, 6]
    first = entry["gained"][0]
    assert (first["query"], first["text"], first["baseline"], first["system"]) == ("q00", "text of q00", 0.0, 1.0)
    assert first["system_ranking"][:2] == [["good", 1], ["d1", None]]
    assert ["good", 1] not in first["baseline_ranking"]
    assert entry["lost"][0]["query"] == "q29"
    differences = [query["system"] - query["baseline"] for query in entry["lost"]]
    assert differences == sorted(differences)


def test_nothing_to_compare_with_is_no_comparison() -> None:
    assert compare(GOOD, [], JUDGED) == []


def test_two_results_are_compared_by_the_judgements_that_they_hold() -> None:
    judged = Judged("toy", QRELS, {})
    assert compare(GOOD, POOR) == compare(GOOD, [POOR]) == compare(GOOD, [POOR], judged)
    assert compare(GOOD, POOR)[0]["gained"][0]["system_ranking"][0] == ["good", 1]


def test_results_of_results_json_are_compared_without_rankings(tmp_path: Path) -> None:
    for one in (GOOD, POOR):
        one.save(tmp_path / one.model)
    good, poor = (read_results(tmp_path / name)["results"][0] for name in ("good", "poor"))
    (entry,) = compare(good, poor)
    assert entry["metrics"] == compare(GOOD, POOR)[0]["metrics"]
    assert (entry["gained"][0]["query"], entry["gained"][0]["system_ranking"]) == ("q00", [])
    assert compare(GOOD, [poor])[0]["metrics"] == entry["metrics"]


def test_saved_results_are_loaded_as_they_were_without_their_runs(tmp_path: Path) -> None:
    GOOD.save(tmp_path)
    POOR.save(tmp_path, baseline=True)
    assert load_results(tmp_path) == [replace(one, run={}, qrels={}) for one in (GOOD, POOR)]
    lists = read_results(tmp_path)
    del lists["results"][1]["metrics"]["map"]
    write_results(tmp_path, lists)
    with pytest.raises(InvalidError, match="holds a result without every metric"):
        load_results(tmp_path)


def test_rankings_without_judgements_are_left_out_instead_of_counted_as_not_judged() -> None:
    assert compare(replace(GOOD, qrels={}), POOR)[0]["gained"][0]["system_ranking"] == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(POOR, task="air"), "good and poor were scored on different tasks: toy and air."),
        (scored("toy", "poor", POOR.run, QRELS | {"q00": {"bad": 1}}), "scored by different judgements of toy"),
        (replace(POOR, provenance={}, per_query={}), "scored by different judgements of toy"),
        (POOR.run, "This is a run, and not a result."),
        ({"results": []}, 'This is not a result with every metric of every query: {"results": []}.'),
        (None, "`baselines` is None, not a result or a list of results."),
        ("nowhere", "There is no folder nowhere."),
        (__file__, "is a file, and not a folder of results."),
        ((POOR, compare(GOOD, POOR)), "These are comparisons, and not a result."),
        (compare(GOOD, POOR), "These are comparisons, and not a result."),
        (
            replace(POOR, provenance={"judgements": "others", "split": "train"}),
            "scored by different judgements of toy (splits: unknown, train).",
        ),
    ],
    ids=range(11),
)
def test_what_cannot_be_compared_is_refused(other: Any, message: str) -> None:
    with pytest.raises(DebaterError) as error:
        compare(GOOD, other)
    assert message in error.value.message


def test_a_folder_stands_for_its_results_on_the_task(tmp_path: Path) -> None:
    for one in (GOOD, POOR, result("far", [1] * QUERIES, task="air")):
        one.save(tmp_path)
    for folder in (tmp_path, str(tmp_path / "results.json")):
        entries = compare(GOOD, folder)
        assert [entry["baseline"] for entry in entries] == ["poor", f"good ({tmp_path})"]
    assert entries[0]["metrics"]["ndcg@10"]["difference"] == compare(GOOD, POOR)[0]["metrics"]["ndcg@10"]["difference"]
    with pytest.raises(MissingError, match=r"has no results on sea\."):
        compare(replace(GOOD, task="sea"), tmp_path)


def test_results_are_read_from_a_folder_that_has_some(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"There are no results in .* Name the output folder of an evaluation\."):
        read_results(tmp_path)
    with pytest.raises(MissingError, match="There is no folder nowhere"):
        read_results("nowhere")


def test_a_compared_system_has_its_interval() -> None:
    [entry] = compare(GOOD, POOR)
    assert entry["metrics"]["ndcg@10"]["baseline_interval"] == list(POOR.intervals["ndcg@10"])


def test_saved_runs_are_found_in_a_file_a_folder_and_its_results(tmp_path: Path) -> None:
    POOR.save(tmp_path, baseline=True)
    GOOD.save(tmp_path)
    for source in (tmp_path, tmp_path / "results.json"):
        assert {(run.name, run.task) for run in find_runs(source)} == {("good", "toy"), ("poor", "toy")}
    (run,) = find_runs(tmp_path / "toy" / "poor.trec")
    assert (run.name, run.task) == ("poor", None)
    again = read_saved(run, JUDGED)
    assert (again.per_query, again.model) == (POOR.per_query, "poor")


def test_saved_run_is_without_the_query_itself_where_the_task_says_so(tmp_path: Path) -> None:
    write_run({"q00": {"q00": 2.0, "good": 1.0}}, tmp_path / "run.trec")
    judged = Judged("toy", {"q00": {"good": 1}}, {}, ignore_identical_ids=True)
    assert read_saved(SavedRun("run", tmp_path / "run.trec"), judged).metrics["mrr@10"] == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There are no results in"),
        ('{"results": []}', "There are no results in"),
        ("[1]", "does not hold results"),
        ('{"results": [{"task": "toy", "model": 3, "run": "toy/run.trec"}]}', "does not hold results"),
        ('{"results": [{"task": "toy", "model": "m", "run": "toy/run.trec"}]}', "which is missing"),
        ('{"results": [{"task": "toy", "model": "m", "run": "../secret"}]}', "which is missing"),
    ],
)
def test_results_without_what_is_to_be_compared_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "secret").write_text("q00 Q0 good 1 1 t\n", encoding="utf-8")
    folder = tmp_path / "results"
    folder.mkdir()
    if text is not None:
        (folder / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(DebaterError) as error:
        find_runs(folder)
    assert message in error.value.message


def test_comparisons_are_kept_until_their_models_are_scored_again(tmp_path: Path) -> None:
    other = result("other", [1] * QUERIES)
    for one in (GOOD, POOR, other):
        one.save(tmp_path)
    save_comparisons(tmp_path, compare(GOOD, [POOR], JUDGED))
    save_comparisons(tmp_path, compare(GOOD, [other], JUDGED))
    save_comparisons(tmp_path, compare(GOOD, [other], JUDGED))
    assert [entry["baseline"] for entry in read_results(tmp_path)["comparisons"]] == ["other", "poor"]
    other.save(tmp_path)
    assert [entry["baseline"] for entry in read_results(tmp_path)["comparisons"]] == ["poor"]
    GOOD.save(tmp_path)
    assert read_results(tmp_path)["comparisons"] == []
    assert len(read_results(tmp_path)["results"]) == 3


@pytest.mark.parametrize("task", ["scifact", "SciFact"])
@pytest.mark.parametrize("model", ["minilm", "sentence-transformers/all-MiniLM-L6-v2", "models/all-MiniLM-L6-v2"])
@pytest.mark.parametrize(("measured", "differs"), [(0.645079, False), (0.6449, True)])
def test_published_figure_is_found_by_names_and_rounded(task: str, model: str, measured: float, differs: bool) -> None:
    (figure,) = published_figures(task, model, {"ndcg@10": measured})
    assert (figure.value, figure.differs) == (0.64508, differs)
    assert figure.as_dict()["difference"] == pytest.approx(measured - 0.64508)
    assert "embeddings-benchmark" in figure.source


@pytest.mark.parametrize(
    ("task", "model", "value"),
    [("webis-touche2020", "debater-4b", 0.25), ("trec-covid", "bm25", 0.656), ("NQ", "bigtailwolf/DEBATER-2B", 0.56)],
)
def test_the_papers_table_is_shipped(task: str, model: str, value: float) -> None:
    (figure,) = published_figures(task, model, {"ndcg@10": value + 0.0004})
    assert (figure.value, figure.digits, figure.differs) == (value, 3, False)


@pytest.mark.parametrize(
    ("task", "model"), [("cranfield", "bm25"), ("scifact", "checkpoints/demo"), ("scifact", "minilm + bm25")]
)
def test_nothing_is_published_of_other_models_and_tasks(task: str, model: str) -> None:
    assert published_figures(task, model, {"ndcg@10": 0.5}) == []


def test_result_carries_what_is_published() -> None:
    assert "published" not in GOOD.as_dict()
    entry = result("minilm", [1] * QUERIES, "scifact").as_dict()
    assert entry["published"][0]["published"] == 0.64508
