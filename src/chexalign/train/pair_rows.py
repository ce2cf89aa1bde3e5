"""Rows of pairs: chosen, rejected and, for KTO, a completion of another prompt."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign.errors import UserError
from chexalign.losses.base import Loss
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.train.mismatch import mismatched
from chexalign.train.pack import Example
from chexalign.train.ref_logps import ref_table
from chexalign.train.rows import Row
from chexalign.train.targets import candidate_targets
from chexalign.types import Pair


def completions_of(pairs: Sequence[Pair], *, mismatch_seed: int | None) -> list[tuple[str, ...]]:
    """The candidates of each pair: chosen, rejected and, with a seed, one that answers another prompt."""
    own = [(pair.chosen_id, pair.rejected_id) for pair in pairs]
    if mismatch_seed is None:
        return list(own)
    return [(*both, other) for both, other in zip(own, mismatched(pairs, seed=mismatch_seed), strict=True)]


def pair_targets(run: RunFolder, pairs: Sequence[Pair], *, max_images: int, mismatch_seed: int | None) -> list[Target]:
    """The ask and the texts of each pair.

    Raises: UserError when both texts of a pair are equal: nothing could be learned from preferring one.
    """
    completions = completions_of(pairs, mismatch_seed=mismatch_seed)
    wanted = [(pair.id, pair.prompt_id, ids) for pair, ids in zip(pairs, completions, strict=True)]
    targets = candidate_targets(run, wanted, max_images=max_images)
    for pair, target in zip(pairs, targets, strict=True):
        if target.texts[0] == target.texts[1]:
            raise equal_texts(pair)
    return targets


def pair_rows(
    run: RunFolder, pairs: Sequence[Pair], examples: Sequence[Example], loss: Loss, *, seed: int
) -> list[Row]:
    """The examples with their log-probs under the reference policy, where the loss needs them."""
    if not loss.needs_ref:
        return [Row(example) for example in examples]
    refs = {(r.prompt_id, r.candidate_id): r.sum_logp for r in ref_table(run).iter_rows()}
    completions = completions_of(pairs, mismatch_seed=seed if loss.needs_kl else None)
    of_pair = {
        pair.id: tuple(refs[pair.prompt_id, i] for i in ids) for pair, ids in zip(pairs, completions, strict=True)
    }
    return [Row(example, of_pair[example.id]) for example in examples]


def equal_texts(pair: Pair) -> UserError:
    """The error for a pair that prefers a text to itself."""
    return UserError(
        f"The pair {pair.id} has the same text as chosen and as rejected.",
        "Its loss would push the same tokens up and down.",
        "Leave it out of the pairs, or raise pairs.min_margin: equal texts have equal scores.",
    )
