"""Whether similarity finds failures: the share of retrieved items that the policy fails as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chexalign.errors import UserError
from chexalign.mine.search.retrieve import Neighbors
from chexalign.stats import Bootstrap
from chexalign.types import Estimate


@dataclass(frozen=True, slots=True)
class Purity:
    """The share of failures among the first k neighbors, for every k from 1 on, and in the gallery as a whole."""

    variant: str
    curve: tuple[Estimate, ...]
    base_rate: float | None


def purity(
    neighbors: Neighbors,
    failed: Sequence[bool | None],
    *,
    variant: str,
    patients: Sequence[str],
    policy: str,
    split: str,
    seed: int,
    most: int | None = None,
    resamples: int = 1_000,
    level: float = 0.90,
) -> Purity:
    """The purity of a variant's neighbors, averaged over seeds; patients of the seeds are resampled.

    `failed` has one entry per item of the gallery; None, for one that the policy was not asked, is left out of both
    shares. `most` bounds k. What the purity has to be compared with is `base_rate`: a draw at random.
    Source: the published curve, which divides by k also where fewer were retrieved, and so falls as 1 / k from there.

    Raises: UserError when `most` is more than were retrieved.
    """
    n_seeds, k = neighbors.rows.shape
    most = k if most is None else most
    if most > k:
        raise UserError(
            f"A purity curve up to {most} is asked for, and {k} neighbors were retrieved for each seed.",
            "What was not retrieved can be neither pure nor impure.",
            f"Retrieve {most} neighbors, or ask for a curve up to {k}.",
        )
    labels = np.array([np.nan if value is None else float(value) for value in failed])
    found = labels[neighbors.rows[:, :most]].reshape(n_seeds, most)
    failures, asked = np.nancumsum(found, axis=1), np.cumsum(~np.isnan(found), axis=1)
    shares = np.divide(failures, asked, out=np.full(found.shape, np.nan), where=asked > 0)
    bootstrap = Bootstrap(patients, seed=seed, resamples=resamples, level=level)
    curve = tuple(
        bootstrap.mean(shares[:, i], metric=f"purity.{variant}.at{i + 1}", policy=policy, split=split)
        for i in range(most)
    )
    known = labels[~np.isnan(labels)]
    return Purity(variant, curve, float(known.mean()) if len(known) else None)
