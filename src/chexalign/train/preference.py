"""Preference training of one arm: pairs or verdicts, reference log-probs and a loss make a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chexalign import artifact, atomic
from chexalign.policy.hf import HFPolicy
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.train.examples import drop_long, encode
from chexalign.train.fit import fit, no_rows
from chexalign.train.freeze import Part
from chexalign.train.held_out import held_out_prompts
from chexalign.train.launch import first_decides
from chexalign.train.lessons import Lessons, lessons_of
from chexalign.train.rows import Row
from chexalign.train.settings import settings_of
from chexalign.train.trainee import Trainee, about_training


@dataclass(frozen=True, slots=True)
class PreferenceJob:
    """Trains one arm and writes its checkpoint.

    `train`, `compute` and `lora` are the recipe's blocks of these names, and `recipe` is its digest, for the card.
    """

    run_folder: RunFolder
    arm: str
    train: Any
    compute: Any
    frozen: tuple[Part, ...]
    max_images: int
    max_tokens: int
    threads: int
    key: StageKey
    lora: Any = None
    recipe: str = ""
    verdicts: bool = False  # the arm learns from verdicts on single candidates

    def run(self) -> None:
        """Does nothing when the checkpoint is there already; of several processes each calls it."""
        folder, base = self.run_folder.policy(self.arm), self.run_folder.policy(SFT)
        if first_decides(lambda: artifact.finished(folder, self.key) is not None):
            return
        atomic.make_folder(folder)
        trainee = Trainee.load(base, self.frozen, self.lora, seed=self.key.seed)
        lessons = lessons_of(self.run_folder, self.arm, self.train, verdicts=self.verdicts, seed=self.key.seed)
        rows, dropped = self._rows(trainee.policy, lessons)
        rows, held_out = self._split(rows, lessons.prompts())
        settings = settings_of(self.train, self.compute, threads=self.threads)
        log = fit(
            trainee.model,
            rows,
            lessons.objective,
            settings,
            vision=trainee.vision([row.example.images for row in (*rows, *held_out)], precision=settings.precision),
            pad_id=trainee.policy.tokenizer.pad_token_id,
            folder=folder,
            label=f"train {self.arm}",
            fingerprint=self.key.fingerprint,
            seed=self.key.seed,
            # Over 4-bit weights the policy starts beside its reference, which was asked in full precision.
            starts_at_ref=not (self.lora and self.lora.quantize),
            held_out=held_out,
        )
        about = about_training(
            self.run_folder,
            self.arm,
            base=SFT,
            algorithm=self.train.algorithm,
            spec=self.train,
            lora=self.lora,
            frozen=self.frozen,
            recipe=self.recipe,
        )
        trainee.finish(folder, self.key, log, about=about, rows=len(rows), dropped=dropped)

    def _rows(self, policy: HFPolicy, lessons: Lessons) -> tuple[list[Row], dict[str, int]]:
        """The rows, less those that are too long, which are counted."""
        targets = lessons.targets(max_images=self.max_images)
        examples, dropped = drop_long(encode(policy, targets), max_tokens=self.max_tokens)
        if not examples:
            raise no_rows(f"The arm {self.arm}")
        return lessons.rows(examples), dropped

    def _split(self, rows: list[Row], prompt_of: Mapping[str, str]) -> tuple[list[Row], list[Row]]:
        """The rows to train on, and those to measure the loss on, where `train.hold_out` asks for some."""
        if self.train.hold_out is None:
            return rows, []
        of_row = [prompt_of[row.example.id] for row in rows]
        apart = held_out_prompts(of_row, share=self.train.hold_out, seed=self.key.seed)
        kept = [row for row, prompt in zip(rows, of_row, strict=True) if prompt not in apart]
        return kept, [row for row, prompt in zip(rows, of_row, strict=True) if prompt in apart]
