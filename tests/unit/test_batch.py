"""Batches by hand."""

import torch

from chexalign.train.batch import Example, collate, epoch_batches
from chexalign.train.examples import drop_long

PAD = 0


def test_a_batch_by_hand():
    examples = [
        Example((5, 6), (7, 2), ("a.png",)),
        Example((5,), (2,), ()),
        Example((5, 5, 5), (), ("b.png", "c.png")),
    ]
    batch = collate(examples, pad_id=PAD)
    assert batch.input_ids.tolist() == [[5, 6, 7, 2], [5, 2, 0, 0], [5, 5, 5, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch.completion_mask.int().tolist() == [[0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert batch.images == ("a.png", "b.png", "c.png")
    assert batch.input_ids.dtype == batch.attention_mask.dtype == torch.int64
    assert batch.completion_mask.dtype == torch.bool


def test_an_end_token_that_is_also_the_padding_counts_once():
    batch = collate([Example((5,), (6, PAD), ()), Example((5,), (PAD,), ())], pad_id=PAD)
    assert batch.attention_mask.sum(1).tolist() == [3, 2]
    assert batch.completion_mask.sum(1).tolist() == [2, 1]


def test_batches_are_of_similar_length_and_in_random_order():
    lengths = list(range(320))
    batches = list(epoch_batches(lengths, batch_size=10, seed=1))
    spread = max(max(b) - min(b) for b in batches)
    assert spread < 40  # a batch of random indices would span about 260
    firsts = [min(b) for b in batches]
    assert firsts != sorted(firsts)


def test_only_the_last_of_a_pool_may_be_smaller():
    sizes = sorted(len(b) for b in epoch_batches([1] * 43, batch_size=10, seed=1))
    assert sizes == [3, 10, 10, 10, 10]


def test_no_examples_make_no_batches():
    assert list(epoch_batches([], batch_size=4, seed=1)) == []


def test_long_examples_are_dropped_and_never_cut():
    examples = [Example((1,) * n, (2, 3), ()) for n in (1, 4, 9)]
    assert drop_long(examples, max_tokens=6) == (examples[:2], {"longer_than_the_context": 1})
    assert drop_long(examples, max_tokens=11) == (examples, {})
    assert drop_long(examples, max_tokens=2) == ([], {"longer_than_the_context": 3})
