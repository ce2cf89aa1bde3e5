"""How questions are worded; which wording one gets follows from its name, never from its answer."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign import ids
from chexalign.data.questions import REGION, Draft, PixelBox
from chexalign.types import Evidence

YES, NO = "yes", "no"

_PRESENCE = (
    "Does this chest X-ray show {finding}?",
    "Is there evidence of {finding} in this chest X-ray?",
    "Can {finding} be seen on this chest radiograph?",
)
_SINGLE = (
    "Which one of these findings does this chest X-ray show?",
    "One of these findings can be seen on this chest radiograph. Which one?",
    "Look at this chest X-ray. Which of the listed findings is present?",
)
_MULTI = (
    "Which of these findings does this chest X-ray show? Name all that apply.",
    "Some of these findings can be seen on this chest radiograph. Name each of them.",
    "Look at this chest X-ray. List all of the findings below that are present.",
)
_REGION = (
    f"Which of these findings is in the region {REGION}?",
    f"Look at the part of this chest X-ray {REGION}. Which of these findings is there?",
)
_PHRASE = (
    f"Which of these sentences describes the region {REGION}?",
    f"Look at the part of this chest X-ray {REGION}. Which of these sentences is about it?",
)
_VIEW = (
    "Which view is this chest X-ray?",
    "From which direction was this chest radiograph taken?",
    "What is the projection of this chest X-ray?",
)


def presence(
    name: str, finding: str, *, present: bool, evidence: Sequence[Evidence], boxes: Sequence[PixelBox]
) -> Draft:
    """Whether a finding is there, yes or no."""
    return Draft(
        name,
        task="binary",
        part=finding,
        answer_type="verify",
        text=_one_of(_PRESENCE, name).format(finding=finding),
        options=(YES, NO),
        answers=(YES if present else NO,),
        evidence=tuple(evidence),
        boxes=tuple(boxes),
    )


def single_finding(name: str, options: Sequence[str], right: str, *, evidence: Sequence[Evidence]) -> Draft:
    """Which one of the options is there, where the others are not."""
    return Draft(
        name,
        task="single_disease",
        part=right,
        answer_type="choose",
        text=_one_of(_SINGLE, name),
        options=keyed_order(options, name),
        answers=(right,),
        evidence=tuple(evidence),
    )


def several_findings(name: str, options: Sequence[str], right: Sequence[str], *, evidence: Sequence[Evidence]) -> Draft:
    """Which of the options are there: one or more, never all."""
    shown = keyed_order(options, name)
    return Draft(
        name,
        task="multi_disease",
        part=f"{len(right)} of {len(shown)}",
        answer_type="query",
        text=_one_of(_MULTI, name),
        options=shown,
        answers=tuple(option for option in shown if option in right),
        evidence=tuple(evidence),
    )


def finding_of_region(name: str, options: Sequence[str], right: str, boxes: Sequence[PixelBox]) -> Draft:
    """Which one of the options is at the first box; the text says where that is."""
    return _region("region", name, _REGION, options, right, right, boxes)


def sentence_of_region(name: str, options: Sequence[str], right: str, part: str, boxes: Sequence[PixelBox]) -> Draft:
    """Which one of the sentences is about the first box; the text says where that is."""
    return _region("phrase", name, _PHRASE, options, right, part, boxes)


def view(name: str, options: Sequence[str], right: str) -> Draft:
    """Which view an image is."""
    return Draft(
        name,
        task="view",
        part=right,
        answer_type="choose",
        text=_one_of(_VIEW, name),
        options=keyed_order(options, name),
        answers=(right,),
        evidence=(Evidence("label", right),),
    )


def keyed_order(options: Sequence[str], name: str) -> tuple[str, ...]:
    """The options in an order that depends on them and the name of the question alone."""
    return tuple(sorted(options, key=lambda option: ids.digest("option", name, option)))


def _region(
    task: str,
    name: str,
    wordings: Sequence[str],
    options: Sequence[str],
    right: str,
    part: str,
    boxes: Sequence[PixelBox],
) -> Draft:
    return Draft(
        name,
        task=task,
        part=part,
        answer_type="choose",
        text=_one_of(wordings, name),
        options=keyed_order(options, name),
        answers=(right,),
        kind="region",
        boxes=tuple(boxes),
    )


def _one_of(wordings: Sequence[str], name: str) -> str:
    return wordings[ids.keyed_seed("wording", name) % len(wordings)]
