"""Pretraining of the tiny policy's decoder on yes and no, for recipes that learn from questions.

Among questions of all kinds and reports the decoder does not begin, within an epoch of SFT, to look for the finding
that it is asked about: its answers stay guesses. Alone these questions teach it that within a thousand steps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from chexalign import artifact, atomic
from chexalign.data.answers import ask_text, ordered
from chexalign.data.questions import Draft, spread_evenly
from chexalign.demo.loop import Optimization
from chexalign.demo.openi_phantom import phantom_seed
from chexalign.demo.pretrain import train_on_phantoms
from chexalign.demo.questions_basic import ask_basic
from chexalign.demo.questions_findings import read_chest
from chexalign.demo.tower import Phantom, coded_studies, phantom_table
from chexalign.policy.base import Ask
from chexalign.policy.hf import HFPolicy
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.train.examples import Target, encode
from chexalign.train.pack import Example
from chexalign.types import Question, Study

_OPTIMIZATION = Optimization(learning_rate=7e-4, weight_decay=0.01)
_ORDER = 1  # of options, as in SFT


@dataclass(frozen=True, slots=True)
class PresenceJob:
    """Teaches the decoder to say whether a finding, or any, is seen: so many questions about phantoms, once each.

    They are those that the collection `openi-phantom-questions` asks about the same codes, as often right with yes as
    with no, here about every phantom of a study. The answer is one word; reasons are left to SFT.
    """

    run_folder: RunFolder
    n: int
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the checkpoint is there already."""
        folder = self.run_folder.pretrained("presence")
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        policy = HFPolicy(self.run_folder.pretrained("caption"))
        phantoms = phantom_table(self.run_folder).rows()
        train_on_phantoms(
            policy,
            spread_evenly(self._examples(policy, phantoms), self.n),
            phantoms,
            _OPTIMIZATION,
            folder=folder,
            label="train on presence",
            epochs=1,
            threads=self.threads,
            key=self.key,
        )

    def _examples(self, policy: HFPolicy, phantoms: list[Phantom]) -> list[Example]:
        """Each question about the image of its study, and about the further phantoms of it."""
        studies = coded_studies(self.run_folder)
        more: dict[str, list[str]] = {}
        for phantom in phantoms:
            more.setdefault(phantom.study_id, []).append(phantom.key)
        asked, _ = ask_basic([read_chest(s.id, s.split, s.codes, phantom_seed(s.id, 0)) for s in studies])
        about = [(studies[a.chest], a.draft) for a in asked if a.draft.answer_type == "verify"]
        examples = encode(policy, [self._target(study, draft) for study, draft in about])
        return [
            dataclasses.replace(example, images=images)
            for (study, _), example in zip(about, examples, strict=True)
            for images in (example.images, *((key,) for key in more.get(study.id, ())))
        ]

    def _target(self, study: Study, draft: Draft) -> Target:
        question = ordered(
            Question(
                id=draft.name,
                patient_id=study.patient_id,
                study_id=study.id,
                task=draft.task,
                part=draft.part,
                kind=draft.kind,
                answer_type=draft.answer_type,
                text=draft.text,
                options=draft.options,
                answers=draft.answers,
                images=(study.images[0],),
                split=study.split,
                source=study.source,
                license=study.license,
            ),
            _ORDER,
        )
        ask = Ask(ask_text(question), (self.run_folder.image_path(study.images[0]),))
        return Target(question.id, ask, (f"{draft.answers[0].capitalize()}.",))
