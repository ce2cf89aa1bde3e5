"""Whether anything but its content tells a rejected answer from a chosen one: length, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np

from chexalign.judges.normalize import count_words
from chexalign.mine.records import Counterfactual, EditKind, Origin
from chexalign.stats import Bootstrap
from chexalign.types import Estimate

_SIZES: dict[str, Callable[[str], int]] = {"words": count_words, "characters": len}


def leakage(
    rows: Sequence[Counterfactual],
    patients: Mapping[str, str],
    *,
    split: str,
    seed: int,
    resamples: int = 1_000,
    level: float = 0.90,
) -> list[Estimate]:
    """How far chosen and rejected answers differ in length, what that alone tells, and the shares of kinds.

    `patients` holds the patient of each question; whole patients are resampled. Names, with words or characters at
    the end of the first two:
    counterfactual.difference.words: chosen minus rejected, on average;
    counterfactual.longer_is_chosen.words: how often it is, equal ones counted half, so that 0.5 tells nothing;
    counterfactual.origin.own and counterfactual.kind.side: shares of the rows, which are there for every name.
    """
    bootstrap = Bootstrap([patients[row.question_id] for row in rows], seed=seed, resamples=resamples, level=level)
    found: list[Estimate] = []
    for name, size in _SIZES.items():
        chosen = np.array([size(row.chosen) for row in rows], dtype=np.float64)
        rejected = np.array([size(row.rejected) for row in rows], dtype=np.float64)
        found.append(
            bootstrap.difference(
                chosen,
                rejected,
                metric=f"counterfactual.difference.{name}",
                policy="chosen",
                baseline="rejected",
                split=split,
            )
        )
        longer = np.where(chosen == rejected, 0.5, (chosen > rejected).astype(np.float64))
        found.append(_mean(bootstrap, longer, f"longer_is_chosen.{name}", split))
    shares = {
        **{f"origin.{origin}": [row.origin == origin for row in rows] for origin in get_args(Origin)},
        **{f"kind.{kind}": [row.kind == kind for row in rows] for kind in get_args(EditKind)},
    }
    found += [_mean(bootstrap, np.array(of, dtype=np.float64), name, split) for name, of in shares.items()]
    return found


def _mean(bootstrap: Bootstrap, values: np.ndarray, name: str, split: str) -> Estimate:
    return bootstrap.mean(values, metric=f"counterfactual.{name}", policy="counterfactuals", split=split)
