"""What each metric is called, which way is better, and what it means in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["Findings", "Text overlap", "Length and form", "Other", "Per finding"]  # the last has its own tables
GROUPS: tuple[Group, ...] = ("Findings", "Text overlap", "Length and form", "Other")

_F1 = re.compile(r"(?P<judge>[\w-]+)\.(?P<kind>micro|macro)_f1_(?P<labels>\d+)")
_AVERAGE_F1 = re.compile(r"(?P<judge>[\w-]+)\.average_f1")
_MORE = re.compile(r"[\w-]+\.((micro|macro)_(precision|recall)_\d+|(precision|recall)\..+)")
_FINDING_F1 = re.compile(r"(?P<judge>[\w-]+)\.f1\.(?P<finding>.+)")
_AGAINST = {"chexpert": "reference", "mesh": "codes"}
_TRUTH = {
    "chexpert": "the labels that the same rules read in the radiologist's report",
    "mesh": "the codes that people gave the study, which no rule of this package wrote",
}


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How a metric is shown: `better` is 1 (more is better), -1 (less is better) or 0 (neither)."""

    name: str
    label: str
    group: Group
    better: Literal[-1, 0, 1]
    definition: str
    decimals: int = 3


_KNOWN: tuple[MetricInfo, ...] = (
    MetricInfo(
        "chexpert",
        "Label agreement per report",
        "Findings",
        1,
        "F1 of the positive findings of the written and the reference report, for each report, then averaged; "
        "1 when both name none.",
    ),
    MetricInfo(
        "f1_no_finding",
        "No Finding, F1",
        "Findings",
        1,
        "F1 of the label No Finding, kept apart from the 13 findings: counted with them, a policy that calls every "
        "study normal would look good.",
    ),
    MetricInfo(
        "bertscore",
        "BERTScore",
        "Text overlap",
        1,
        "F1 of matched token embeddings of written and reference report (all-MiniLM-L6-v2, layer 6, no rescaling).",
    ),
    MetricInfo("rouge_l", "ROUGE-L", "Text overlap", 1, "F1 of the longest common subsequence of words."),
    MetricInfo("bleu_4", "BLEU-4", "Text overlap", 1, "Sentence BLEU up to 4-grams, smoothed, averaged over reports."),
    MetricInfo("green", "GREEN", "Findings", 1, "Share of matched findings among matches and significant errors."),
    MetricInfo(
        "words", "Words per report", "Length and form", 0, "Words in the written report; neither way is better.", 1
    ),
    MetricInfo(
        "words_vs_reference",
        "Words, written / reference",
        "Length and form",
        0,
        "Words of the written report over words of the reference, averaged over reports; 1 is the reference's length.",
    ),
    MetricInfo(
        "findings_per_report",
        "Findings named per report",
        "Length and form",
        0,
        "Positive findings that the rules read in the written report, of 13; neither way is better by itself.",
    ),
    MetricInfo(
        "repetition",
        "Repeated sentences",
        "Length and form",
        -1,
        "Share of a report's sentences that are equal to an earlier one.",
    ),
    MetricInfo(
        "truncated",
        "Cut off",
        "Length and form",
        -1,
        "Share of reports that reached the token limit before they ended.",
    ),
    MetricInfo(
        "goodhart_gap",
        "Ahead of other judges",
        "Other",
        0,
        "Gain by the judge that the policy learned from, less the mean gain by the others, in standard deviations of "
        "each judge's scores of the baseline; well above 0 the policy has learned its judge and not the task.",
    ),
    MetricInfo("empty", "Empty", "Length and form", -1, "Share of reports without a word."),
)
_BY_NAME = {info.name: info for info in _KNOWN}
_ORDER = [
    *("chexpert.micro_f1_13", "chexpert.macro_f1_13", "mesh.micro_f1_13", "mesh.macro_f1_13", "chexpert"),
    *("f1_no_finding", "no_finding.micro_f1_1", "green", "bertscore", "rouge_l", "bleu_4"),
    *("words", "words_vs_reference", "findings_per_report", "repetition", "truncated", "empty"),
]


def metric_info(name: str, definitions: Mapping[str, str] | None = None) -> MetricInfo:
    """What is known of a metric; an unknown one keeps its name and is colored neither better nor worse.

    `definitions` replaces the sentence of a metric, by name.
    """
    info = _BY_NAME.get(name) or _f1_info(name) or _gain_info(name) or _controlled_info(name)
    info = info or MetricInfo(name, name, "Other", 0, "A metric of this run that this report has no definition for.")
    if definitions and name in definitions:
        return MetricInfo(info.name, info.label, info.group, info.better, definitions[name], info.decimals)
    return info


def in_order(names: Iterable[str]) -> list[str]:
    """The metrics that the main table shows, each once: findings first, then overlap, then form, then the rest.

    F1 per finding is left out, it has a table of its own; so is the macro F1 of a single label, which equals its micro.
    """
    distinct = dict.fromkeys(names)
    kept = [n for n in distinct if metric_info(n).group != "Per finding" and not n.endswith(".macro_f1_1")]
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(kept, key=lambda n: (GROUPS.index(metric_info(n).group), rank.get(n, len(rank))))


def _gain_info(name: str) -> MetricInfo | None:
    """A gain in standard deviations, `gain_sd.green`; it stands in the table of judges, not in the main one."""
    judge = name.removeprefix("gain_sd.")
    if judge == name:
        return None
    definition = f"Paired difference by {judge}, in standard deviations of its scores of the baseline."
    return MetricInfo(name, f"Gain by {judge}", "Per finding", 1, definition)


def _f1_info(name: str) -> MetricInfo | None:
    if found := _FINDING_F1.fullmatch(name):
        return MetricInfo(name, found["finding"], "Per finding", 1, f"F1 of {found['finding']}.")
    if _MORE.fullmatch(name):
        return MetricInfo(name, name, "Per finding", 1, "Beside the F1 of the same name.")
    if found := _AVERAGE_F1.fullmatch(name):
        definition = f"Mean of micro and macro F1 over the sets of labels that {found['judge']} is published with."
        return MetricInfo(name, f"Average F1 by {found['judge']}", "Findings", 1, definition)
    found = _F1.fullmatch(name)
    if found is None:
        return None
    judge, kind, labels = found["judge"], found["kind"], found["labels"]
    if judge == "no_finding":
        known = _BY_NAME["f1_no_finding"]
        return MetricInfo(name, known.label, known.group, known.better, known.definition)
    how = (
        "true positives, false positives and misses are pooled over all findings and studies"
        if kind == "micro"
        else "the plain mean of the F1 of each finding that has a true case"
    )
    truth = _TRUTH.get(judge, f"the labels that {judge} gives the radiologist's report")
    label = f"{kind.capitalize()} F1 against {_AGAINST[judge]}" if judge in _AGAINST else _labeled(judge, kind, labels)
    apart = "findings (No Finding apart)" if judge in _AGAINST else "labels"
    definition = f"F1 over {labels} {apart} against {truth}; {how}."
    return MetricInfo(name, label, "Findings", 1, definition)


def _labeled(judge: str, kind: str, labels: str) -> str:
    return f"{kind.capitalize()} F1 by {judge}, {labels} labels"


def _controlled_info(name: str) -> MetricInfo | None:
    """A length-controlled judge, `lc-green`."""
    wrapped = _BY_NAME.get(name.removeprefix("lc-")) if name.startswith("lc-") else None
    if wrapped is None:
        return None
    definition = f"{wrapped.label} with the length controlled."
    return MetricInfo(name, f"{wrapped.label}, length-controlled", wrapped.group, wrapped.better, definition)
