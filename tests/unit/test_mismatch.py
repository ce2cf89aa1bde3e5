"""Which completion of another prompt stands in the KL term of KTO."""

import pytest

from chexalign.errors import UserError
from chexalign.train.mismatch import mismatched
from chexalign.types import Pair


def pairs_of(*prompts):
    return [Pair(f"pair{i}", p, f"c{i}", f"r{i}", 0.5, 1, "j@1", "rule") for i, p in enumerate(prompts)]


PAIRS = pairs_of(*"aabbbcdefg" * 5)


def test_each_pair_gets_a_completion_of_another_prompt():
    prompt_of = {i: pair.prompt_id for pair in PAIRS for i in (pair.chosen_id, pair.rejected_id)}
    for pair, other in zip(PAIRS, mismatched(PAIRS, seed=1), strict=True):
        assert prompt_of[other] != pair.prompt_id


def test_it_follows_from_the_seed_and_the_pairs_not_from_their_order():
    found = dict(zip((p.id for p in PAIRS), mismatched(PAIRS, seed=1), strict=True))
    turned = dict(zip((p.id for p in PAIRS[::-1]), mismatched(PAIRS[::-1], seed=1), strict=True))
    assert found == turned
    assert list(found.values()) != mismatched(PAIRS, seed=2)


def test_chosen_and_rejected_come_alike_often():
    found = [i for seed in range(10) for i in mismatched(PAIRS, seed=seed)]
    assert abs(sum(i.startswith("c") for i in found) / len(found) - 0.5) < 0.1


def test_two_pairs_of_two_prompts_are_enough():
    assert {i[1] for i in mismatched(pairs_of("a", "b"), seed=1)} == {"0", "1"}


@pytest.mark.parametrize("prompts", ["a", "aaa"])
def test_pairs_of_one_prompt_are_refused(prompts):
    with pytest.raises(UserError, match="same prompt") as caught:
        mismatched(pairs_of(*prompts), seed=1)
    assert "dpo" in caught.value.fix
