"""Supervised fine-tuning on completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chexalign import artifact, atomic
from chexalign.ids import keyed_seed
from chexalign.policy.asks import ask_of
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.train.batch import Example, Sized, collate, epoch_batches
from chexalign.train.emphasis import emphasize
from chexalign.train.examples import Target, drop_long, encode
from chexalign.train.features import FeatureTable, tower_features
from chexalign.train.freeze import Part, freeze
from chexalign.train.logps import token_logps
from chexalign.train.loop import Optimization, StepLoss, fit, forget
from chexalign.types import Study


def sft_step(model: Any, examples: Sequence[Example], features: FeatureTable, *, pad_id: int) -> StepLoss:
    """A step whose loss is the weighted mean negative log-prob of the batch's completion tokens, in nats per token."""

    def step(indices: Sequence[int], _: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = [examples[i] for i in indices]
        logps, _rows = token_logps(model, collate(batch, pad_id=pad_id), features)
        weights = torch.tensor([w for e in batch for w in e.weights or (1.0,) * len(e.completion_ids)])
        return -(weights * logps).sum() / weights.sum(), {"tokens": float(len(logps))}

    return step


def plan(examples: Sequence[Sized], *, epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    """The batches of all epochs, each epoch in its own order."""
    lengths = [e.n_tokens for e in examples]
    return [
        batch
        for epoch in range(epochs)
        for batch in epoch_batches(lengths, batch_size=batch_size, seed=keyed_seed(seed, "epoch", epoch))
    ]


@torch.no_grad()
def mean_nll(
    model: Any, examples: Sequence[Example], features: FeatureTable, *, pad_id: int, batch_size: int = 50
) -> float:
    """Mean negative log-prob per completion token over all examples, in nats."""
    parts = []
    for start in range(0, len(examples), batch_size):
        batch = collate(examples[start : start + batch_size], pad_id=pad_id)
        parts.append(token_logps(model, batch, features)[0])
    return -float(torch.cat(parts).double().mean())


@dataclass(frozen=True, slots=True)
class SFTJob:
    """Fine-tunes a base policy on the references of the sft split; `spec` is the recipe's SFTSpec."""

    run_folder: RunFolder
    base: Path
    spec: Any
    frozen: tuple[Part, ...]
    template: Any
    max_images: int
    max_tokens: int
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the checkpoint is there already."""
        folder = self.run_folder.policy(SFT)
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        policy = HFPolicy(self.base)
        studies = self.run_folder.studies.rows()
        targets = self._targets(studies, "sft")
        examples = emphasize(
            policy.tokenizer, encode(policy, targets), [t.text for t in targets], weight=self.spec.finding_weight
        )
        examples, dropped = drop_long(examples, max_tokens=self.max_tokens)
        held_out, _ = drop_long(encode(policy, self._targets(studies, "validation")), max_tokens=self.max_tokens)
        freeze(policy.model, self.frozen)
        features = tower_features(policy.model, policy.processor, {k for e in examples + held_out for k in e.images})
        pad = policy.tokenizer.pad_token_id
        batches = plan(examples, epochs=self.spec.epochs, batch_size=self.spec.global_batch, seed=self.key.seed)
        step = sft_step(policy.model, examples, features, pad_id=pad)
        optimization = Optimization(self.spec.learning_rate, weight_decay=self.spec.weight_decay)
        log = fit(
            policy.model,
            batches,
            step,
            optimization,
            folder=folder,
            label="train sft",
            fingerprint=self.key.fingerprint,
            threads=self.threads,
        )
        validation = {"validation_nll": mean_nll(policy.model, held_out, features, pad_id=pad)} if held_out else {}
        save_checkpoint(policy.model, policy.processor, folder)
        forget(folder)
        artifact.finish(
            folder,
            self.key,
            rows=len(examples),
            seconds=log.seconds,
            log=log.rows,
            dropped=dropped,
            extra=validation,
        )

    def _targets(self, studies: Sequence[Study], split: str) -> list[Target]:
        return [
            Target(
                ask_of(s, self.template.fill(s).text, root=self.run_folder.root, max_images=self.max_images),
                s.reference,
            )
            for s in studies
            if s.split == split
        ]
