"""The metrics of answers to questions, by task and by type of question."""

from __future__ import annotations

import re

from chexalign.present.metrics_known import Better, MetricInfo

_TASK = re.compile(r"task\.(?P<group>.+)\.(?P<kind>\w+)")
_TYPE = re.compile(r"vqa\.((?P<group>\w+)\.)?(?P<kind>\w+)")
_TASK_KINDS: dict[str, tuple[str, Better, str]] = {
    "accuracy": ("accuracy", 1, "Share of questions answered right; an answer that cannot be read is not right."),
    "unread": ("unread", -1, "Share of answers that name no option clearly; they are counted as wrong, never guessed."),
    "other_order": ("accuracy, options in another order", 1, "The same questions with their options in other orders."),
    "same_answer": ("same answer in every order", 1, "Share of questions with one and the same answer in all orders."),
    "by_likelihood": ("accuracy by likelihood", 1, "Accuracy of the most probable option, per token of the option."),
    "micro_f1": ("micro F1 over options", 1, "F1 of the options named, where any number of them can be right."),
}
_TYPE_KINDS: dict[str, tuple[str, Better, str]] = {
    "accuracy": ("accuracy", 1, "Share of questions of a type answered right; what cannot be read is not right."),
    "relative_gain": (
        "relative gain",
        1,
        "Accuracy less that of the policy compared with, over the latter, on the questions that both answered.",
    ),
    "micro_f1": ("micro F1", 1, "F1 over the options of questions with any number of right ones, pooled."),
    "macro_f1": ("macro F1", 1, "The plain mean of the F1 of each option of questions with any number of right ones."),
    "ece": (
        "ECE",
        -1,
        "Expected calibration error: how far confidence lies from accuracy, over ten bins of confidence weighted by "
        "their answers. On few answers it is above 0 for a calibrated policy as well.",
    ),
    "hallucination": (
        "hallucination rate",
        -1,
        "Share of answers that affirm a finding that the evidence says is absent, among the questions of which some "
        "answer would.",
    ),
}
_TYPE_GROUPS = {
    "all": "all questions",
    "verify": "yes or no",
    "choose": "one of the options",
    "query": "any of the options",
    "open": "free words",
}
_MEAN_TASK = "Mean over the tasks, each counting once."


def task_info(name: str) -> MetricInfo | None:
    """Answers to questions: `task.view.accuracy`, `task.vqa.SOURCE.PART.unread`."""
    found = _TASK.fullmatch(name)
    if found is None or found["kind"] not in _TASK_KINDS:
        return None
    kind, better, definition = _TASK_KINDS[found["kind"]]
    group = "all tasks" if found["group"] == "mean" else found["group"].replace(".", " / ")
    more = f" {_MEAN_TASK}" if found["group"] == "mean" else ""
    return MetricInfo(name, f"{group}: {kind}", "Tasks", better, definition + more)


def type_info(name: str) -> MetricInfo | None:
    """Answers by type of question: `vqa.all.accuracy`, `vqa.region.ece`, `vqa.hallucination`."""
    found = _TYPE.fullmatch(name)
    if found is None or found["kind"] not in _TYPE_KINDS:
        return None
    kind, better, definition = _TYPE_KINDS[found["kind"]]
    label = f"{type_label(found['group'])}: {kind}" if found["group"] else kind
    return MetricInfo(name, label, "Types", better, definition)


def type_label(group: str) -> str:
    """What a type of question is called."""
    return _TYPE_GROUPS.get(group, group)
