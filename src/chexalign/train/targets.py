"""From the tables of a run to the asks and texts that a policy is trained on or scored with."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign.data.answers import ask_text
from chexalign.policy.asks import ask_of
from chexalign.policy.base import Ask
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.train.examples import Target

Wanted = tuple[str, str, Sequence[str]]  # a name, the id of a prompt or a question, and ids of texts


def candidate_targets(run: RunFolder, wanted: Sequence[Wanted], *, max_images: int) -> list[Target]:
    """For each entry a target of that name: what is asked, and the texts, which may answer others.

    Texts are candidates of prompts, or right and wrong answers to mined questions.
    """
    texts = _texts(run, {i for _, _, ids in wanted for i in ids})
    asks = _asks(run, {prompt_id for _, prompt_id, _ in wanted}, max_images)
    return [Target(name, asks[prompt_id], tuple(texts[i] for i in ids)) for name, prompt_id, ids in wanted]


def _texts(run: RunFolder, used: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in run.counterfactuals.iter_rows() if _mines(run) else ():
        found |= {i: text for i, text in ((row.chosen_id, row.chosen), (row.rejected_id, row.rejected)) if i in used}
    if left := used - found.keys():  # a run that only mines has no candidates
        found |= {c.id: c.text for c in run.candidates.iter_rows() if c.id in left}
    return found


def _asks(run: RunFolder, used: set[str], max_images: int) -> dict[str, Ask]:
    found = {}
    for folder in sorted(run.question_folder.iterdir()) if _mines(run) else ():
        for question in run.questions(folder.name).iter_rows():
            if question.id in used:
                images = tuple(run.image_path(image) for image in question.images)
                found[question.id] = Ask(ask_text(question), images)
    if left := used - found.keys():
        studies = {s.id: s for s in run.studies.iter_rows()}
        for prompt in run.prompts.iter_rows():
            if prompt.id in left:
                study = studies[prompt.study_id]
                found[prompt.id] = ask_of(study, prompt.text, root=run.root, max_images=max_images)
    return found


def _mines(run: RunFolder) -> bool:
    return Manifest.load(run.counterfactuals.folder) is not None
