"""In which order rows are taken, and how the learning rate goes, by hand."""

import math

import pytest

from chexalign.train.order import epoch_order, training_order, warmup_cosine


def batches(lengths, *, batch_size, seed):
    order = epoch_order(lengths, batch_size=batch_size, seed=seed)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def test_batches_are_of_similar_length_and_in_random_order():
    found = batches(list(range(320)), batch_size=10, seed=1)
    assert max(max(b) - min(b) for b in found) < 40  # a batch of random indices would span about 260
    firsts = [min(b) for b in found]
    assert firsts != sorted(firsts)


def test_the_batch_that_is_not_full_comes_last():
    lengths = [5] * 37 + [500] * 6
    assert [len(b) for b in batches(lengths, batch_size=10, seed=1)] == [10, 10, 10, 10, 3]
    assert len(batches([1], batch_size=10, seed=1)) == 1


def test_no_rows_make_no_order():
    assert epoch_order([], batch_size=4, seed=1) == []


def test_each_epoch_has_its_own_order():
    order = training_order([3] * 20, epochs=3, batch_size=4, seed=1)
    epochs = [order[i : i + 20] for i in (0, 20, 40)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("epochs", "n"), [(0.5, 10), (1.25, 25), (0.01, 1)])
def test_a_part_of_an_epoch_is_its_beginning(epochs, n):
    whole = training_order([3] * 20, epochs=2, batch_size=4, seed=1)
    assert training_order([3] * 20, epochs=epochs, batch_size=4, seed=1) == whole[:n]


def test_another_seed_gives_another_order():
    one, other = (training_order([3] * 20, epochs=1, batch_size=4, seed=seed) for seed in (1, 2))
    assert one != other


def test_the_schedule_by_hand():
    """10 steps, 2 of warm-up: 1/2, 1, then half a cosine over the other 8."""
    cosine = [0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert [warmup_cosine(step, 10, 0.2) for step in range(10)] == pytest.approx([0.5, 1.0, *cosine])
    assert warmup_cosine(6, 10, 0.2) == pytest.approx(0.5)


def test_the_first_step_learns_and_no_step_exceeds_the_learning_rate():
    for steps in (1, 2, 7, 100):
        for ratio in (0.0, 0.1, 1.0):
            factors = [warmup_cosine(step, steps, ratio) for step in range(steps)]
            assert factors[0] > 0
            assert max(factors) <= 1.0
            assert min(factors) >= 0.0
