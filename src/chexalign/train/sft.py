"""Supervised fine-tuning on the references of the sft split, and on questions where a recipe names some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chexalign import artifact, atomic
from chexalign.policy.asks import ask_of
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.train.emphasis import emphasize
from chexalign.train.examples import Target, drop_long, encode
from chexalign.train.fit import fit, no_rows
from chexalign.train.freeze import Part
from chexalign.train.launch import first_decides
from chexalign.train.objective import Supervised
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import shared_logps
from chexalign.train.questions import evaluated_patients, question_targets
from chexalign.train.rows import Row
from chexalign.train.settings import settings_of
from chexalign.train.trainee import Trainee, about_training
from chexalign.train.vision import Vision, tower_of
from chexalign.types import Study


@dataclass(frozen=True, slots=True)
class SFTJob:
    """Fine-tunes a base policy on the references of the sft split, and on as many questions as are asked for.

    `spec`, `compute` and `lora` are blocks of the recipe, and `recipe` is its digest, for the card.
    """

    run_folder: RunFolder
    base: Path
    spec: Any
    compute: Any
    frozen: tuple[Part, ...]
    template: Any
    max_images: int
    max_tokens: int
    threads: int
    key: StageKey
    lora: Any = None
    recipe: str = ""
    questions: Mapping[str, int] = field(default_factory=dict)  # collection -> training questions to learn from
    collections: Sequence[str] = ()  # all that are there: no question of a patient whom one of them tests is learned

    def run(self) -> None:
        """Does nothing when the checkpoint is there already; of several processes each calls it."""
        folder = self.run_folder.policy(SFT)
        if first_decides(lambda: artifact.finished(folder, self.key) is not None):
            return
        atomic.make_folder(folder)
        trainee = Trainee.load(self.base, self.frozen, self.lora, seed=self.key.seed)
        policy = trainee.policy
        studies = self.run_folder.studies.rows()
        targets = self._targets(studies, "sft")
        encoded = emphasize(
            policy.tokenizer, encode(policy, targets), [t.texts[0] for t in targets], weight=self.spec.finding_weight
        )
        asked, without = self._questions()
        examples, dropped = drop_long(encoded + encode(policy, asked), max_tokens=self.max_tokens)
        dropped = dict(Counter(dropped) + Counter(without))
        if not examples:
            raise no_rows("Supervised fine-tuning")
        held_out, _ = drop_long(encode(policy, self._targets(studies, "validation")), max_tokens=self.max_tokens)
        settings = settings_of(self.spec, self.compute, threads=self.threads)
        vision = trainee.vision([e.images for e in examples + held_out], precision=settings.precision)
        pad_id = policy.tokenizer.pad_token_id
        log = fit(
            trainee.model,
            [Row(e) for e in examples],
            Supervised(),
            settings,
            vision=vision,
            pad_id=pad_id,
            folder=folder,
            label="train sft",
            fingerprint=self.key.fingerprint,
            seed=self.key.seed,
        )
        measured = held_out and log.weights is None  # a model in shards answers only while it trains
        extra = {"validation_nll": mean_nll(trainee.model, held_out, vision, pad_id=pad_id)} if measured else {}
        about = about_training(
            self.run_folder,
            SFT,
            base=self.base.name,
            algorithm="sft",
            spec=self.spec,
            lora=self.lora,
            frozen=self.frozen,
            recipe=self.recipe,
            questions=self.questions,
        )
        trainee.finish(folder, self.key, log, about=about, rows=len(examples), dropped=dropped, extra=extra)

    def _questions(self) -> tuple[list[Target], dict[str, int]]:
        """The questions to learn from, none of a patient who is evaluated."""
        held_out = evaluated_patients(self.run_folder, self.collections)
        return question_targets(self.run_folder, self.questions, held_out=held_out, max_images=self.max_images)

    def _targets(self, studies: Sequence[Study], split: str) -> list[Target]:
        root = self.run_folder.root
        return [
            Target(s.id, ask_of(s, self.template.fill(s).text, root=root, max_images=self.max_images), (s.reference,))
            for s in studies
            if s.split == split
        ]


@torch.no_grad()
def mean_nll(model: Any, examples: Sequence[Example], vision: Vision, *, pad_id: int, batch_size: int = 50) -> float:
    """Mean negative log-prob per completion token over all examples, in nats."""
    parts, device = [], model.device
    model.eval()
    with tower_of(vision, model):
        for start in range(0, len(examples), batch_size):
            batch = examples[start : start + batch_size]
            inputs = {name: t.to(device) for name, t in vision.inputs([e.images for e in batch]).items()}
            packed = {name: t.to(device) for name, t in pack(batch, pad_id=pad_id).items()}
            parts.append(shared_logps(model, packed, inputs).logps)
    return -float(torch.cat(parts).double().mean())
