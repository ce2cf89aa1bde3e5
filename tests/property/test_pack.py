from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from chexalign.policy.families_causal import visible
from chexalign.train.pack import Example, pack

TOKENS = st.lists(st.integers(1, 50), min_size=1, max_size=6).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> list[Example]:
    branches = draw(st.integers(1, 3))
    rows = draw(st.integers(1, 4))
    return [Example(str(i), draw(TOKENS), tuple(draw(TOKENS) for _ in range(branches)), ()) for i in range(rows)]


@given(batches())
def test_nothing_is_lost_and_every_part_has_its_own_columns(examples: list[Example]) -> None:
    batch = pack(examples, pad_id=0)
    for ids, segments, example in zip(batch["input_ids"], batch["segments"], examples, strict=True):
        for segment, tokens in enumerate([example.prompt_ids, *example.completions]):
            assert tuple(ids[segments == segment].tolist()) == tokens
    assert int((batch["segments"] >= 0).sum()) == sum(e.n_tokens for e in examples)
    for column in batch["segments"].T:
        assert len(set(column.tolist()) - {-1}) == 1


@given(batches())
def test_prompts_end_and_completions_begin_at_the_same_column_in_all_rows(examples: list[Example]) -> None:
    segments = pack(examples, pad_id=0)["segments"]
    first = int((segments > 0).any(0).int().argmax())
    assert (segments[:, first - 1] == 0).all()
    for segment in range(1, int(segments.max()) + 1):
        assert len({int((row == segment).int().argmax()) for row in segments}) == 1


@given(batches())
def test_positions_are_those_of_each_sequence_alone(examples: list[Example]) -> None:
    batch = pack(examples, pad_id=0)
    for positions, segments, example in zip(batch["positions"], batch["segments"], examples, strict=True):
        for segment, completion in enumerate(example.completions, start=1):
            alone = positions[(segments == 0) | (segments == segment)]
            assert alone.tolist() == list(range(len(example.prompt_ids) + len(completion)))
        assert not positions[segments == -1].any()


@given(batches())
def test_a_query_sees_what_it_would_see_alone_and_padding_sees_itself(examples: list[Example]) -> None:
    batch = pack(examples, pad_id=0)
    seen = visible(batch["segments"])
    assert seen.any(-1).all()
    for row, (mask, segments) in enumerate(zip(seen, batch["segments"], strict=True)):
        padding = segments == -1
        assert torch.equal(mask[:, padding], torch.eye(len(segments), dtype=torch.bool)[:, padding])
        for segment in range(1, len(examples[row].completions) + 1):
            alone = (segments == 0) | (segments == segment)
            n = int(alone.sum())
            assert torch.equal(mask[alone][:, alone], torch.ones(n, n).tril().bool())
            others = (segments > 0) & (segments != segment)
            assert not mask[segments == segment][:, others].any()
