"""What a run set out to show, and whether its estimates say so; worded for the summary of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chexalign.present.data import BASELINE, CONTROL, Claim
from chexalign.present.metrics import metric_info
from chexalign.present.numbers import estimate_text
from chexalign.types import Estimate

LABEL_F1 = "mesh.micro_f1_13"
COIN = "coin_flip"
_LEAST_RATIO = 2.0  # true image over another study's image


@dataclass(frozen=True, slots=True)
class ArmOutline:
    """What the claims about an arm depend on."""

    name: str
    judge: str  # the metric of the arm's judge
    rule: str


def claims(estimates: Sequence[Estimate], arms: Sequence[ArmOutline]) -> list[Claim]:
    """One claim on the use of the image and two per arm, true or not as the paired intervals say."""
    find = {(e.metric, e.policy, e.baseline): e for e in estimates}
    out = [_uses_image(find)] if (LABEL_F1, CONTROL, None) in find else []
    for arm in arms:
        own = find.get((arm.judge, arm.name, BASELINE))
        label = find.get((LABEL_F1, arm.name, BASELINE))
        if own is None or label is None:
            continue
        out += _null(arm, own, label) if arm.rule == COIN else _gain(arm, own, label)
    return out


def _uses_image(find: dict[tuple[str, str, str | None], Estimate]) -> Claim:
    true, shuffled = find[LABEL_F1, BASELINE, None], find[LABEL_F1, CONTROL, None]
    text = "Before alignment the policy uses the image: label F1 at least doubles over that with another study's image."
    holds = None
    if true.value is not None and shuffled.value is not None:
        holds = true.value >= _LEAST_RATIO * shuffled.value and true.value > 0
    return Claim(text, holds, f"{estimate_text(true)} against {estimate_text(shuffled)}; n {true.n:,}")


def _gain(arm: ArmOutline, own: Estimate, label: Estimate) -> list[Claim]:
    name = metric_info(arm.judge).label
    return [
        Claim(f"{arm.name}: training on {name} raises {name} on held-out studies.", _above(own), _evidence(own)),
        Claim(f"{arm.name}: the gain reaches label F1 against the human codes.", _above(label), _evidence(label)),
    ]


def _null(arm: ArmOutline, own: Estimate, label: Estimate) -> list[Claim]:
    found = [_above(own), _above(label)]
    holds = None if None in found else not any(found)
    name = metric_info(arm.judge).label
    return [
        Claim(
            f"{arm.name}: the same pairs ordered by a coin bring no gain.",
            holds,
            f"{name} {estimate_text(own)}; label F1 {_evidence(label)}",
        )
    ]


def _evidence(estimate: Estimate) -> str:
    return f"{estimate_text(estimate)}; n {estimate.n:,}"


def _above(difference: Estimate) -> bool | None:
    return None if difference.low is None else difference.low > 0
