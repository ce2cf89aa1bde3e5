"""Metrics of written reports: per study once, then estimates with intervals and paired differences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chexalign.data.mesh import labels_from_codes
from chexalign.evaluate.labels import LabelTable
from chexalign.judges.chexpert import FINDINGS, LABELS, label_matrix
from chexalign.judges.normalize import count_words
from chexalign.stats import Bootstrap, PairedTests, with_holm
from chexalign.types import Comparison, Estimate, Prediction, Study

_SENTENCE_END = re.compile(r"[.!?]+(?:\s+|$)")
REFERENCE = "reference"  # the radiologist's own text, where it stands beside policies
NO_FINDING = LABELS.index("No Finding")


@dataclass(frozen=True, slots=True)
class Truth:
    """What the studies of a split are compared with; No Finding is kept apart from the 13 findings."""

    studies: Sequence[Study]
    reference: npt.NDArray[np.bool_]  # [N, 14] labels of the radiologist's text
    codes: npt.NDArray[np.bool_]  # [N, 13] labels of the human codes

    @staticmethod
    def of(studies: Sequence[Study]) -> Truth:
        """Labels of the studies, in their order."""
        codes = [labels_from_codes(s.codes) for s in studies]
        return Truth(
            studies,
            label_matrix([s.reference for s in studies]),
            np.array([[finding in found for finding in FINDINGS] for found in codes], dtype=bool),
        )


@dataclass(frozen=True, slots=True)
class PolicyResults:
    """Per-study values of one policy, in the order of the studies."""

    name: str
    labels: npt.NDArray[np.bool_]  # [N, 14] labels of the written reports
    values: dict[str, npt.NDArray[np.float64]]  # metric -> [N]; NaN where a judge gave no score
    tables: Mapping[str, LabelTable] = field(default_factory=dict)  # of the judges that tell labels


def measure(
    name: str,
    truth: Truth,
    predictions: Sequence[Prediction],
    scores: Mapping[str, Sequence[float | None]],
    tables: Mapping[str, LabelTable] | None = None,
) -> PolicyResults:
    """The values of one policy; `scores` holds one number per study for each judge.

    `words`, `words_vs_reference` (ratio), `repetition` (share of sentences that repeat an earlier one), `truncated`
    and `empty` (0 or 1) and `findings_per_report` stand beside the judges.
    """
    texts = [p.text for p in predictions]
    labels = label_matrix(texts)
    words = np.array([count_words(t) for t in texts], dtype=float)
    reference_words = np.array([max(1, count_words(s.reference)) for s in truth.studies], dtype=float)
    values = {judge: np.array([np.nan if v is None else v for v in row], dtype=float) for judge, row in scores.items()}
    values |= {
        "words": words,
        "words_vs_reference": words / reference_words,
        "repetition": np.array([repetition(t) for t in texts]),
        "truncated": np.array([float(p.finish == "length") for p in predictions]),
        "empty": (words == 0).astype(float),
        "findings_per_report": labels[:, _findings()].sum(1).astype(float),
    }
    return PolicyResults(name, labels, values, tables or {})


def estimate(
    truth: Truth, results: Sequence[PolicyResults], bootstrap: Bootstrap, *, split: str, baseline: str
) -> list[Estimate]:
    """Every metric of every policy, and the paired difference of each policy against the baseline.

    F1 is over the 13 findings, against the labels of the reference (`chexpert.*`) and against the human codes
    (`mesh.*`); No Finding is reported apart, since with it a policy that writes normal reports looks good. A judge
    that tells labels of its own (`chexbert.*`) has them averaged as it is published, No Finding among them.
    """
    base = next(r for r in results if r.name == baseline)
    reference = {"policy": REFERENCE, "split": split}
    out: list[Estimate] = [
        bootstrap.mean([count_words(s.reference) for s in truth.studies], metric="words", **reference),
        bootstrap.mean(truth.reference[:, _findings()].sum(1), metric="findings_per_report", **reference),
    ]
    for result in results:
        name = {"policy": result.name, "split": split}
        for metric, values in result.values.items():
            out.append(bootstrap.mean(values, metric=metric, **name))
            if result is not base:
                out.append(bootstrap.difference(values, base.values[metric], metric=metric, baseline=baseline, **name))
        for metric, true, columns in _label_sets(truth):
            predicted = result.labels[:, columns]
            out += bootstrap.f1(true, predicted, metric=metric, **name)
            if result is not base:
                out += bootstrap.f1_difference(
                    true, predicted, base.labels[:, columns], metric=metric, baseline=baseline, **name
                )
        out += bootstrap.label_f1(truth.codes, result.labels[:, _findings()], labels=FINDINGS, metric="mesh", **name)
        for judge, table in result.tables.items():
            theirs = None if result is base else base.tables[judge]
            out += _of_table(table, theirs, bootstrap, judge=judge, baseline=baseline, **name)
    return out


def compare(
    truth: Truth, results: Sequence[PolicyResults], tests: PairedTests, *, judges: Sequence[str], baseline: str
) -> list[Comparison]:
    """Whether each policy differs from the baseline in each judge's mean and in each F1, corrected by Holm.

    The correction is over all that is tested of one policy.
    """
    base, out = next(r for r in results if r.name == baseline), []
    for result in results:
        if result is base:
            continue
        name = {"policy": result.name, "baseline": baseline}
        found = [tests.mean(result.values[judge], base.values[judge], metric=judge, **name) for judge in judges]
        for metric, true, columns in _label_sets(truth)[:2]:
            found += tests.f1(true, result.labels[:, columns], base.labels[:, columns], metric=metric, **name)
        for judge, table in result.tables.items():
            for labels in (table.labels, *table.subsets):
                at = [table.labels.index(label) for label in labels]
                theirs = base.tables[judge].called[:, at]
                found += tests.f1(table.true[:, at], table.called[:, at], theirs, metric=judge, **name)
        out += with_holm(found)
    return out


def _of_table(
    table: LabelTable,
    theirs: LabelTable | None,
    bootstrap: Bootstrap,
    *,
    judge: str,
    policy: str,
    split: str,
    baseline: str,
) -> list[Estimate]:
    """What follows from a judge's own labels, and the differences against the baseline's table if one is given."""
    true, called, labels, subsets = table.true, table.called, table.labels, table.subsets
    out = bootstrap.f1_report(true, called, labels=labels, subsets=subsets, metric=judge, policy=policy, split=split)
    if theirs is None:
        return out
    return out + bootstrap.f1_report_difference(
        true,
        called,
        theirs.called,
        labels=labels,
        subsets=subsets,
        metric=judge,
        policy=policy,
        split=split,
        baseline=baseline,
    )


def repetition(text: str) -> float:
    """Share of sentences that are equal to an earlier sentence of the same text, case aside."""
    sentences = [s.strip().lower() for s in _SENTENCE_END.split(text) if s.strip()]
    return 1.0 - len(set(sentences)) / len(sentences) if sentences else 0.0


def _findings() -> list[int]:
    return [LABELS.index(finding) for finding in FINDINGS]


def _label_sets(truth: Truth) -> list[tuple[str, npt.NDArray[np.bool_], list[int]]]:
    findings = _findings()
    return [
        ("chexpert", truth.reference[:, findings], findings),
        ("mesh", truth.codes, findings),
        ("no_finding", truth.reference[:, [NO_FINDING]], [NO_FINDING]),
    ]
