"""The contract of RetrievalTask, which every kind of task passes; and finding tasks by name."""

import gzip
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.errors import DebaterError
from debater_search.evaluation import FolderTask, MtebTask, RetrievalTask, Suite, load, load_task, tasks_of
from debater_search.evaluation.beir import (
    BEIR,
    CQADUPSTACK,
    INSTRUCTIONS,
    QUERIES_ARE_DOCUMENTS,
    builtin_instruction,
    mteb_name,
    scored_split,
)
from debater_search.types import Document, Query

DATA = Path(__file__).parents[2] / "data"
DOCUMENTS = [{"_id": "d1", "title": "", "text": "wings"}, {"_id": "d2", "title": "Flaps", "text": "and slats"}]
QUERIES = [{"_id": "q1", "text": "what lifts ?"}]
QRELS = {"q1": {"d1": 2, "d2": 0}}


def folder_task(folder: Path) -> FolderTask:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS), encoding="utf-8")
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES), encoding="utf-8")
    lines = [f"{q}\t{d}\t{gain}\n" for q, gains in QRELS.items() for d, gain in gains.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
    return FolderTask(folder)


def mteb_task(folder: Path) -> MtebTask:
    """A stock task of mteb with data of its own, as mteb holds it once it is loaded."""
    mteb = pytest.importorskip("mteb")
    from datasets import Dataset

    task = mteb.get_task("SciFact")
    task.data_loaded = True
    task.dataset = {
        "default": {
            "test": {
                "corpus": Dataset.from_list(
                    [{**row, "id": row["_id"], "title": row["title"] or None} for row in DOCUMENTS]
                ),
                "queries": Dataset.from_list([{"id": row["_id"], "text": row["text"]} for row in QUERIES]),
                "relevant_docs": QRELS,
                "top_ranked": None,
            }
        }
    }
    return MtebTask("SciFact", task=task)


@pytest.fixture(params=[folder_task, mteb_task])
def task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RetrievalTask:
    monkeypatch.setattr("debater_search.evaluation.hub_tasks.is_offline", lambda: True)
    make: Callable[[Path], RetrievalTask] = request.param
    return make(tmp_path / "wings")


def test_task_gives_corpus_queries_and_judgements(task: RetrievalTask) -> None:
    assert list(task.corpus()) == [Document("d1", "wings"), Document("d2", "and slats", "Flaps")]
    assert task.queries() == [Query("q1", "what lifts ?")]
    assert task.qrels() == QRELS
    assert task.instruction is None
    assert task.ignore_identical_ids is False
    assert task.name in ("wings", "SciFact")


def test_task_without_the_split_lists_those_it_has(task: RetrievalTask) -> None:
    with pytest.raises(DebaterError) as error:
        task.qrels("dev")
    assert "has no split 'dev'" in error.value.message
    assert "test" in error.value.hint


def test_folder_is_found_by_its_path() -> None:
    task = load_task(DATA / "cranfield")
    assert (task.name, len(task.qrels()), len(task.queries())) == ("cranfield", 225, 225)


def test_cranfield_is_bundled_and_a_folder_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = load_task("cranfield")
    assert (bundled.name, len(bundled.qrels())) == ("cranfield", 225)
    folder_task(tmp_path / "data" / "cranfield")
    assert load_task("cranfield").qrels() == QRELS
    folder_task(tmp_path / "cranfield")
    assert load_task("cranfield").source == "cranfield"


def test_folder_may_name_its_instruction(tmp_path: Path) -> None:
    folder = folder_task(tmp_path / "wings").folder
    (folder / "task.json").write_text('{"instruction": "Answer:"}', encoding="utf-8")
    assert load_task(folder).instruction == "Answer:"
    (folder / "task.json").write_text('{"instruct": "Answer:"}', encoding="utf-8")
    with pytest.raises(DebaterError, match="has no instruction"):
        load_task(folder)


def test_folder_without_judgements_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="it has no judgements"):
        load_task(tmp_path)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("beir/scifct", "BEIR has no set 'scifct'", "Did you mean beir/scifact?"),
        (f"{DATA}/cranfeld", "There is no folder", "cranfield?"),
        ("cranfeld", "There is no retrieval task 'cranfeld'", "Did you mean cranfield?"),
        ("nowhere/wings", "There is no folder nowhere/wings.", "Name a folder, beir/NAME or an mteb task."),
        ("nowhere/", "There is no folder nowhere/.", "Name a folder"),
        ("nowhere/cranfield", "There is no folder nowhere/cranfield.", "The bundled collection is called cranfield."),
        ("SciFac", "There is no retrieval task 'SciFac'", "Did you mean SciFact?"),
        ("scifact", "There is no retrieval task", "Did you mean SciFact?"),
        ("Banking77Classification", "is not a retrieval task: its type is Classification", "Use mteb itself"),
        ("CQADupstackRetrieval", "stands for several tasks", "CQADupstackAndroidRetrieval"),
    ],
)
def test_misspelt_task_names_the_nearest(name: str, message: str, hint: str) -> None:
    with pytest.raises(DebaterError) as error:
        load_task(name)
    assert message in error.value.message
    assert hint in error.value.hint


def test_beir_is_as_mteb_has_it() -> None:
    mteb = pytest.importorskip("mteb")
    known = {
        task.metadata.name: task
        for task in mteb.get_tasks(task_types=["Retrieval"], exclude_superseded=False, exclude_aggregate=False)
    }
    assert set(BEIR.values()) | set(INSTRUCTIONS) <= set(known)
    assert load_task("beir/scifact").name == "SciFact"
    parts = [part.metadata.name for part in mteb.get_task("CQADupstackRetrieval").metadata.tasks]
    assert sorted(parts) == sorted(mteb_name(f"cqadupstack/{part}") for part in CQADUPSTACK)
    for name in BEIR.values():
        if name != "CQADupstackRetrieval":
            assert known[name].ignore_identical_ids == (name in QUERIES_ARE_DOCUMENTS), name
            assert known[name].eval_splits == [scored_split(name)], name


def test_beir_is_fifteen_sets_and_cqadupstack_the_mean_of_its_twelve() -> None:
    beir = load("beir")
    assert isinstance(beir, Suite)
    assert len(beir.members) == 15
    assert len(beir.tasks()) == 26
    (cqadupstack, _) = beir.suites()
    scores = {task.name: {"ndcg@10": 0.0} for task in beir.tasks()}
    scores["CQADupstackTexRetrieval"] = {"ndcg@10": 0.6}
    scores["SciFact"] = {"ndcg@10": 0.7}
    assert cqadupstack.mean(scores) == {"ndcg@10": pytest.approx(0.05)}
    assert beir.mean(scores) == {"ndcg@10": pytest.approx(0.05)}
    del scores["NQ"]
    assert beir.mean(scores) is None


@pytest.mark.parametrize(
    ("name", "tasks", "one"),
    [
        ("mteb-eng-v2", 10, "Touche2020Retrieval.v3"),
        ("MTEB(eng, v2)", 10, "ArguAna"),
        ("mteb-multilingual", None, "MLQARetrieval"),
        ("nanobeir", 13, "NanoSCIDOCSRetrieval"),
        ("beir-nl", None, "SciFact-NL"),
    ],
)
def test_a_benchmark_of_mteb_is_its_retrieval_tasks(name: str, tasks: int | None, one: str) -> None:
    suite = load(name)
    assert isinstance(suite, Suite)
    assert one in [member.name for member in suite.members]
    assert tasks is None or len(suite.members) == tasks
    with pytest.raises(DebaterError, match="There is no retrieval task") as error:
        load("mteb-eng-v22")
    assert "Did you mean mteb-eng-v2?" in error.value.hint


@pytest.mark.parametrize("place", ["data/scifact", "data/beir/scifact", "data/SciFact"])
@pytest.mark.parametrize("asked", ["SciFact", "beir/scifact", "beir", "BEIR"])
def test_a_copy_in_data_comes_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, asked: str
) -> None:
    folder_task(tmp_path / place)
    monkeypatch.chdir(tmp_path)
    (task,) = (task for task in tasks_of(load(asked)) if task.name == "SciFact")
    assert isinstance(task, FolderTask)
    assert task.qrels() == QRELS


def test_a_copy_of_cqadupstack_is_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("tex", "unix"):
        folder_task(tmp_path / "data" / "cqadupstack" / part)
    monkeypatch.chdir(tmp_path)
    suite = load("beir/cqadupstack")
    assert [task.name for task in tasks_of(suite)] == ["cqadupstack/tex", "cqadupstack/unix"]
    assert "Stackexchange" in (builtin_instruction("cqadupstack/tex") or "")
    assert load_task("CQADupstackTexRetrieval").qrels() == QRELS


def test_identical_ids_and_the_split_go_by_the_folders_name(tmp_path: Path) -> None:
    assert [folder_task(tmp_path / name).ignore_identical_ids for name in ("arguana", "quora", "SciFact", "wings")] == [
        True,
        True,
        False,
        False,
    ]
    assert [scored_split(name) for name in ("msmarco", "MSMARCO", "wings")] == ["dev", "dev", "test"]


@pytest.mark.parametrize("judgements", ["qrels.txt", "qrels/test.txt", "qrels.tsv.gz", "qrels.trec"])
def test_a_folder_may_hold_trec_judgements_and_a_folder_of_texts(tmp_path: Path, judgements: str) -> None:
    for path, text in {
        "corpus/d1.txt": "wings",
        "corpus/d2.md": "# Flaps\nand slats",
        "queries.tsv": "qid\tquery\nq1\twhat lifts ?\n",
        judgements: "q1 0 d1.txt 2\nq1 0 d2.md 0\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        data = text.encode()
        (tmp_path / path).write_bytes(gzip.compress(data) if path.endswith(".gz") else data)
    task = load_task(tmp_path)
    assert [document.id for document in task.corpus()] == ["d1.txt", "d2.md"]
    assert task.queries() == [Query("q1", "what lifts ?")]
    assert task.qrels() == {"q1": {"d1.txt": 2, "d2.md": 0}}


def fake_mteb(splits: dict[str, Any], **more: Any) -> Any:
    return types.SimpleNamespace(
        metadata=types.SimpleNamespace(name="Fake", dataset={"path": "mteb/fake", "revision": "1"}),
        hf_subsets=more.pop("subsets", ["default"]),
        ignore_identical_ids=True,
        dataset={more.pop("subset", "default"): splits},
        load_data=more.pop("load_data", lambda: None),
        convert_v1_dataset_format_to_v2=lambda num_proc: None,
    )


def test_mteb_task_that_is_scored_on_dev_takes_it_for_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.evaluation.hub_tasks.is_offline", lambda: True)
    task = MtebTask("Fake", task=fake_mteb({"dev": {"relevant_docs": {1: {2: 1}}}}))
    assert task.qrels("test") == {"1": {"2": 1}}
    assert task.ignore_identical_ids


def test_multilingual_mteb_task_is_a_task_of_each_language_and_split() -> None:
    assert load_task("MLQARetrieval/validation/ara-deu").name == "MLQARetrieval/validation/ara-deu"
    found = load("MLQARetrieval")
    assert isinstance(found, Suite)
    assert len(found.tasks()) == 2 * 49
    assert {part.name.split("/")[1] for part in found.tasks()} == {"validation", "test"}
    with pytest.raises(DebaterError, match="stands for several tasks"):
        load_task("MLQARetrieval")
    with pytest.raises(DebaterError, match="has no part") as error:
        load_task("MLQARetrieval/validation/ara-deuu")
    assert "Did you mean MLQARetrieval/validation/ara-deu?" in error.value.hint


def test_mteb_task_without_a_hub_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("debater_search.evaluation.hub_tasks.is_offline", lambda: True)
    with pytest.raises(DebaterError, match=r"The data of Fake could not be loaded \(ConnectionError\)\.") as error:
        MtebTask("Fake", task=fake_mteb({}, load_data=unreachable)).qrels()
    assert "hub" in error.value.hint


def test_builtin_instructions_go_by_mteb_and_beir_names() -> None:
    assert builtin_instruction("SciFact") == builtin_instruction("scifact")
    assert "Stackexchange" in (builtin_instruction("CQADupstackGamingRetrieval") or "")
    assert builtin_instruction("cranfield") is None
