"""The cases as the page holds them: one index to sort and filter by, and a block per case that is read when shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from chexalign.present.blocks import block, image_data, marked_sentences
from chexalign.present.case import Case
from chexalign.present.changes import label_chips
from chexalign.present.data import BASELINE, ReportData
from chexalign.present.metrics import metric_info
from chexalign.present.metrics_families import judge_label

_DECIMALS = 4


def index_block(data: ReportData) -> Markup:
    """JSON with one column per thing that cases are sorted and filtered by, for a script block.

    Labels are bits of a number, in the order of `labels`; a score that a judge did not give is null.
    """
    cases, policies = data.cases, _policies(data)
    labels = sorted(
        {label for case in cases for row in (case.reference_labels, *case.labels.values()) for label in row}
    )
    metrics = list(dict.fromkeys(name for case in cases for row in case.scores.values() for name in row))
    at = {case.study_id: i for i, case in enumerate(cases)}
    return block(
        {
            "baseline": BASELINE,
            "policies": policies,
            "judges": {policy: judge_label(judge) for policy, judge in data.judges.items()},
            "labels": labels,
            "metrics": [_metric(name) for name in metrics],
            "ids": [case.study_id for case in cases],
            "reference": [_bits(case.reference_labels, labels) for case in cases],
            "written": {p: [_bits(case.labels.get(p, ()), labels) for case in cases] for p in policies},
            "scores": {
                p: {m: [_score(case.scores.get(p, {}).get(m)) for case in cases] for m in metrics} for p in policies
            },
            "disagree": [
                [d.policy, at[d.study_id], {judge_label(judge): round(gain, 2) for judge, gain in d.gains.items()}]
                for d in data.more.disagreements
                if d.study_id in at
            ],
        }
    )


def case_blocks(data: ReportData) -> Iterator[Markup]:
    """JSON of each case: its texts marked against the baseline's, its findings, and its images in base64.

    Cost: about a millisecond per case and policy.
    """
    policies = _policies(data)
    for case in data.cases:
        yield block(
            {
                "indication": case.indication,
                "reference": case.reference,
                "findings": list(case.reference_labels),
                "images": [image_data(image) for image in case.images],
                "written": {p: _written(case, p) for p in policies if p in case.texts},
            }
        )


def _policies(data: ReportData) -> list[str]:
    return [p for p in data.shown if any(p in case.texts for case in data.cases)]


def _written(case: Case, policy: str) -> dict[str, Any]:
    before, text = case.texts.get(BASELINE), case.texts[policy]
    same = policy == BASELINE or before is None
    chips = label_chips(
        case.reference_labels, case.labels.get(policy, ()), None if same else case.labels.get(BASELINE, ())
    )
    return {
        "sentences": marked_sentences(text if before is None or same else before, text),
        "chips": [[chip.label, chip.kind, chip.change] for chip in chips],
    }


def _metric(name: str) -> dict[str, Any]:
    info = metric_info(name)
    decimals = 0 if name == "words" else 2
    label = info.label.removesuffix(" per report")
    return {"name": name, "label": label, "better": info.better, "decimals": decimals, "says": info.definition}


def _bits(found: Sequence[str], labels: Sequence[str]) -> int:
    return sum(1 << i for i, label in enumerate(labels) if label in found)


def _score(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, _DECIMALS)
