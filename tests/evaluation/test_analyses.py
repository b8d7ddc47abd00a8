"""The tables of the analyses say what separate computation says; the pictures show the tables."""

import csv
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.evaluation import ANALYSES, Result, analyse, choose_analyses, evaluate, read_results, score_run
from debater_search.evaluation.analyses import vectors as vector_analyses
from debater_search.evaluation.analyses.subject import Subject
from debater_search.indexing import build, delete
from debater_search.reports.analyses import DRAWINGS, draw_analysis
from debater_search.search import SearchEngine
from debater_search.types import Document, Qrels, Query
from debater_search.vectors import VectorSettings
from debater_search.vectors.faiss.build import build_index
from debater_search.vectors.faiss.index import FaissIndex
from tests.fakes import FakeEncoder, tiny_corpus

WORDS = [f"word{n}" for n in range(40)]
IN_MEMORY = [name for name in ANALYSES if name not in ("training", "depth")]


class Thinker(FakeEncoder):
    """A document's first step knows only its last two words, the later ones more and more of it."""

    trained_with_instructions = False

    def deliberate(self, texts: Any, *, progress: Any = False) -> np.ndarray:
        contents = [text.content if isinstance(text, Document) else text for text in texts]
        self.encoded += len(contents)
        bags = np.stack([self._bags([" ".join(c.split()[-last:]) for c in contents]) for last in (2, 5, 0)], axis=1)
        return (bags / np.linalg.norm(bags, axis=-1, keepdims=True)).astype(np.float32)


def random_text(random: np.random.Generator, longest: int) -> str:
    return " ".join(random.choice(WORDS, random.integers(2, longest)))


class Task:
    """Random words: 150 documents, some of which answer 30 queries; d0 to d9 are deleted from the index."""

    name = "random"
    instruction: str | None = None
    ignore_identical_ids = False

    def corpus(self, split: str = "test") -> list[Document]:
        random = np.random.default_rng(0)
        return [Document(f"d{n}", random_text(random, 20)) for n in range(150)]

    def queries(self, split: str = "test") -> list[Query]:
        random = np.random.default_rng(1)
        return [Query(f"q{n}", random_text(random, 8)) for n in range(31)]

    def qrels(self, split: str = "test") -> Qrels:
        random = np.random.default_rng(2)
        return {f"q{n}": {f"d{d}": 1 for d in random.choice(150, 5, replace=False)} for n in range(30)}


DELETED = [f"d{n}" for n in range(10)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    """An index of the task with every step, in several shards, of which documents were deleted."""
    folder = tmp_path_factory.mktemp("index") / "random"
    build(Task().corpus(), encoder(), folder, all_steps=True, shard_size=40)
    delete(folder, DELETED)
    engine = SearchEngine.open(folder, encoder=encoder())
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def result(engine: SearchEngine) -> Result:
    return evaluate(Task(), engine)


def encoder() -> Any:
    return Thinker("thinker", 96)


def table(engine: SearchEngine, result: Result, name: str, folder: Path, task: Any = None) -> list[dict[str, str]]:
    """The CSV of an analysis."""
    (entry,) = analyse(task or Task(), engine, result, [name], folder)
    with (folder / entry["files"]["csv"]).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kept() -> list[Document]:
    return [document for document in Task().corpus() if document.id not in DELETED]


def judged() -> list[Query]:
    return Task().queries()[:30]


def scores_of(cosines: np.ndarray) -> tuple[float, float, float]:
    """nDCG@10 and its interval of scores [queries, documents] over all documents."""
    ids = [document.id for document in kept()]
    run = {query.id: dict(zip(ids, row.tolist(), strict=True)) for query, row in zip(judged(), cosines, strict=True)}
    found = score_run(run, Task().qrels())
    return found.metrics["ndcg@10"], *found.intervals["ndcg@10"]


def query_vectors() -> np.ndarray:
    return encoder().encode_queries([query.text for query in judged()])


def numbers(rows: list[dict[str, str]], *columns: str) -> np.ndarray:
    return np.array([[float(row[column]) for column in columns] for row in rows])


def test_steps_are_scored_alone_and_together_over_all_living_documents(
    engine: SearchEngine, result: Result, tmp_path: Path
) -> None:
    rows = table(engine, result, "steps", tmp_path)
    cosines = np.einsum("qd,nsd->sqn", query_vectors(), encoder().deliberate(kept()))
    expected = [scores_of(scores) for scores in (*cosines, cosines.max(axis=0), cosines.mean(axis=0))]
    assert [row["step"] for row in rows] == ["1", "2", "3", "max", "mean"]
    assert numbers(rows, "ndcg@10", "low", "high") == pytest.approx(np.array(expected), abs=1e-6)
    assert len({row["ndcg@10"] for row in rows}) == 5
    assert float(rows[2]["ndcg@10"]) == pytest.approx(result.metrics["ndcg@10"])


def test_cosines_between_steps_leave_deleted_documents_out(
    engine: SearchEngine, result: Result, tmp_path: Path
) -> None:
    steps = encoder().deliberate(kept())
    cosines = steps @ steps.transpose(0, 2, 1)
    matrix = numbers(table(engine, result, "cosines", tmp_path), "1", "2", "3")
    assert matrix == pytest.approx(cosines.mean(axis=0), abs=1e-6)
    of_all = encoder().deliberate(Task().corpus())
    assert np.abs(matrix - np.mean(of_all @ of_all.transpose(0, 2, 1), axis=0)).max() > 1e-4
    rows = table(engine, result, "last", tmp_path)
    to_last = cosines[:, :, -1]
    expected = np.vstack([to_last.mean(axis=0), *np.quantile(to_last, [0.25, 0.5, 0.75], axis=0)]).T
    assert numbers(rows, "mean", "quartile_1", "median", "quartile_3") == pytest.approx(expected, abs=1e-6)


def test_dimensions_are_cut_and_brought_to_length_one_on_both_sides(
    engine: SearchEngine, result: Result, tmp_path: Path
) -> None:
    rows = table(engine, result, "dimensions", tmp_path)
    assert [row["dimensions"] for row in rows] == ["32", "64", "96"]
    documents = encoder().encode_documents(kept())
    for row in rows:
        cut = [vectors[:, : int(row["dimensions"])] for vectors in (query_vectors(), documents)]
        with np.errstate(invalid="ignore"):
            ours, theirs = (np.nan_to_num(part / np.linalg.norm(part, axis=1, keepdims=True)) for part in cut)
        assert numbers([row], "ndcg@10", "low", "high")[0] == pytest.approx(scores_of(ours @ theirs.T), abs=1e-6)
    assert float(rows[-1]["ndcg@10"]) == pytest.approx(result.metrics["ndcg@10"])


def test_index_types_are_held_to_exact_search(
    engine: SearchEngine, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_analyses, "_RECALL", 0.01)  # so that something is lost
    rows = {row["type"]: row for row in table(engine, result, "indexes", tmp_path)}
    assert list(rows) == ["flat", "hnsw", "ivf", "sq8", "ivfpq", "binary"]
    assert float(rows["flat"]["recall@10"]) == 1
    documents = encoder().encode_documents(kept())
    build_index([documents], 96, VectorSettings("ivf", recall=0.01), tmp_path / "ivf")
    scores, _ = FaissIndex.load(tmp_path / "ivf").search(query_vectors(), 10)
    exact = -np.sort(-query_vectors() @ documents.T, axis=1)[:, 9]
    recall = np.mean(scores >= exact[:, None] - 1e-5)
    assert 0 < recall < 1
    assert float(rows["ivf"]["recall@10"]) == pytest.approx(recall)
    for type, row in rows.items():
        mapped = 4 * 140 * 96 if type in ("sq8", "ivfpq", "binary") else 0
        assert int(row["file_bytes"]) - int(row["memory_bytes"]) == mapped
        assert float(row["ms_per_query_p50"]) > 0


def test_lengths_part_the_queries_and_their_means_are_of_the_result(
    engine: SearchEngine, result: Result, tmp_path: Path
) -> None:
    rows = table(engine, result, "lengths", tmp_path)
    words = {document.id: len(document.text.split()) for document in kept()}
    of_relevant = {
        query_id: float(np.median(there))
        for query_id, gains in Task().qrels().items()
        if (there := [words[id] for id in gains if id in words])
    }
    of_queries = {query.id: float(len(query.text.split())) for query in judged()}
    for kind, lengths in (("queries", of_queries), ("relevant documents", of_relevant)):
        own = [row for row in rows if row["of"] == kind]
        assert len(own) > 1
        assert sum(int(row["queries"]) for row in own) == len(lengths)
        for row, following in zip(own, [*own[1:], None], strict=True):
            low, high = float(row["shortest"]), float(row["longest"])
            assert following is None or high < float(following["shortest"])
            inside = [result.per_query[id]["ndcg@10"] for id, length in lengths.items() if low <= length <= high]
            assert len(inside) == int(row["queries"])
            assert float(row["ndcg@10"]) == pytest.approx(np.mean(inside))
            assert float(row["low"]) <= float(row["ndcg@10"]) <= float(row["high"])


def test_the_weight_sweep_fuses_as_search_does(engine: SearchEngine, result: Result, tmp_path: Path) -> None:
    rows = table(engine, result, "weights", tmp_path)
    assert [float(row["dense_weight"]) for row in rows] == [tenths / 10 for tenths in range(11)]
    for row in rows:
        weight = float(row["dense_weight"])
        fused = 0 < weight < 1
        if fused:
            run = engine.search_batch(judged(), 1000, mode="hybrid", weights=(weight, 1 - weight))
        else:
            run = engine.search_batch(judged(), 1000, mode="dense" if weight else "lexical")
        near = 1e-9 if fused else 0.01  # where one ranking is all there is, documents of equal score change places
        assert float(row["ndcg@10"]) == pytest.approx(score_run(run, Task().qrels()).metrics["ndcg@10"], abs=near)


def test_a_ranking_of_no_weight_adds_no_documents(tmp_path: Path) -> None:
    class Rare(Task):
        def corpus(self, split: str = "test") -> list[Document]:
            return tiny_corpus()

        def queries(self, split: str = "test") -> list[Query]:
            return [Query("q", "unique7")]

        def qrels(self, split: str = "test") -> Qrels:
            return {"q": {"d7": 1, "d8": 1, "d9": 1}}

    build(Rare().corpus(), encoder(), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i", encoder=encoder())
    rows = table(engine, evaluate(Rare(), engine), "weights", tmp_path, Rare())
    words = evaluate(Rare(), engine, mode="lexical")
    assert len(words.run["q"]) == 1
    assert float(rows[0]["ndcg@10"]) == pytest.approx(words.metrics["ndcg@10"])


def test_documents_that_are_the_query_itself_are_no_answers(engine: SearchEngine, tmp_path: Path) -> None:
    class Self(Task):
        ignore_identical_ids = True

        def queries(self, split: str = "test") -> list[Query]:
            return [Query(document.id, document.text) for document in self.corpus()[20:40]]

        def qrels(self, split: str = "test") -> Qrels:
            return {f"d{n}": {f"d{n}": 1, f"d{n + 50}": 1} for n in range(20, 40)}

    result = evaluate(Self(), engine)
    for name in ("steps", "dimensions"):
        last = [row for row in table(engine, result, name, tmp_path, Self()) if row.get("step", "3") == "3"][-1]
        assert float(last["ndcg@10"]) == pytest.approx(result.metrics["ndcg@10"])


def test_every_analysis_leaves_a_table_two_pictures_and_an_entry(
    engine: SearchEngine, result: Result, tmp_path: Path
) -> None:
    before = engine.encoder.encoded
    result.save(tmp_path)
    assert analyse(Task(), engine, result, IN_MEMORY, tmp_path) == read_results(tmp_path)["analyses"]
    analyse(Task(), engine, replace(result, model="other"), ["steps"], tmp_path)
    assert engine.encoder.encoded == before
    saved = read_results(tmp_path)
    assert [entry["name"] for entry in saved["analyses"]] == [*IN_MEMORY[1:], "steps"]  # the second took its place
    assert saved["analyses"][-1]["models"] == ["other"]
    assert len(saved["results"]) == 1
    for entry in saved["analyses"]:
        assert entry["task"] == "random"
        assert entry["title"]
        assert re.search(r"\d\.\d", entry["note"])
        assert set(entry["files"]) == {"csv", "png", "svg"}
        assert (tmp_path / entry["files"]["png"]).read_bytes().startswith(b"\x89PNG")
        assert "thinker" in words_of(tmp_path / entry["files"]["svg"]) or entry["models"] == ["other"]


def test_all_is_what_the_model_allows(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_analyses(["all"], encoder()) == IN_MEMORY
    assert any("training" in message for message in caplog.messages)
    one_step: Any = FakeEncoder(thinking_steps=1)
    assert choose_analyses(["all"], one_step) == ["dimensions", "indexes", "lengths", "weights"]


@pytest.mark.parametrize(
    ("names", "model", "message"),
    [
        (["stepz"], FakeEncoder(), "no analysis 'stepz'"),
        (["all", "steps"], FakeEncoder(thinking_steps=1), "one thinking step"),
        (["training"], FakeEncoder(), "not a training output"),
        (["depth"], FakeEncoder(), "no checkpoint of the same base model"),
    ],
)
def test_what_a_model_does_not_allow_is_refused_by_name(names: list[str], model: Any, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        choose_analyses(names, model)


def test_an_index_of_passages_is_refused(tmp_path: Path) -> None:
    build(Task().corpus(), encoder(), tmp_path / "i", passages=24, overlap=0)
    engine = SearchEngine.open(tmp_path / "i", encoder=encoder())
    with pytest.raises(DebaterError, match="passages"):
        Subject(Task(), engine, Result("random", "m", {}, {}, {}, {}))


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training output with checkpoints of steps 2 and 10, and its end at 10; beside it two other checkpoints."""

    def write(folder: Path, step: int, depth: int, base: str = "base") -> None:
        folder.mkdir(parents=True)
        described = {"base_model": base, "thinking_steps": depth, "provenance": {"step": step}}
        (folder / "debater.json").write_text(json.dumps(described), encoding="utf-8")

    run = tmp_path / "checkpoints" / "run"
    write(run, 10, 3)
    write(run / "checkpoint-2", 2, 3)
    write(run / "checkpoint-10", 10, 3)
    write(run / "best", 2, 3)
    (run / "checkpoint-11").mkdir()  # a kill left it
    write(run.parent / "deep", 10, 4)
    write(run.parent / "other", 10, 5, "another base")
    made: dict[str, Thinker] = {}

    def load(model: str, **settings: Any) -> Thinker:
        depth = json.loads((Path(model) / "debater.json").read_text())["thinking_steps"]
        kind = "early" if model.endswith("-2") else "thinker"
        thinker = made[Path(model).name] = Thinker(kind, 96 if kind == "thinker" else 8, thinking_steps=depth)
        thinker.recipe = {"model": model}
        return thinker

    monkeypatch.setattr("debater_search.encoder.Encoder.load", load)
    monkeypatch.setattr(Thinker, "made", made, raising=False)
    return run


def analysed(run: Path, name: str, engine: SearchEngine, result: Result) -> list[dict[str, str]]:
    model: Any = engine.encoder
    model.recipe, before = {"model": str(run)}, model.recipe
    try:
        assert choose_analyses([name], model) == [name]
        return table(engine, result, name, run.parents[1] / "results")
    finally:
        model.recipe = before


def test_a_training_run_is_scored_checkpoint_by_checkpoint(
    run_folder: Path, engine: SearchEngine, result: Result
) -> None:
    rows = analysed(run_folder, "training", engine, result)
    assert [(row["step"], row["checkpoint"]) for row in rows] == [("2", "checkpoint-2"), ("10", "run")]
    early: Any = Thinker("early", 8)
    assert float(rows[0]["ndcg@10"]) == pytest.approx(evaluate(Task(), early).metrics["ndcg@10"])
    assert float(rows[1]["ndcg@10"]) == pytest.approx(result.metrics["ndcg@10"])
    made: dict[str, Thinker] = Thinker.made  # type: ignore[attr-defined]
    assert [made[name].encoded for name in ("checkpoint-2", "run")] == [150, 0]  # the end is indexed already


def test_depth_compares_neighbours_of_the_same_base_model(
    run_folder: Path, engine: SearchEngine, result: Result
) -> None:
    rows = analysed(run_folder, "depth", engine, result)
    assert [(row["thinking_steps"], row["checkpoint"]) for row in rows] == [("3", "run"), ("4", "deep")]


def words_of(picture: Path) -> str:
    return "\n".join(re.findall(r"<!-- (.*?) -->", picture.read_text(encoding="utf-8")))


def test_a_picture_is_made_of_its_table_alone_and_the_same_each_time(tmp_path: Path) -> None:
    rows = ["1,0.25,0.2,0.3", "2,0.375,0.3,0.4", "max,0.5,0.4,0.6", "mean,0.125,0.1,0.2"]
    (tmp_path / "steps.csv").write_text("\n".join(["step,ndcg@10,low,high", *rows]), encoding="utf-8")
    drawn = [[path.read_bytes() for path in draw_analysis("steps", tmp_path / "steps.csv", "of $m_{1$")] for _ in "ab"]
    assert drawn[0] == drawn[1]
    shown = words_of(tmp_path / "steps.svg")
    assert all(word in shown for word in ("of $m_{1$", "0.250", "0.375", "0.500", "0.125", "max", "(search)"))


def test_every_analysis_has_a_drawing() -> None:
    assert list(DRAWINGS) == list(ANALYSES)
