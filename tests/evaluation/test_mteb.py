"""mteb's own evaluation and ours: two ways, one number."""

import json
import logging
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.evaluation import Campaign, MtebTask, evaluate
from debater_search.evaluation.hub_tasks import parts_of
from debater_search.evaluation.mteb import DebaterModel, save_mteb_result
from debater_search.evaluation.mteb_names import Source, slug

mteb = pytest.importorskip("mteb")

REPEATED = "the wing of an aircraft in a slow stream"
DOCUMENTS = {  # q2 and q3 are documents, too; d3, d4 and d9 score alike
    "q2": ("", "a boundary layer is heated"),
    "q3": ("Noise", "propellers are loud"),
    "d1": ("Lift", "what lifts a wing is its circulation"),
    "d2": ("Lift", "flaps and slats"),
    "d3": ("", REPEATED),
    "d4": ("", REPEATED),
    "d9": ("", REPEATED),
    **{f"x{number}": (f"Report {number}", f"note {number} on stalls and spins") for number in range(20)},
}
QUERIES = {"q1": "what lifts a wing", "q2": "a boundary layer is heated", "q3": "loud propellers", "q4": REPEATED}
QRELS = {"q1": {"d1": 2, "d2": 1}, "q2": {"d3": 1, "q2": 1}, "q3": {"q3": 1, "x3": 0}, "q4": {"d4": 1}}


def local_task(identical: bool, subsets: tuple[str, ...] = ("default",)) -> Any:
    """A retrieval task of mteb's whose data is here."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    languages = ["eng-Latn"] if subsets == ("default",) else {subset: [f"{subset}-Latn"] for subset in subsets}

    class Local(AbsTaskRetrieval):
        ignore_identical_ids = identical
        metadata = TaskMetadata(
            name="LocalRetrieval",
            description="Flight.",
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=languages,
            main_score="ndcg_at_10",
            dataset={"path": "local", "revision": "1"},
        )

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            data = {
                "corpus": Dataset.from_list(
                    [{"id": id, "title": title, "text": text} for id, (title, text) in DOCUMENTS.items()]
                ),
                "queries": Dataset.from_list([{"id": id, "text": text} for id, text in QUERIES.items()]),
                "relevant_docs": QRELS,
                "top_ranked": None,
            }
            self.dataset = {subset: {"test": dict(data)} for subset in self.hf_subsets}
            self.data_loaded = True

    return Local()


def by_mteb(model: Any, task: Any) -> float:
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False).task_results
    return float(result.scores["test"][0]["ndcg_at_10"])


@pytest.fixture(params=["bert", "minicpm"])
def encoder(request: pytest.FixtureRequest, tiny_model: Any, minicpm_adapter: Path, minicpm_base: Path) -> Encoder:
    if request.param == "bert":
        return Encoder.load(tiny_model("bert"), device="cpu")
    return Encoder.load(minicpm_adapter, base_model=minicpm_base, device="cpu")


@pytest.mark.parametrize("identical", [True, False])
def test_mtebs_search_ours_and_debater_eval_find_one_number(encoder: Encoder, identical: bool) -> None:
    ours = evaluate(MtebTask("Local", task=local_task(identical)), encoder).metrics["ndcg@10"]
    assert 0 < ours < 1
    model = DebaterModel(encoder)
    assert by_mteb(mteb.models.SearchEncoderWrapper(model), local_task(identical)) == pytest.approx(ours, abs=1e-4)
    assert by_mteb(model, local_task(identical)) == pytest.approx(ours, abs=1e-4)


def test_a_run_is_mtebs_result_file_under_model_and_fingerprint(encoder: Encoder, tmp_path: Path) -> None:
    task = MtebTask("Local", task=local_task(True))
    result = evaluate(task, encoder)
    file = save_mteb_result(task, result, encoder, tmp_path)
    assert file.parent.name == encoder.fingerprint
    read = mteb.results.TaskResult.from_disk(file)
    assert read.task_name == "LocalRetrieval"
    assert read.get_score() == pytest.approx(result.metrics["ndcg@10"], abs=1e-4)
    meta = json.loads((file.parent / "model_meta.json").read_text(encoding="utf-8"))
    assert (meta["revision"], meta["embed_dim"]) == (encoder.fingerprint, encoder.dim)


@pytest.mark.parametrize(
    ("model", "called"),
    [("debater-small", "debater/debater-small"), ("minilm", "sentence-transformers/all-MiniLM-L6-v2")],
)
def test_mteb_knows_a_model_that_an_alias_names_by_owner_and_name(encoder: Encoder, model: str, called: str) -> None:
    renamed = copy(encoder)
    object.__setattr__(renamed, "name", model)
    assert DebaterModel(renamed).mteb_model_meta.name == called


def test_languages_of_a_task_share_a_result_file_and_the_score_is_their_mean(tiny_model: Any, tmp_path: Path) -> None:
    encoder = Encoder.load(tiny_model("bert"), device="cpu")
    parts = parts_of(local_task(False, ("deu", "eng")))
    assert [part.name for part in parts] == ["LocalRetrieval/deu", "LocalRetrieval/eng"]
    results = [evaluate(part, encoder) for part in parts]
    (file,) = {save_mteb_result(*pair, encoder, tmp_path) for pair in zip(parts, results, strict=True)}
    scores = mteb.results.TaskResult.from_disk(file).scores["test"]
    assert [score["hf_subset"] for score in scores] == ["deu", "eng"]
    assert [score["ndcg_at_10"] for score in scores] == pytest.approx(
        [result.metrics["ndcg@10"] for result in results], abs=1e-4
    )
    parts[0].unload()
    assert parts[0].qrels() == QRELS  # loaded again


def test_documents_that_were_ranked_before_are_ordered_anew(encoder: Encoder) -> None:
    task = local_task(False)
    task.load_data()
    data = task.dataset["default"]["test"]
    model = DebaterModel(encoder)
    about = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    with pytest.raises(DebaterError, match="no index"):
        model.search(data["queries"], top_k=2, num_proc=None, **about)
    model.index(data["corpus"], num_proc=None, **about)
    everything = model.search(data["queries"], top_k=1000, num_proc=None, **about)
    ranked = {query: ["d1", "d3", "x3"] for query in QUERIES}
    found = model.search(data["queries"], top_k=2, top_ranked=ranked, num_proc=None, **about)
    for query, answers in found.items():
        best = sorted(ranked[query], key=lambda document: -everything[query][document])[:2]
        assert {document: everything[query][document] for document in best} == pytest.approx(answers, abs=1e-5)
    model.close()


def test_texts_that_are_neither_queries_nor_documents_are_encoded_without_instruction(encoder: Encoder) -> None:
    model = DebaterModel(encoder, instruction="Find it:")
    batches, about = [{"text": ["wings"]}, {"text": ["flaps"]}], local_task(False).metadata
    plain = model.encode(batches, task_metadata=about)
    assert plain == pytest.approx(encoder.encode_queries(["wings", "flaps"], instruction=""), abs=1e-5)
    asked = model.encode(batches, task_metadata=about, prompt_type=mteb.types.PromptType.query)
    assert asked == pytest.approx(encoder.encode_queries(["wings", "flaps"], instruction="Find it:"), abs=1e-5)
    assert model.similarity_pairwise(plain, asked) == pytest.approx(model.similarity(plain, asked).diagonal())


def test_a_campaign_writes_mtebs_file_beside_its_own_and_takes_it_again(
    encoder: Encoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = Campaign([MtebTask("Local", task=local_task(False))], encoder, output=tmp_path)
    (result,) = first.results
    (file,) = tmp_path.glob("mteb/*/*/LocalRetrieval.json")
    assert mteb.results.TaskResult.from_disk(file).get_score() == pytest.approx(result.metrics["ndcg@10"], abs=1e-4)
    assert (tmp_path / "LocalRetrieval" / "run.trec").exists()
    with caplog.at_level(logging.INFO):
        (again,) = Campaign([MtebTask("Local", task=local_task(False))], encoder, output=tmp_path)
    assert "not scored again: LocalRetrieval." in caplog.text
    assert again.results == first.results


def test_every_name_of_mteb_stands_in_its_source() -> None:
    source = Source.in_folder(Path(mteb.__file__).parent)
    tasks = [task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)]
    suites = [name for suite in mteb.get_benchmarks() for name in (suite.name, *suite.aliases)]
    assert [name for name in [*tasks, *suites, *map(slug, suites)] if not source.holds(name)] == []
    assert {"SciFact", "NFCorpus", "mteb-eng-v2"} <= set(source.names())
    assert not source.holds("SciFac")


def test_a_name_is_not_refused_where_mteb_is_laid_out_otherwise(tmp_path: Path) -> None:
    assert Source.in_folder(tmp_path).holds("SciFac")
