"""Preference training of one arm: pairs, reference log-probs and a loss make a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chexalign import artifact, atomic
from chexalign.errors import UserError
from chexalign.losses.base import Loss
from chexalign.losses.make import make_loss
from chexalign.policy.hf import HFPolicy
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.train.examples import Target, drop_long, encode
from chexalign.train.fit import fit, no_rows
from chexalign.train.freeze import Part
from chexalign.train.held_out import held_out_prompts
from chexalign.train.launch import first_decides
from chexalign.train.mismatch import mismatched
from chexalign.train.objective import Pairs
from chexalign.train.pack import Example
from chexalign.train.ref_logps import ref_table
from chexalign.train.rows import Row
from chexalign.train.settings import settings_of
from chexalign.train.targets import candidate_targets
from chexalign.train.trainee import Trainee, about_training
from chexalign.types import Pair


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

    def run(self) -> None:
        """Does nothing when the checkpoint is there already; of several processes each calls it."""
        folder, base = self.run_folder.policy(self.arm), self.run_folder.policy(SFT)
        if first_decides(lambda: artifact.finished(folder, self.key) is not None):
            return
        atomic.make_folder(folder)
        loss, trainee = make_loss(self.train), Trainee.load(base, self.frozen, self.lora, seed=self.key.seed)
        pairs = self.run_folder.pairs(self.arm).rows()
        rows, dropped = self._rows(trainee.policy, pairs, loss)
        rows, held_out = self._split(rows, pairs)
        settings = settings_of(self.train, self.compute, threads=self.threads)
        log = fit(
            trainee.model,
            rows,
            Pairs(loss),
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

    def _rows(self, policy: HFPolicy, pairs: Sequence[Pair], loss: Loss) -> tuple[list[Row], dict[str, int]]:
        """The pairs as rows, less those that are too long, which are counted."""
        targets = pair_targets(
            self.run_folder, pairs, max_images=self.max_images, mismatch_seed=self.key.seed if loss.needs_kl else None
        )
        examples, dropped = drop_long(encode(policy, targets), max_tokens=self.max_tokens)
        if not examples:
            raise no_rows(f"The arm {self.arm}")
        return pair_rows(self.run_folder, pairs, examples, loss, seed=self.key.seed), dropped

    def _split(self, rows: list[Row], pairs: Sequence[Pair]) -> tuple[list[Row], list[Row]]:
        """The rows to train on, and those to measure the loss on, where `train.hold_out` asks for some."""
        if self.train.hold_out is None:
            return rows, []
        prompt_of = {pair.id: pair.prompt_id for pair in pairs}
        of_row = [prompt_of[row.example.id] for row in rows]
        apart = held_out_prompts(of_row, share=self.train.hold_out, seed=self.key.seed)
        kept = [row for row, prompt in zip(rows, of_row, strict=True) if prompt not in apart]
        return kept, [row for row, prompt in zip(rows, of_row, strict=True) if prompt in apart]


def completions_of(pairs: Sequence[Pair], *, mismatch_seed: int | None) -> list[tuple[str, ...]]:
    """The candidates of each pair: chosen, rejected and, with a seed, one that answers another prompt."""
    own = [(pair.chosen_id, pair.rejected_id) for pair in pairs]
    if mismatch_seed is None:
        return list(own)
    return [(*both, other) for both, other in zip(own, mismatched(pairs, seed=mismatch_seed), strict=True)]


def pair_targets(run: RunFolder, pairs: Sequence[Pair], *, max_images: int, mismatch_seed: int | None) -> list[Target]:
    """The ask and the texts of each pair.

    Raises: UserError when both texts of a pair are equal: nothing could be learned from preferring one.
    """
    completions = completions_of(pairs, mismatch_seed=mismatch_seed)
    wanted = [(pair.id, pair.prompt_id, ids) for pair, ids in zip(pairs, completions, strict=True)]
    targets = candidate_targets(run, wanted, max_images=max_images)
    for pair, target in zip(pairs, targets, strict=True):
        if target.texts[0] == target.texts[1]:
            raise equal_texts(pair)
    return targets


def pair_rows(
    run: RunFolder, pairs: Sequence[Pair], examples: Sequence[Example], loss: Loss, *, seed: int
) -> list[Row]:
    """The examples with their log-probs under the reference policy, where the loss needs them."""
    if not loss.needs_ref:
        return [Row(example) for example in examples]
    refs = {(r.prompt_id, r.candidate_id): r.sum_logp for r in ref_table(run).iter_rows()}
    completions = completions_of(pairs, mismatch_seed=seed if loss.needs_kl else None)
    of_pair = {
        pair.id: tuple(refs[pair.prompt_id, i] for i in ids) for pair, ids in zip(pairs, completions, strict=True)
    }
    return [Row(example, of_pair[example.id]) for example in examples]


def equal_texts(pair: Pair) -> UserError:
    """The error for a pair that prefers a text to itself."""
    return UserError(
        f"The pair {pair.id} has the same text as chosen and as rejected.",
        "Its loss would push the same tokens up and down.",
        "Leave it out of the pairs, or raise pairs.min_margin: equal texts have equal scores.",
    )
