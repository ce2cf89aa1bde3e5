"""Questions about images as rows of supervised fine-tuning, beside the reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from chexalign.data.answers import answer_text, ask_text, ordered
from chexalign.data.questions import TEST, TRAIN, VALIDATION, spread_evenly
from chexalign.policy.base import Ask
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.types import Question

_ORDER = 1  # of options: one that is keyed to the question, so that no place is right more often than another


def question_targets(
    run: RunFolder, wanted: Mapping[str, int], *, held_out: Set[str], max_images: int
) -> tuple[list[Target], dict[str, int]]:
    """The questions of each collection that are learned from, as targets, and why others are left out."""
    targets: list[Target] = []
    dropped: Counter[str] = Counter()
    for collection, n in wanted.items():
        chosen, without = learned_questions(run, collection, n, held_out=held_out, max_images=max_images)
        targets += [_target(run, question) for question in chosen]
        dropped.update(without)
    return targets, dict(dropped)


def evaluated_patients(run: RunFolder, collections: Iterable[str]) -> frozenset[str]:
    """The patients who have a study in the validation or test split, or a question outside the training split.

    Questions count of all these collections, as a patient may be tested by one and stand in the training split of
    another.
    """
    studies = {study.patient_id for study in run.studies.iter_rows() if study.split in (VALIDATION, TEST)}
    rows = (question for name in collections for question in run.questions(name).iter_rows())
    return frozenset(studies | {question.patient_id for question in rows if question.split != TRAIN})


def learned_questions(
    run: RunFolder, collection: str, n: int, *, held_out: Set[str], max_images: int
) -> tuple[list[Question], dict[str, int]]:
    """So many training questions of a collection, spread evenly over it, and why others are left out.

    Left out are those of a patient in `held_out`, those without an image or with more than the policy is given.
    """
    usable: list[Question] = []
    dropped: Counter[str] = Counter()
    for question in run.questions(collection).iter_rows():
        if question.split == TRAIN:
            reason = _reason(question, held_out, max_images)
            if reason is None:
                usable.append(question)
            else:
                dropped[f"question_{reason}"] += 1
    return spread_evenly(usable, n), dict(dropped)


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
