"""Questions about findings that somebody boxed: whether one is there, and which one is in a box."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chexalign import ids
from chexalign.data.questions import Draft, Picture, PixelBox, QuestionItem
from chexalign.data.tasks.balance import LEFT_OUT, Case, equal_numbers, one_right_each
from chexalign.data.tasks.findings import clearly_absent
from chexalign.data.tasks.wordings import NO, YES, finding_of_region, presence


@dataclass(frozen=True, slots=True)
class Known:
    """An image, and what is known of the findings on it; what is neither present nor absent is not known."""

    name: str  # of the image
    study: str
    patient: str
    split: str
    picture: Picture
    boxes: tuple[PixelBox, ...]  # their texts are findings; one may have several
    present: frozenset[str]
    absent: frozenset[str] | None  # None: nobody said of any finding that it is not there
    rivals: tuple[frozenset[str], ...] | None = None  # of each box: what else may be in it; None: all that may be there


@dataclass(frozen=True, slots=True)
class _Asked:
    image: int
    finding: str
    draft: Draft


def ask(images: Sequence[Known], findings: Sequence[str]) -> tuple[list[QuestionItem], Counter[str]]:
    """Items with questions, in the order of the images, and how many questions were left out for balance.

    Of each finding and split as many images show it as do not; of the regions each option is right equally often.
    """
    possible = [asked for at, image in enumerate(images) for asked in _presences(at, image, findings)]
    asked = equal_numbers(
        possible,
        name=lambda a: a.draft.name,
        group=lambda a: (images[a.image].split, a.finding),
        answer=lambda a: a.draft.answers[0],
        answers=(YES, NO),
    )
    regions = list(_regions(images, findings))
    n_boxes = sum(len(image.boxes) for image in images)
    drafts: defaultdict[int, list[Draft]] = defaultdict(list)
    for a in (*asked, *regions):
        drafts[a.image].append(a.draft)
    items = [
        QuestionItem(image.study, image.patient, image.split, (image.picture,), tuple(drafts[at]))
        for at, image in enumerate(images)
        if at in drafts
    ]
    return items, Counter({LEFT_OUT: len(possible) - len(asked) + n_boxes - len(regions)})


def box_cases(image: Known, findings: Sequence[str]) -> list[Case]:
    """Of each box of an image, what it shows for sure, and what it does for sure not."""
    unsure = image.present if image.absent is None else set(findings) - image.absent
    rivals = image.rivals or (unsure,) * len(image.boxes)
    return [
        Case(
            key=f"{image.name}/{box.text}/{i}",
            split=image.split,
            present=frozenset({box.text}),
            absent=clearly_absent(findings, {*others, box.text}, in_a_box=True),
        )
        for i, (box, others) in enumerate(zip(image.boxes, rivals, strict=True))
    ]


def _presences(at: int, image: Known, findings: Sequence[str]) -> Iterator[_Asked]:
    """What can be asked of an image; of a healthy one a single finding, or most answers "no" were about health."""
    if image.absent is None:
        return
    absent = [finding for finding in findings if finding in image.absent]
    if absent and not image.present:
        absent = [absent[ids.keyed_seed("healthy", image.name) % len(absent)]]
    for finding in findings:
        present = finding in image.present
        if not present and finding not in absent:
            continue
        boxes = [box for box in image.boxes if box.text == finding]
        name = f"{image.name}/{finding}"
        yield _Asked(at, finding, presence(name, finding, present=present, evidence=[], boxes=boxes))


def _regions(images: Sequence[Known], findings: Sequence[str]) -> Iterator[_Asked]:
    places = [
        (at, box, case)
        for at, image in enumerate(images)
        for box, case in zip(image.boxes, box_cases(image, findings), strict=True)
    ]
    for drawn in one_right_each([case for _, _, case in places], findings, in_a_box=True):
        at, box, case = places[drawn.case]
        yield _Asked(at, box.text, finding_of_region(case.key, drawn.options, drawn.right[0], [box]))
