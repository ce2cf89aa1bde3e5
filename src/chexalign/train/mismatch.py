"""Which completion of another prompt stands in the KL term of a row, fixed before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign.errors import UserError
from chexalign.ids import keyed_seed
from chexalign.types import Pair


def mismatched(pairs: Sequence[Pair], *, seed: int) -> list[str]:
    """For each pair the id of a candidate that answers another prompt, the same at every run and every epoch.

    TRL mismatches within each batch as it is drawn, so its reference log-probs cannot be computed beforehand; here each
    pair takes the next pair's chosen or rejected text, by a fair coin, in an order drawn from `seed`.
    Raises: UserError when all pairs have one prompt.
    """
    others = of_other_prompts([p.id for p in pairs], [p.prompt_id for p in pairs], seed=seed)
    coins = [keyed_seed(seed, "side", p.id) % 2 == 0 for p in pairs]
    return [pairs[j].chosen_id if coin else pairs[j].rejected_id for j, coin in zip(others, coins, strict=True)]


def of_other_prompts(ids: Sequence[str], prompt_ids: Sequence[str], *, seed: int) -> list[int]:
    """For each row the index of the next one with another prompt, in an order drawn from `seed`.

    Raises: UserError when all rows have one prompt.
    """
    order = sorted(range(len(ids)), key=lambda i: keyed_seed(seed, "mismatch", ids[i]))
    found = [0] * len(ids)
    for place, i in enumerate(order):
        rest = order[place + 1 :] + order[:place]
        other = next((j for j in rest if prompt_ids[j] != prompt_ids[i]), None)
        if other is None:
            raise UserError(
                "All preferences are on answers to the same prompt.",
                "KTO measures its KL term on completions of other prompts.",
                "Give it preferences on several studies, or use dpo.",
            )
        found[i] = other
    return found
