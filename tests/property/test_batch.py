"""What must hold of every batch and every epoch."""

from hypothesis import given
from hypothesis import strategies as st

from chexalign.train.batch import Example, collate, epoch_batches

lengths = st.lists(st.integers(1, 300), max_size=200)
batch_sizes = st.integers(1, 12)
seeds = st.integers(0, 2**63 - 1)
tokens = st.integers(1, 1999)
examples = st.builds(
    Example,
    prompt_ids=st.lists(tokens, min_size=1, max_size=8).map(tuple),
    completion_ids=st.lists(tokens, min_size=1, max_size=8).map(tuple),
    images=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@given(lengths, batch_sizes, seeds)
def test_an_epoch_has_every_index_once(lengths, batch_size, seed):
    batches = list(epoch_batches(lengths, batch_size=batch_size, seed=seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


@given(lengths, batch_sizes, seeds)
def test_an_epoch_follows_from_its_seed(lengths, batch_size, seed):
    first = list(epoch_batches(lengths, batch_size=batch_size, seed=seed))
    assert first == list(epoch_batches(lengths, batch_size=batch_size, seed=seed))
    assert all(type(i) is int for batch in first for i in batch)


@given(st.lists(examples, min_size=1, max_size=6))
def test_masks_find_prompt_and_completion_again(examples):
    batch = collate(examples, pad_id=0)
    assert batch.input_ids.shape == (len(examples), max(e.n_tokens for e in examples))
    for i, e in enumerate(examples):
        row, real, completion = batch.input_ids[i], batch.attention_mask[i].bool(), batch.completion_mask[i]
        assert tuple(row[completion].tolist()) == e.completion_ids
        assert tuple(row[real & ~completion].tolist()) == e.prompt_ids
        assert row[~real].eq(0).all()
        assert real[: e.n_tokens].all()  # padding is on the right alone
    assert batch.images == tuple(key for e in examples for key in e.images)


@given(st.lists(examples, min_size=1, max_size=4))
def test_a_row_does_not_depend_on_its_neighbors(examples):
    alone, together = collate(examples[:1], pad_id=0), collate(examples, pad_id=0)
    width = alone.input_ids.shape[1]
    assert alone.input_ids[0].equal(together.input_ids[0, :width])
    assert alone.completion_mask[0].equal(together.completion_mask[0, :width])
