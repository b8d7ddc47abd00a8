"""report.html: what is on it, and what cannot get onto it. How it looks and works: test_report_browser.py."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from debater_search.data import write_run
from debater_search.errors import DebaterError
from debater_search.evaluation import (
    evaluate_run,
    read_results,
    save_comparisons,
    save_details,
    scored,
    write_report,
    write_results,
)
from debater_search.reports.evaluation import MAIN, QUERIES, describe
from debater_search.types import Document
from tests.reports.report_data import GOOD, HOSTILE, POOR, QRELS, add, comparison, rows, save


def shown(page: Path) -> Any:
    """The data of a page."""
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)
    return json.loads(found[0])


def test_details_hold_texts_judgements_and_each_models_best_ten(tmp_path: Path) -> None:
    many = {f"x{n:02}": 1.0 for n in range(15)} | {"a": 2.0}
    save(tmp_path, {"good": GOOD | {"q1": many}})
    queries, documents = rows(tmp_path / "flight/queries.jsonl"), rows(tmp_path / "flight/documents.jsonl")
    assert queries["q1"]["text"] == "wings that flutter"
    assert queries["q1"]["judged"] == {"a": 2, "b": 1}
    of_equals = [f"x{n:02}" for n in range(14, 5, -1)]  # as trec_eval orders them
    assert [document_id for document_id, _ in queries["q1"]["answers"]["good"]] == ["a", *of_equals]
    assert documents.keys() == {"a", "b", "c", "d"}  # b was not found, but is relevant
    assert len(documents["a"]["text"]) <= 500


def test_details_of_another_model_join_those_before(tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD})
    poor = scored("flight", "poor", POOR, QRELS)
    save_details(tmp_path, [poor], QRELS, {})  # as --run does, without corpus
    row = rows(tmp_path / "flight/queries.jsonl")["q1"]
    assert row["text"] == "wings that flutter"
    assert row["answers"] == {"good": [["a", 3.0], ["b", 2.0]], "poor": [["d", 3.0], ["b", 2.0]]}
    assert rows(tmp_path / "flight/documents.jsonl").keys() == {"a", "b", "c", "d"}


def test_a_run_without_corpus_has_ids_on_the_page(tmp_path: Path) -> None:
    result = scored("flight", "good", GOOD, QRELS)
    result.save(tmp_path)
    save_details(tmp_path, [result], QRELS, {})
    (task,) = shown(write_report([tmp_path]))["tasks"]
    assert task["queries"]["q1"]["answers"] == {"good": [["a", 3.0], ["b", 2.0]]}
    assert task["documents"] == {}


def test_a_system_that_was_only_compared_with_has_its_queries_on_the_page(tmp_path: Path) -> None:
    for name, run in (("good", GOOD), ("poor", POOR), ("nil", {"q1": {"d": 1.0}})):
        write_run(run, tmp_path / f"{name}.trec", tag=name)
    compared = [tmp_path / "poor.trec", tmp_path / "nil.trec"]
    evaluate_run(tmp_path / "good.trec", QRELS, compare=compared, output=tmp_path / "out", force=True)
    evaluate_run(tmp_path / "good.trec", QRELS, output=tmp_path / "out")  # keeps both
    (task,) = shown(write_report([tmp_path / "out"]))["tasks"]
    poor = scored("qrels", "poor", POOR, QRELS).per_query
    assert task["values"][MAIN].keys() == {"good", "poor", "nil"}
    assert task["values"]["recall@10"].keys() == {"good"}  # only what is compared is kept of others
    values = [poor[query_id][MAIN] for query_id in task["ids"]]
    assert [value / 10_000 for value in task["values"][MAIN]["poor"]] == pytest.approx(values, abs=1e-4)
    assert task["values"][MAIN]["nil"] == [0, 0, 0]
    assert task["queries"]["q1"]["answers"]["poor"] == [["d", 3.0], ["b", 2.0]]
    assert "per_query" not in read_results(tmp_path / "out")["comparisons"][0]
    evaluate_run(tmp_path / "good.trec", QRELS, output=tmp_path / "out", force=True)
    (task,) = shown(write_report([tmp_path / "out"]))["tasks"]
    assert task["values"][MAIN].keys() == task["queries"]["q1"]["answers"].keys() == {"good"}


def test_the_page_has_metrics_intervals_and_every_querys_value(tmp_path: Path) -> None:
    save(tmp_path, {"good": GOOD, "poor": POOR}, timings={"search": 0.5}, provenance={"debater": "0.1"})
    page = write_report([tmp_path])
    assert page == tmp_path / "report.html"
    data = shown(page)
    saved = {entry["model"]: entry for entry in read_results(tmp_path)["results"]}
    (task,) = data["tasks"]
    assert data["models"] == ["good", "poor"]
    assert task["ids"] == ["q1", "q2", "q3"]
    for model, entry in saved.items():
        assert task["results"][model]["metrics"] == entry["metrics"]
        assert task["results"][model]["intervals"] == entry["intervals"]
        assert task["results"][model]["timings"] == {"search": 0.5}
        values = [entry["per_query"][query_id][MAIN] for query_id in task["ids"]]
        assert [value / 10_000 for value in task["values"][MAIN][model]] == pytest.approx(values, abs=1e-4)


def test_hostile_texts_are_no_markup(tmp_path: Path) -> None:
    save(tmp_path, {HOSTILE: GOOD, "poor": POOR}, provenance={"instruction": HOSTILE})
    add(tmp_path, "comparisons", comparison(HOSTILE, "poor"))
    add(tmp_path, "analyses", {"task": "flight", "title": HOSTILE, "note": HOSTILE, "files": {}})
    page = write_report([tmp_path])
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == text.count("<script") == 2
    assert "<img" not in text
    assert HOSTILE in shown(page)["models"]
    assert re.findall(r"<title>(.*)</title>", text)[0].startswith("&lt;/script&gt;")


def test_the_page_loads_nothing_and_runs_its_own_script_only(tmp_path: Path) -> None:
    text = write_report([save(tmp_path, {"good": GOOD})]).read_text(encoding="utf-8")
    page = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    loads = page.replace("http://www.w3.org/2000/svg", "")  # the name of a language, nothing that is loaded
    assert not re.search(r"https?://|\bimport\b|@import|url\(|\bsrc=|<link|\bfetch\(|XMLHttp|innerHTML", loads)
    policy = dict(
        part.split(" ", 1)
        for part in re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[0].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


def test_tasks_come_in_the_order_in_which_they_were_evaluated(tmp_path: Path) -> None:
    tasks = ["soaring", "flight", "heat"]
    for task in tasks:
        save(tmp_path, {"good": GOOD, "bm25": POOR}, task=task)
        save_comparisons(tmp_path, [comparison("good", "bm25", task)])
    data = shown(write_report([tmp_path]))
    assert [task["name"] for task in data["tasks"]] == tasks
    assert [entry["task"] for entry in data["comparisons"]] == tasks
    save(tmp_path, {"better": GOOD}, task="flight")
    data = shown(write_report([tmp_path]))
    assert [task["name"] for task in data["tasks"]] == tasks
    assert list(data["tasks"][1]["results"]) == ["better", "good", "bm25"]


def test_folders_join_and_equal_results_stand_once(tmp_path: Path) -> None:
    first = save(tmp_path / "first", {"good": GOOD, "bm25": POOR})
    second = save(tmp_path / "second", {"other": GOOD, "bm25": POOR})
    save(second, {"other": POOR}, task="heat")
    data = shown(write_report([first, second], tmp_path / "joined"))
    assert data["models"] == ["good", "bm25", "other"]
    assert [list(task["results"]) for task in data["tasks"]] == [["good", "bm25", "other"], ["other"]]
    answers = data["tasks"][0]["queries"]["q1"]["answers"]
    assert answers == {"good": [["a", 3.0], ["b", 2.0]], "bm25": [["d", 3.0], ["b", 2.0]], "other": answers["good"]}


def test_one_model_scored_differently_goes_by_its_folder(tmp_path: Path) -> None:
    folders = [save(tmp_path / "old", {"m": POOR, "bm25": POOR}), save(tmp_path / "new", {"m": GOOD, "bm25": POOR})]
    add(folders[1], "comparisons", comparison("m", "bm25"))
    data = shown(write_report(folders))
    assert data["models"] == ["m (old)", "bm25", "m (new)"]
    assert (data["comparisons"][0]["system"], data["comparisons"][0]["baseline"]) == ("m (new)", "bm25")
    assert data["tasks"][0]["queries"]["q2"]["answers"] == {
        "m (old)": [["a", 1.0]],
        "bm25": [["a", 1.0]],
        "m (new)": [["c", 1.0]],
    }


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    strange = {
        "task": "t",
        "model": "m",
        "metrics": {MAIN: 0.5, "map@100": float("nan"), "mrr@10": "high"},
        "per_query": 3,
    }
    write_results(
        tmp_path,
        {
            "results": [strange, {"task": "t"}, {"task": "../..", "model": "m"}],
            "comparisons": [{"metrics": {MAIN: {"difference": 0.1, "interval": 7}, "map@100": None}, "gained": [1]}],
            "analyses": [{"files": {"svg": "../secret.svg", "png": 3}, "models": "m"}],
        },
    )
    (tmp_path.parent / "secret.svg").write_text("<svg/>", encoding="utf-8")
    data = shown(write_report([tmp_path]))
    assert data["tasks"][0]["results"]["m"]["metrics"] == {MAIN: 0.5}
    assert data["comparisons"][0]["metrics"] == {MAIN: {"difference": 0.1}, "map@100": {}}
    assert (data["analyses"][0]["picture"], data["analyses"][0]["links"]) == (None, {})


def test_pictures_lie_within_the_page_and_numbers_beside_it(tmp_path: Path) -> None:
    folder = save(tmp_path / "results", {"good": GOOD})
    (folder / "flight/steps.svg").write_text("<svg/>", encoding="utf-8")
    (folder / "flight/steps.csv").write_text("1", encoding="utf-8")
    files = {"svg": "flight/steps.svg", "csv": "flight/steps.csv", "png": "flight/gone.png"}
    add(folder, "analyses", {"task": "flight", "models": ["good"], "title": "Steps", "note": "Up.", "files": files})
    (analysis,) = shown(write_report([folder], tmp_path / "page"))["analyses"]
    assert base64.b64decode(analysis["picture"].removeprefix("data:image/svg+xml;base64,")) == b"<svg/>"
    assert analysis["links"] == {"svg": "../results/flight/steps.svg", "csv": "../results/flight/steps.csv"}


def test_a_large_task_keeps_every_value_and_the_texts_of_telling_queries(tmp_path: Path) -> None:
    ids = [f"q{n}" for n in range(1000)]
    qrels = {query_id: {"a": 1} for query_id in ids}
    worst = set(ids[-20:])
    documents = [Document(f"d{n}", "long text " * 100, "title") for n in range(7_000)]
    runs = {
        "m": {
            q: {"a": 1.0 - 2 * (q in worst), **{f"d{n * 7 + i}": i / 10 for i in range(9)}} for n, q in enumerate(ids)
        },
        "n": {q: {"a": 1.0} for q in ids},
    }
    results = [scored("large", model, run, qrels) for model, run in runs.items()]
    for result in results:
        result.save(tmp_path)
    save_details(tmp_path, results, qrels, {q: f"query {q} " * 20 for q in ids}, lambda ids: documents)
    page = write_report([tmp_path])
    (task,) = shown(page)["tasks"]
    assert len(task["ids"]) == len(task["values"][MAIN]["m"]) == 1000
    assert worst < task["queries"].keys()
    assert 2 * len(worst) < len(task["queries"]) <= QUERIES
    assert page.stat().st_size < 5e6
    assert (
        describe({tmp_path: read_results(tmp_path)}, tmp_path)["tasks"][0]["queries"].keys() == task["queries"].keys()
    )


def test_folders_without_results_and_damaged_details_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="no results in"):
        write_report([tmp_path])
    with pytest.raises(DebaterError, match="no folder"):
        write_report([])
    save(tmp_path, {"good": GOOD})
    (tmp_path / "flight/queries.jsonl").write_text('{"_id": "q1"}\n{"_id": "q', encoding="utf-8")
    with pytest.raises(DebaterError, match=r"queries\.jsonl, line 2"):
        write_report([tmp_path])


def test_models_of_different_folders_are_compared(tmp_path: Path) -> None:
    first = save(tmp_path / "first", {"good": GOOD, "bm25": POOR})
    second = save(tmp_path / "second", {"other": POOR, "bm25": POOR})
    add(first, "comparisons", comparison("good", "bm25"))
    data = shown(write_report([first, second]))
    own, across = data["comparisons"]
    assert (own["system"], own["baseline"], own["metrics"][MAIN]["difference"]) == ("good", "bm25", 0.2)  # as it was
    means = {model: entry["metrics"][MAIN] for model, entry in data["tasks"][0]["results"].items()}
    assert (across["system"], across["baseline"]) == ("good", "other")
    assert across["metrics"][MAIN]["difference"] == pytest.approx(means["good"] - means["other"])
    assert 0 < across["metrics"][MAIN]["p_randomisation_holm"] <= 1
    assert read_results(first)["comparisons"] == [comparison("good", "bm25")]  # the page's alone


def test_results_on_other_queries_are_not_compared(tmp_path: Path) -> None:
    first, second = save(tmp_path / "first", {"good": GOOD}), save(tmp_path / "second", {"other": POOR})
    saved = read_results(second)
    del saved["results"][0]["per_query"]["q1"]
    write_results(second, saved)
    assert shown(write_report([first, second]))["comparisons"] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("judgements", r"flight cannot be compared: good in \S*first and other in \S*second .* different judgements"),
        ("corpus", "from different corpora"),
    ],
)
def test_results_on_other_data_are_not_joined(tmp_path: Path, data: str, message: str) -> None:
    first = save(tmp_path / "first", {"good": GOOD}, provenance={"corpus": "1"})
    second = save(tmp_path / "second", {"other": POOR})  # a run, which knows of no corpus
    write_report([first, second])
    saved = read_results(second)
    saved["results"][0]["provenance"][data] = "2"
    write_results(second, saved)
    with pytest.raises(DebaterError, match=message):
        write_report([first, second])
    assert write_report([second]).is_file()
