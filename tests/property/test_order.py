"""What must hold of every epoch."""

from hypothesis import given
from hypothesis import strategies as st

from chexalign.train.order import epoch_order, training_order, warmup_cosine

lengths = st.lists(st.integers(1, 300), max_size=200)
batch_sizes = st.integers(1, 12)
seeds = st.integers(0, 2**63 - 1)


@given(lengths, batch_sizes, seeds)
def test_an_epoch_has_every_index_once_and_follows_from_its_seed(lengths, batch_size, seed):
    order = epoch_order(lengths, batch_size=batch_size, seed=seed)
    assert sorted(order) == list(range(len(lengths)))
    assert order == epoch_order(lengths, batch_size=batch_size, seed=seed)
    assert all(type(i) is int for i in order)


@given(lengths.filter(bool), st.floats(0.01, 3), batch_sizes, seeds)
def test_a_longer_training_begins_like_a_shorter_one(lengths, epochs, batch_size, seed):
    short = training_order(lengths, epochs=epochs, batch_size=batch_size, seed=seed)
    whole = training_order(lengths, epochs=4, batch_size=batch_size, seed=seed)
    assert len(short) == max(1, round(epochs * len(lengths)))
    assert short == whole[: len(short)]


@given(st.integers(1, 400), st.floats(0, 1))
def test_no_step_exceeds_the_learning_rate_and_the_first_one_learns(steps, ratio):
    factors = [warmup_cosine(step, steps, ratio) for step in range(steps)]
    assert 0 < factors[0] <= 1
    assert all(0 <= factor <= 1 for factor in factors)
