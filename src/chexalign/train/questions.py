"""Questions about images as rows of supervised fine-tuning, beside the reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set

from chexalign.data.answers import answer_text, ask_text, ordered
from chexalign.data.questions import TRAIN
from chexalign.policy.base import Ask
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.types import Question

_ORDER = 1  # of options: one that is keyed to the question, so that no place is right more often than another


def question_targets(
    run: RunFolder, wanted: Mapping[str, int], *, held_out: Set[str], max_images: int
) -> tuple[list[Target], dict[str, int]]:
    """So many training questions of each collection, spread evenly over it, and why others are left out.

    Left out are those of a patient in `held_out`, those without an image or with more than the policy is given.
    """
    targets: list[Target] = []
    dropped: Counter[str] = Counter()
    for collection, n in wanted.items():
        usable = []
        for question in run.questions(collection).iter_rows():
            if question.split == TRAIN:
                reason = _reason(question, held_out, max_images)
                if reason is None:
                    usable.append(question)
                else:
                    dropped[f"question_{reason}"] += 1
        chosen = usable if n >= len(usable) else [usable[i * len(usable) // n] for i in range(n)]
        targets += [_target(run, question) for question in chosen]
    return targets, dict(dropped)


def _reason(question: Question, held_out: Set[str], max_images: int) -> str | None:
    if question.patient_id in held_out:
        return "of_a_held_out_patient"
    if not question.images:
        return "without_image"
    return "with_too_many_images" if len(question.images) > max_images else None


def _target(run: RunFolder, question: Question) -> Target:
    shown = ordered(question, _ORDER)
    images = tuple(run.image_path(image) for image in question.images)
    return Target(question.id, Ask(ask_text(shown), images), (answer_text(shown),))
