"""Order and content of batches: functions of seed and step alone, one set a batch."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.training.batches import Batch, TrainingData, effective_rows, endless_rows, taken
from debater_search.training.settings import TrainingSettings
from debater_search.types import TrainingExample


def write_rows(path: Path, name: str, count: int, **more: object) -> str:
    rows = [{"query": f"{name} q{i}", "positive": f"{name} p{i}", "negative": [f"{name} n{i}", "x"], **more}
            for i in range(count)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def settings(tmp_path: Path, **more: object) -> TrainingSettings:
    data = [
        {"path": write_rows(tmp_path / "a.jsonl", "a", 10), "instruction": ["one:", "two:"]},
        {"path": write_rows(tmp_path / "b.jsonl", "b", 23)},
    ]
    return TrainingSettings.model_validate({"model": "m", "output": "o", "batch_size": 4, "data": data, **more})


def contents(*shares: Batch) -> dict[str, str]:
    """All that batches hold, one after the other, so that it can be compared: a missing score is NaN."""
    texts = {name: str([text for share in shares for text in getattr(share, name)])
             for name in ("queries", "positives", "negatives")}  # fmt: skip
    each = [vars(share.labels) for share in shares]
    labels = {name: str([number for labels in each for number in labels[name].tolist()])
              for name in ("same_query", "positive_scores", "negative_scores", "lexical")}  # fmt: skip
    return texts | labels


def test_a_batch_holds_one_set_and_rows_stay_aligned(tmp_path: Path) -> None:
    data = TrainingData(settings(tmp_path))
    for step in range(data.steps_per_epoch):  # the first pass takes each row's first negative
        batch = data.batch(step)
        names = {text.split()[0] for text in batch.positives + batch.negatives}
        assert len(names) == 1
        assert [q.split()[-1][1:] for q in batch.queries] == [p.split()[-1][1:] for p in batch.positives]
        assert [n.split()[-1][1:] for n in batch.negatives] == [p.split()[-1][1:] for p in batch.positives]


def test_batches_depend_on_seed_and_step_alone(tmp_path: Path) -> None:
    one, other = TrainingData(settings(tmp_path)), TrainingData(settings(tmp_path))
    forward = [contents(one.batch(step)) for step in range(12)]
    assert [contents(other.batch(step)) for step in reversed(range(12))] == forward[::-1]
    assert [contents(TrainingData(settings(tmp_path, seed=7)).batch(step)) for step in range(12)] != forward


def test_an_epoch_reads_each_row_at_most_once_and_sets_by_size(tmp_path: Path) -> None:
    data = TrainingData(settings(tmp_path))
    assert data.counts == [2, 5]
    queries = [query for step in range(7) for query in data.batch(step).queries]
    assert len(queries) == len(set(queries)) == 28
    again = [query for step in range(7, 14) for query in data.batch(step).queries]
    assert again != queries


def test_instructions_alternate_over_rows(tmp_path: Path) -> None:
    data = TrainingData(settings(tmp_path))
    queries = [q for step in range(14) for q in data.batch(step).queries if " a q" in q or q.startswith("a q")]
    assert queries
    for query in queries:
        row = int(query.split()[-1][1:])
        assert query == f"{('one:', 'two:')[row % 2]} a q{row}"


def test_number_of_negatives_is_the_configs(tmp_path: Path) -> None:
    assert TrainingData(settings(tmp_path, negatives=0)).batch(0).negatives == []
    assert len(TrainingData(settings(tmp_path, negatives=2)).batch(0).negatives) == 8


def test_weight_reads_a_set_more_often(tmp_path: Path) -> None:
    config = settings(tmp_path)
    config.data[0].weight = 2.0
    assert TrainingData(config).counts == [5, 5]


def test_a_set_smaller_than_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"a\.jsonl has 10 rows, fewer than one batch"):
        TrainingData(settings(tmp_path, batch_size=11))


def test_warm_texts_are_documents_of_any_set(tmp_path: Path) -> None:
    texts = TrainingData(settings(tmp_path)).warm_texts(3, 30)
    assert len(texts) == 30
    assert {text.split()[0] for text in texts} >= {"a", "b"}
    assert not any(" q" in text for text in texts)


@given(rows=st.integers(1, 50), size=st.integers(1, 20), nth=st.integers(0, 200))
def test_endless_rows_are_full_units_of_existing_rows(rows: int, size: int, nth: int) -> None:
    turn, unit = endless_rows(rows, size, nth, seed=1, stream=2)
    assert len(unit) == size
    assert set(unit) <= set(range(rows))
    assert turn == nth // max(1, rows // size)


@given(rows=st.integers(1, 50), size=st.integers(1, 20))
def test_a_pass_repeats_no_row(rows: int, size: int) -> None:
    seen = [row for nth in range(rows // size) for row in endless_rows(rows, size, nth, seed=1, stream=0)[1]]
    assert len(seen) == len(set(seen))


@given(step=st.integers(0, 30), processes=st.integers(1, 4), homogeneous=st.booleans())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_processes_read_the_whole_batch_in_order(tmp_path: Path, step: int, processes: int, homogeneous: bool) -> None:
    data = TrainingData(settings(tmp_path, homogeneous=homogeneous))
    whole, shares = data.batch(step), [data.batch(step, rank, processes) for rank in range(processes)]
    assert contents(*shares) == contents(whole)


def test_mixed_batches_hold_all_sets_and_an_epoch_reads_every_row_once(tmp_path: Path) -> None:
    data = TrainingData(settings(tmp_path, homogeneous=False))
    assert data.steps_per_epoch == 33 // 4
    batches = [data.batch(step) for step in range(data.steps_per_epoch)]
    queries = [query for batch in batches for query in batch.queries]
    assert len(queries) == len(set(queries)) == 32
    assert any(len({text.split()[0] for text in batch.positives}) == 2 for batch in batches)


def test_temperature_evens_sets_out_and_weight_multiplies() -> None:
    assert effective_rows([100, 900], [1, 1], 1.0) == pytest.approx([100, 900])
    assert effective_rows([100, 900], [1, 2], 1.0) == pytest.approx([100, 1800])
    assert effective_rows([100, 900], [1, 1], 2.0) == pytest.approx([250, 750])
    assert effective_rows([100, 900], [1, 3], float("inf")) == pytest.approx([500, 1500])


def test_every_pass_takes_other_negatives_of_a_row_that_has_more() -> None:
    example = TrainingExample("q", "p", ("a", "b", "c"), negative_scores=(1.0, 2.0, 3.0))
    assert [[text for text, _ in taken(example, 2, turn)] for turn in range(3)] == [["a", "b"], ["c", "a"], ["b", "c"]]
    assert taken(example, 1, 2) == [("c", 3.0)]
    assert taken(TrainingExample("q", "p"), 2, 1) == []


def test_equal_texts_share_a_key_and_negatives_know_their_query(tmp_path: Path) -> None:
    batch = TrainingData(settings(tmp_path, negatives=2)).batch(0)
    assert batch.labels.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(set(batch.labels.same_query.tolist())) == 4
    keys = dict(zip(batch.positives + batch.negatives, batch.labels.same_text.tolist(), strict=True))
    assert len(set(keys.values())) == len(keys) == 9  # four positives, four negatives, and "x" of them all


def test_a_teacher_without_scores_in_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"loss\.teacher is kl"):
        TrainingData(settings(tmp_path, loss={"teacher": "kl"}))
    with pytest.raises(DebaterError, match=r"loss\.step_teachers names data"):
        TrainingData(settings(tmp_path, loss={"teacher": "base", "step_teachers": ["base", "data"]}))


def pairs(tmp_path: Path, **more: object) -> str:
    rows = [{"query": f"q{i}", "positive": f"p{i}", **more} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(tmp_path / "pairs.jsonl")


def test_a_rows_own_instruction_stands_before_its_query_instead_of_the_sets(tmp_path: Path) -> None:
    data = [{"path": pairs(tmp_path, prompt="Represent this: "), "instruction": "Find:"}]
    assert all(q.startswith("Represent this: q") for q in TrainingData(settings(tmp_path, data=data)).batch(0).queries)
    data = [{"path": pairs(tmp_path, prompt=""), "instruction": "Find:"}]
    assert all(q.startswith("q") for q in TrainingData(settings(tmp_path, data=data)).batch(0).queries)


def test_negatives_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    data = [{"path": pairs(tmp_path)}]
    with pytest.raises(DebaterError, match="negatives is 1, but no row of the data has a negative"):
        TrainingData(settings(tmp_path, data=data, negatives=1))
    for more in ({}, {"negatives": 0}):
        assert TrainingData(settings(tmp_path, data=data, **more)).batch(0).negatives == []
    assert TrainingData(settings(tmp_path, negatives=1)).batch(0).negatives


def test_fields_that_are_not_read_are_known_by_set(tmp_path: Path) -> None:
    assert TrainingData(settings(tmp_path)).ignored == {}
    data = TrainingData(settings(tmp_path, data=[{"path": pairs(tmp_path, type="normal", label=1)}]))
    assert data.ignored == {"pairs": ["type"]}


@pytest.mark.parametrize("homogeneous", [True, False])
def test_the_longest_batches_hold_the_longest_rows_of_every_set(tmp_path: Path, homogeneous: bool) -> None:
    for letter in "xy":
        rows = [{"query": "q", "positive": letter * (1 + n * 7 % 10)} for n in range(10)]
        (tmp_path / f"{letter}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [{"path": str(tmp_path / f"{name}.jsonl")} for name in "xy"]
    data = TrainingData(settings(tmp_path, data=sets, batch_size=4, homogeneous=homogeneous))
    longest = [batch.positives for batch in data.longest_batches()]
    if homogeneous:
        assert longest == [[letter * n for n in (10, 9, 8, 7)] for letter in "xy"]
    else:
        assert longest == [["x" * 10, "y" * 10, "x" * 9, "y" * 9]]
    shares = [data.longest_batches(rank, 2) for rank in (0, 1)]
    assert [[*one.positives, *other.positives] for one, other in zip(*shares, strict=True)] == longest


def test_a_set_smaller_than_a_batch_repeats_its_longest_rows(tmp_path: Path) -> None:
    sets = [{"path": write_rows(tmp_path / "few.jsonl", "few", 3), "weight": 100.0}]
    sets.append({"path": write_rows(tmp_path / "many.jsonl", "many", 40)})
    few, _ = TrainingData(settings(tmp_path, data=sets, batch_size=4)).longest_batches()
    assert len(few.queries) == 4


@pytest.mark.parametrize(
    ("rows", "settings"),
    [(4, {"batch_size": 1}), (1, {"batch_size": 2, "data": {"weight": 4}}), (4, {"batch_size": 1, "negatives": 0})],
)
def test_batches_of_one_query_without_a_negative_are_refused(tmp_path: Path, rows: int, settings: dict) -> None:
    texts = [{"query": f"q{n}", "positive": f"p{n}"} for n in range(rows)]
    if "negatives" in settings:
        texts = [row | {"negative": "n"} for row in texts]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    data = {"path": str(tmp_path / "rows.jsonl")} | settings.pop("data", {})
    with pytest.raises(DebaterError, match="one query and no negative"):
        TrainingData(TrainingSettings.model_validate({"model": "m", "output": "o", "data": [data], **settings}))
