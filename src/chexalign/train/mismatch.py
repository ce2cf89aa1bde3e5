"""Which completion of another prompt stands in a pair's KL term, fixed before training starts."""

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
    order = sorted(range(len(pairs)), key=lambda i: keyed_seed(seed, "mismatch", pairs[i].id))
    found = [""] * len(pairs)
    for place, i in enumerate(order):
        others = (pairs[j] for j in order[place + 1 :] + order[:place] if pairs[j].prompt_id != pairs[i].prompt_id)
        other = next(others, None)
        if other is None:
            raise UserError(
                "All pairs answer the same prompt.",
                "KTO measures its KL term on completions of other prompts.",
                "Give it pairs of several studies, or use dpo.",
            )
        found[i] = other.chosen_id if keyed_seed(seed, "side", pairs[i].id) % 2 == 0 else other.rejected_id
    return found
