"""The metrics that come in families, whose names hold a judge, a label, a baseline, a task or a type of question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from chexalign.present.metrics_answers import task_info, type_info
from chexalign.present.metrics_known import BY_NAME, Group, MetricInfo

OWN_LABELS = ("chexpert", "mesh", "no_finding")  # F1 in the main table; that of other labelers has a table of its own

_F1 = re.compile(r"(?P<judge>[\w-]+)\.(?P<kind>micro|macro)_f1_(?P<labels>\d+)")
_AVERAGE_F1 = re.compile(r"(?P<judge>[\w-]+)\.average_f1")
_MORE = re.compile(r"[\w-]+\.((micro|macro)_(precision|recall)_\d+|(precision|recall)\..+)")
_LABEL_F1 = re.compile(r"(?P<judge>[\w-]+)\.f1\.(?P<label>.+)")
_VERBOSITY = re.compile(r"verbosity_vs_(?P<baseline>\w+)")
_WIN_RATE = re.compile(r"(?P<judge>[\w-]+)\.(?P<lc>lc_)?win_rate_vs_(?P<baseline>\w+)(\.group_\d+_of_\d+)?")
_SLOPE = re.compile(r"(?P<what>[\w.-]+)\.per_10_words")
_AGAINST = {"chexpert": "reference", "mesh": "codes"}
_TRUTH = {
    "chexpert": "the labels that the same rules read in the radiologist's report",
    "mesh": "the codes that people gave the study, which no rule of this package wrote",
}


def judge_label(name: str) -> str:
    """What a judge is called in tables: `GREEN, length-controlled` for lc-green, `BERTScore (paper)` for a label."""
    info = judge_info(name)
    return info.label if info else name


def judge_info(name: str) -> MetricInfo | None:
    """A judge by the name of its column: plain, wrapped (`lc-`, `sum-`), or told apart by a label behind its name."""
    if name in BY_NAME:
        return BY_NAME[name]
    base, _, within = name.partition("-")
    if not within:
        return None
    if base == "lc" and (inner := judge_info(within)):
        definition = f"{inner.label} with the length controlled."
        return replace(inner, name=name, label=f"{inner.label}, length-controlled", definition=definition)
    if base == "sum" and "-and-" in within:
        parts = [judge_label(part) for part in within.split("-and-")]
        return MetricInfo(name, "Sum of " + " and ".join(parts), "Other", 1, "The sum of what these judges say.")
    if base in BY_NAME:
        known = BY_NAME[base]
        definition = f"{known.label} with the settings that the recipe gives under the label {within}."
        return replace(known, name=name, label=f"{known.label} ({within})", definition=definition)
    return None


def f1_info(name: str) -> MetricInfo | None:
    """F1, precision and recall over a set of labels, or of one label: `mesh.micro_f1_13`, `chexbert.f1.Edema`."""
    if found := _LABEL_F1.fullmatch(name):
        group: Group = "Per finding" if found["judge"] == "mesh" else "Per label"
        return MetricInfo(name, found["label"], group, 1, f"F1 of {found['label']}.")
    if _MORE.fullmatch(name):
        return MetricInfo(name, name, "Per label", 1, "Beside the F1 of the same name.")
    if found := _AVERAGE_F1.fullmatch(name):
        definition = f"Mean of micro and macro F1 over the sets of labels that {found['judge']} is published with."
        return MetricInfo(name, f"Average F1 by {_short(found['judge'])}", "Findings", 1, definition)
    found = _F1.fullmatch(name)
    return None if found is None else _set_f1(name, found["judge"], found["kind"], found["labels"])


def _set_f1(name: str, judge: str, kind: str, labels: str) -> MetricInfo:
    if judge == "no_finding":
        return replace(BY_NAME["f1_no_finding"], name=name)
    how = (
        "true positives, false positives and misses are pooled over all findings and studies"
        if kind == "micro"
        else "the plain mean of the F1 of each finding that has a true case"
    )
    truth = _TRUTH.get(judge, f"the labels that {judge} gives the radiologist's report")
    own = judge in _AGAINST
    which = f"against {_AGAINST[judge]}" if own else f"by {_short(judge)}, {labels} labels"
    apart = "findings (No Finding apart)" if own else "labels"
    definition = f"F1 over {labels} {apart} against {truth}; {how}."
    group: Group = "Findings" if own else "By labeler"
    return MetricInfo(name, f"{kind.capitalize()} F1 {which}", group, 1, definition)


def length_info(name: str) -> MetricInfo | None:
    """What is told about length: verbosity, win rates, and what a score gains per added words."""
    if found := _VERBOSITY.fullmatch(name):
        whose = "the radiologist's" if found["baseline"] == "reference" else f"those of {found['baseline']}"
        definition = f"Mean words of a report over the mean words of {whose}; 1 is the same length."
        return MetricInfo(name, f"Words against {found['baseline']}", "Length", 0, definition, 2)
    if found := _WIN_RATE.fullmatch(name):
        judge, baseline = judge_label(found["judge"]), found["baseline"]
        definition = f"Share of studies on which {judge} puts the policy above {baseline}; a tie is half a win."
        label = f"Wins against {baseline}"
        if found["lc"]:
            definition = f"The win rate by {judge} that a logistic regression expects at equal lengths."
            label += " at equal length"
        return MetricInfo(name, label, "Length", 1, definition, 2)
    if found := _SLOPE.fullmatch(name):
        what = found["what"].removesuffix(".gain")
        definition = f"Slope of the gain by {judge_label(what)} over the words added, for 10 words, by least squares."
        return MetricInfo(name, "Gain per 10 words added", "Length", 0, definition)
    return None


def cross_judge_info(name: str) -> MetricInfo | None:
    """Gains in standard deviations, so that judges can stand side by side, and how far the own judge is ahead."""
    if name == "goodhart_gap":
        definition = (
            "Gain by the judge that the policy learned from, less the mean gain by the others, in standard deviations "
            "of each judge's scores of the baseline; well above 0 the policy has learned its judge and not the task."
        )
        return MetricInfo(name, "Own judge ahead of others", "Judges", 0, definition, 2)
    judge = name.removeprefix("gain_sd.")
    if judge == name:
        return None
    definition = f"Paired difference by {judge_label(judge)}, in standard deviations of its scores of the baseline."
    return MetricInfo(name, f"Gain by {judge_label(judge)}", "Judges", 1, definition, 2)


FAMILIES: tuple[Callable[[str], MetricInfo | None], ...] = (
    task_info,
    type_info,
    length_info,
    cross_judge_info,
    f1_info,
    judge_info,
)
"""Tried in this order: names of judges last, since they are the least particular."""


def _short(judge: str) -> str:
    return "CheXbert" if judge == "chexbert" else judge
