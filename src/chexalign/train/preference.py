"""Preference training of one arm: pairs, reference log-probs and a loss make a policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chexalign import artifact, atomic
from chexalign.errors import UserError
from chexalign.losses.base import Loss, PairLogps
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.registry import registry
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.train.batch import Example, collate
from chexalign.train.examples import encode
from chexalign.train.features import FeatureTable, tower_features
from chexalign.train.freeze import Part, freeze
from chexalign.train.logps import sum_logps
from chexalign.train.loop import Optimization, StepLoss, fit, forget
from chexalign.train.ref_logps import ref_table, targets_of
from chexalign.train.sft import plan

# At step 0 the policy is the reference policy: the loss must be what the formula says, up to rounding.
_STEP_0_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Both completions of a pair as examples, with their log-probs under the reference policy."""

    chosen: Example
    rejected: Example
    ref_chosen: float
    ref_rejected: float

    @property
    def n_tokens(self) -> int:
        """Length of the longer sequence."""
        return max(self.chosen.n_tokens, self.rejected.n_tokens)


@dataclass(frozen=True, slots=True)
class PreferenceJob:
    """Trains one arm and writes its checkpoint; `train` is the recipe's TrainSpec."""

    run_folder: RunFolder
    arm: str
    train: Any
    frozen: tuple[Part, ...]
    max_images: int
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the checkpoint is there already."""
        folder = self.run_folder.policy(self.arm)
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        policy = HFPolicy(self.run_folder.policy(SFT))
        pairs = encode_pairs(self.run_folder, policy, self.arm, max_images=self.max_images)
        if not pairs:
            raise no_pairs(self.arm)
        freeze(policy.model, self.frozen)
        keys = {key for pair in pairs for key in pair.chosen.images}
        features = tower_features(policy.model, policy.processor, keys)
        loss = registry("losses").get(self.train.algorithm)(
            **self.train.parameters(), label_smoothing=self.train.label_smoothing
        )
        batches = preference_plan(
            pairs, epochs=self.train.epochs, batch_size=self.train.global_batch, seed=self.key.seed
        )
        optimization = Optimization(
            self.train.learning_rate, warmup_ratio=self.train.warmup_ratio, max_grad_norm=self.train.max_grad_norm
        )
        step = preference_step(policy.model, pairs, features, loss, pad_id=policy.tokenizer.pad_token_id)
        log = fit(
            policy.model,
            batches,
            step,
            optimization,
            folder=folder,
            label=f"train {self.arm}",
            fingerprint=self.key.fingerprint,
            threads=self.threads,
        )
        save_checkpoint(policy.model, policy.processor, folder)
        forget(folder)
        artifact.finish(folder, self.key, rows=len(pairs), seconds=log.seconds, log=log.rows)


def encode_pairs(run: RunFolder, policy: HFPolicy, arm: str, *, max_images: int) -> list[EncodedPair]:
    """The arm's pairs, tokenized, with the reference log-probs of the run."""
    pairs = run.pairs(arm).rows()
    refs = {r.candidate_id: r for r in ref_table(run).iter_rows()}
    ids = [i for pair in pairs for i in (pair.chosen_id, pair.rejected_id)]
    examples = encode(policy, targets_of(run, ids, max_images=max_images))
    return [
        EncodedPair(chosen, rejected, refs[pair.chosen_id].sum_logp, refs[pair.rejected_id].sum_logp)
        for pair, chosen, rejected in zip(pairs, examples[::2], examples[1::2], strict=True)
    ]


def preference_plan(pairs: Sequence[EncodedPair], *, epochs: float, batch_size: int, seed: int) -> list[list[int]]:
    """The batches of a possibly fractional number of epochs."""
    batches = plan(pairs, epochs=math.ceil(epochs), batch_size=batch_size, seed=seed)
    return batches[: max(1, round(epochs * len(batches) / math.ceil(epochs)))]


def preference_step(
    model: Any, pairs: Sequence[EncodedPair], features: FeatureTable, loss: Loss, *, pad_id: int
) -> StepLoss:
    """A step over a batch of pairs, both completions in one forward; logs rewards, margins, accuracy and log-probs."""

    def step(indices: Sequence[int], index: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = [pairs[i] for i in indices]
        examples = [p.chosen for p in batch] + [p.rejected for p in batch]
        chosen, rejected = sum_logps(model, collate(examples, pad_id=pad_id), features).chunk(2)
        logps = PairLogps(
            chosen=chosen,
            rejected=rejected,
            ref_chosen=torch.tensor([p.ref_chosen for p in batch]),
            ref_rejected=torch.tensor([p.ref_rejected for p in batch]),
            chosen_tokens=torch.tensor([len(p.chosen.completion_ids) for p in batch]),
            rejected_tokens=torch.tensor([len(p.rejected.completion_ids) for p in batch]),
        )
        out = loss(logps)
        if index == 0:
            _check_step_0(out.losses.mean().item(), loss.at_step_0(logps))
        margin = out.chosen_rewards - out.rejected_rewards
        return out.losses.mean(), {
            "reward_margin": margin.mean().item(),
            "accuracy": (margin > 0).float().mean().item(),
            "chosen_logp": chosen.detach().mean().item(),
            "rejected_logp": rejected.detach().mean().item(),
            "chosen_reward": out.chosen_rewards.mean().item(),
            "rejected_reward": out.rejected_rewards.mean().item(),
        }

    return step


def no_pairs(arm: str) -> UserError:
    """The error for an arm whose pair table is empty."""
    return UserError(
        f"The arm {arm} has no pairs to train on.",
        "Every prompt was dropped; the manifest of its pairs counts the reasons.",
        "Draw more candidates (sample.n), lower pairs.min_margin, or use another judge.",
    )


def _check_step_0(value: float, expected: float) -> None:
    if abs(value - expected) > _STEP_0_TOLERANCE:
        raise UserError(
            f"The first preference loss is {value:.5f}; for a policy that equals its reference it is {expected:.5f}.",
            "The reference log-probs belong to other weights, another template or another tokenizer.",
            "Delete the run's ref_logps folder and run again.",
        )
