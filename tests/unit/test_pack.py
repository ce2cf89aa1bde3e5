from __future__ import annotations

import pytest
import torch

from chexalign.train.pack import Example, pack

A = Example("a", (1, 5, 6), ((7, 2), (8, 9, 2)), ("a.png",))
B = Example("b", (1,), ((3, 4, 5, 2), (2,)), ())


def test_lengths_count_the_prompt_once() -> None:
    assert (A.n_tokens, A.longest) == (8, 6)
    assert (B.n_tokens, B.longest) == (6, 5)


def test_a_batch_by_hand() -> None:
    batch = pack([A, B], pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 5, 6, 7, 2, 0, 0, 8, 9, 2], [0, 0, 1, 3, 4, 5, 2, 2, 0, 0]]
    assert batch["segments"].tolist() == [[0, 0, 0, 1, 1, -1, -1, 2, 2, 2], [-1, -1, 0, 1, 1, 1, 1, 2, -1, -1]]
    assert batch["positions"].tolist() == [[0, 1, 2, 3, 4, 0, 0, 3, 4, 5], [0, 0, 0, 1, 2, 3, 4, 1, 0, 0]]


def test_a_batch_holds_int64_tensors_of_one_shape_and_nothing_else() -> None:
    batch = pack([A, B], pad_id=0)
    assert set(batch) == {"input_ids", "segments", "positions"}
    assert {(t.dtype, t.shape) for t in batch.values()} == {(torch.int64, torch.Size([2, 10]))}


def test_padding_has_the_id_that_is_asked_for() -> None:
    batch = pack([A, B], pad_id=77)
    assert set(batch["input_ids"][batch["segments"] == -1].tolist()) == {77}


@pytest.mark.parametrize("completions", [(), ((),), ((3, 2), ())])
def test_an_empty_completion_is_refused(completions: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="row-7: a completion is empty"):
        Example("row-7", (1,), completions, ())


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        Example("a", (), ((2,),), ())


@pytest.mark.parametrize("weights", [(), (1.0,), (1.0, 1.0, 1.0)])
def test_weights_are_one_per_token_of_the_first_completion(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="one weight per token"):
        Example("a", (1,), ((7, 2), (8, 9, 2)), (), weights)
    assert Example("a", (1,), ((7, 2),), (), (1.0, 2.0)).weights == (1.0, 2.0)


def test_rows_of_one_batch_have_as_many_completions() -> None:
    with pytest.raises(ValueError, match=r"same number of completions, not \[1, 2\]"):
        pack([A, Example("c", (1,), ((2,),), ())], pad_id=0)
