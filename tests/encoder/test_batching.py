from hypothesis import given
from hypothesis import strategies as st

from debater_search.encoder.batching import pad, token_batches

lengths = st.lists(st.integers(0, 700), max_size=200)


@given(lengths=lengths, budget=st.integers(1, 5000))
def test_every_sequence_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths=lengths, budget=st.integers(1, 5000))
def test_no_batch_exceeds_the_budget_unless_it_is_one_sequence(lengths: list[int], budget: int) -> None:
    for batch in token_batches(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(sequences=st.lists(st.lists(st.integers(1, 9), max_size=20), min_size=1, max_size=20))
def test_padding_stands_on_the_right_and_nothing_is_lost(sequences: list[list[int]]) -> None:
    ids, counts = pad(sequences, 0)
    assert [row[:n].tolist() for row, n in zip(ids, counts, strict=True)] == sequences
    assert all(not row[n:].any() for row, n in zip(ids, counts, strict=True))
