"""What was found on the way to the mined sets: how pure likeness is, how sure the policy is, and what was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chexalign.evaluate.calibration import Calibrator
from chexalign.ids import keyed_seed
from chexalign.mine.purity import purity
from chexalign.mine.select import Selection
from chexalign.run_folder import SFT
from chexalign.stats import Bootstrap

_TRAIN = "train"


def found(selection: Selection, sets: Mapping[str, Any], *, resamples: int, level: float) -> dict[str, Any]:
    """Counts, the quotas of each set, purity curves and the calibration of the answers, as plain values.

    `yes_no` counts questions by their right answer: who fails those of one answer alone always says the other.
    """
    answers, gallery = selection.answers, selection.gallery
    failed = [row for row, value in enumerate(answers.failed) if value]
    # A set drawn at random can be made where nothing was failed.
    seeds = selection.seeds() if selection.ranked_failures() else []
    return {
        "counts": {
            "gallery": gallery.count(),
            "asked": gallery.count(answers.rows),
            "failed": gallery.count(failed),
            "unread": gallery.count([r for r, a in zip(answers.rows, answers.found, strict=True) if a.right is None]),
            "without_confidence": sum(answers.confidences[row] is None for row in failed),
            "seeds": gallery.count(seeds),
            "budget": selection.budget,
        },
        "yes_no": {"asked": gallery.count_right(answers.rows), "failed": gallery.count_right(failed)},
        "sets": dict(sets),
        "purity": _purity(selection, seeds, resamples=resamples, level=level) if seeds else [],
        "calibration": _calibration(selection, resamples=resamples, level=level),
    }


def _purity(selection: Selection, seeds: list[int], *, resamples: int, level: float) -> list[dict[str, Any]]:
    patients = [selection.gallery.items.patients[row] for row in seeds]
    curves = []
    for variant in selection.spec.purity:
        curve = purity(
            selection.neighbors(seeds, variant),
            selection.answers.failed,
            variant=variant,
            patients=patients,
            policy=SFT,
            split=_TRAIN,
            seed=keyed_seed(selection.seed, "purity"),
            resamples=resamples,
            level=level,
        )
        curves.append(asdict(curve))
    return curves


def _calibration(selection: Selection, *, resamples: int, level: float) -> list[dict[str, Any]]:
    answers, gallery = selection.answers, selection.gallery
    bootstrap = Bootstrap(
        [gallery.items.patients[row] for row in answers.rows],
        seed=keyed_seed(selection.seed, "calibration"),
        resamples=resamples,
        level=level,
    )
    calibrator = Calibrator(bootstrap, SFT, _TRAIN)
    sure, right = [answers.confidences[row] for row in answers.rows], [a.right is True for a in answers.found]
    types = [gallery.types[row] for row in answers.rows]
    return [asdict(c) for c in (calibrator.calibrate("all", sure, right), *calibrator.by_type(sure, right, types))]
