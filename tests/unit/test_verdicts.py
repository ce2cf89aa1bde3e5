"""Unpaired preferences become rows with a fixed completion of another prompt."""

import pytest

from chexalign.errors import UserError
from chexalign.train.pack import Example
from chexalign.train.verdicts import verdict_completions, verdict_rows
from chexalign.types import Verdict


def verdict(i: int, prompt: str, *, desirable: bool = True) -> Verdict:
    return Verdict(f"c{i}", prompt, desirable, 1.0 + i, "judge@1", "above_mean")


VERDICTS = [verdict(i, f"p{i // 2}", desirable=i % 2 == 0) for i in range(8)]


def test_the_second_completion_answers_another_prompt_and_is_fixed():
    prompt_of = {v.candidate_id: v.prompt_id for v in VERDICTS}
    found = verdict_completions(VERDICTS, seed=3)
    assert [own for own, _ in found] == [v.candidate_id for v in VERDICTS]
    assert all(prompt_of[own] != prompt_of[other] for own, other in found)
    assert found == verdict_completions(VERDICTS, seed=3)
    assert found != verdict_completions(VERDICTS, seed=4)
    by_id = dict(verdict_completions(VERDICTS[::-1], seed=3))
    assert by_id == dict(found)  # the order of the table plays no part


def test_rows_carry_reference_log_probs_desirability_and_weight():
    completions = verdict_completions(VERDICTS, seed=3)
    refs = {
        (v.prompt_id, i): float(n) for n, (v, ids) in enumerate(zip(VERDICTS, completions, strict=True)) for i in ids
    }
    examples = [Example(v.candidate_id, (1, 2), ((3,), (4, 5)), ()) for v in VERDICTS[2:]]
    rows = verdict_rows(VERDICTS, examples, refs, seed=3)
    assert [row.desirable for row in rows] == [v.desirable for v in VERDICTS[2:]]
    assert [row.weight for row in rows] == [v.weight for v in VERDICTS[2:]]
    assert rows[0].ref == tuple(refs[VERDICTS[2].prompt_id, i] for i in completions[2])


def test_verdicts_on_one_prompt_are_refused():
    with pytest.raises(UserError, match="same prompt"):
        verdict_completions([verdict(i, "p") for i in range(3)], seed=1)
