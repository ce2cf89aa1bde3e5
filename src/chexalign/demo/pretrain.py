"""Pretraining of the tiny policy's decoder: first on report text, then on naming the codes of an image.

Without the second step SFT alone learns to ignore the image. Reports are mixed into it, so that writing is not
forgotten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file

from chexalign import artifact, atomic
from chexalign.data.templates import get_template
from chexalign.demo.codes import caption
from chexalign.demo.loop import Optimization, StepLoss, cut_batches, fit, forget
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.demo.tower import WEIGHTS, Phantom, coded_studies, decode_png, phantom_table
from chexalign.ids import keyed_seed
from chexalign.policy.asks import ask_of
from chexalign.policy.base import Ask
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.train.emphasis import emphasize
from chexalign.train.examples import Target, drop_long, encode
from chexalign.train.freeze import freeze
from chexalign.train.objective import Supervised
from chexalign.train.pack import Example
from chexalign.train.prefix import shared_logps
from chexalign.train.rows import Collator, Row, vision_inputs
from chexalign.train.vision import TowerFeatures, cached_tower, files, tower_features
from chexalign.types import Study

_BATCH = 16
_MAX_TOKENS = 160
_LANGUAGE = Optimization(learning_rate=2e-3, weight_decay=0.01)
_CAPTION = Optimization(learning_rate=1.5e-3, weight_decay=0.01)


@dataclass(frozen=True, slots=True)
class LanguageJob:
    """Makes the tokenizer and the model, and trains the decoder on the sft split's report text alone."""

    run_folder: RunFolder
    epochs: int
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the checkpoint is there already."""
        folder = self.run_folder.pretrained("language")
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        studies = sft_studies(self.run_folder)
        texts = [text for s in studies for text in (s.indication, s.reference, caption(s.codes)) if text]
        tokenizer = train_tokenizer(texts)
        model, processor = build_model(tokenizer, seed=keyed_seed(self.key.seed, "model")), build_processor(tokenizer)
        save_checkpoint(model, processor, folder)
        policy = HFPolicy(folder)
        template = get_template("findings@1")
        targets = [Target(s.id, Ask(template.fill(s).text, ()), (s.reference,)) for s in studies]
        examples, dropped = drop_long(encode(policy, targets), max_tokens=_MAX_TOKENS)
        freeze(policy.model, {"vision", "projector"})
        step = decoder_step(policy.model, examples, TowerFeatures({}), pad_id=tokenizer.pad_token_id)
        lengths = [e.n_tokens for e in examples]
        batches = cut_batches(lengths, epochs=self.epochs, batch_size=_BATCH, seed=self.key.seed)
        log = fit(
            policy.model,
            batches,
            step,
            _LANGUAGE,
            folder=folder,
            label="train decoder",
            fingerprint=self.key.fingerprint,
            threads=self.threads,
        )
        save_checkpoint(policy.model, policy.processor, folder)
        forget(folder)
        artifact.finish(folder, self.key, rows=len(examples), seconds=log.seconds, log=log.rows, dropped=dropped)


@dataclass(frozen=True, slots=True)
class CaptionJob:
    """Joins tower and decoder: the decoder learns to name the codes of an image, with some reports mixed in.

    Captions are learned on every phantom of a study, so that what is learned is to read an image and not to know it.
    """

    run_folder: RunFolder
    epochs: int
    report_share: float
    finding_weight: float
    threads: int
    key: StageKey

    def run(self) -> None:
        """Does nothing when the checkpoint is there already."""
        folder = self.run_folder.pretrained("caption")
        if artifact.finished(folder, self.key):
            return
        atomic.make_folder(folder)
        policy = HFPolicy(self.run_folder.pretrained("language"))
        tower = load_file(self.run_folder.pretrained("tower") / WEIGHTS)
        policy.model.model.vision_tower.load_state_dict(tower)
        phantoms = phantom_table(self.run_folder).rows()
        train_on_phantoms(
            policy,
            self._examples(policy, phantoms),
            phantoms,
            _CAPTION,
            folder=folder,
            label="train on captions",
            epochs=self.epochs,
            threads=self.threads,
            key=self.key,
        )

    def _examples(self, policy: HFPolicy, phantoms: list[Phantom]) -> list[Example]:
        """A caption for every image of a coded study, and reports for a share of the sft split."""
        root, coded = self.run_folder.root, coded_studies(self.run_folder)
        codes, findings = get_template("codes@1"), get_template("findings@1")
        captions = encode(
            policy,
            [Target(s.id, ask_of(s, codes.fill(s).text, root=root, max_images=1), (caption(s.codes),)) for s in coded],
        )
        of_study = {s.id: e for s, e in zip(coded, captions, strict=True)}
        more = [dataclasses.replace(of_study[p.study_id], images=(p.key,)) for p in phantoms]
        studies = sft_studies(self.run_folder)
        told = studies[: round(self.report_share * len(studies))]
        targets = [
            Target(s.id, ask_of(s, findings.fill(s).text, root=root, max_images=1), (s.reference,)) for s in told
        ]
        reports = emphasize(
            policy.tokenizer, encode(policy, targets), [t.texts[0] for t in targets], weight=self.finding_weight
        )
        return captions + more + reports


def train_on_phantoms(
    policy: HFPolicy,
    examples: Sequence[Example],
    phantoms: Sequence[Phantom],
    optimization: Optimization,
    *,
    folder: Path,
    label: str,
    epochs: int,
    threads: int,
    key: StageKey,
) -> None:
    """Trains projector and decoder on examples whose images are files or phantoms, and keeps the checkpoint."""
    model, processor = policy.model, policy.processor
    examples, dropped = drop_long(examples, max_tokens=_MAX_TOKENS)
    freeze(model, {"vision"})
    drawn = ((p.key, Image.fromarray(decode_png(p.png)).convert("RGB")) for p in phantoms)
    own = {image for e in examples for image in e.images} - {p.key for p in phantoms}
    features = tower_features(model, processor, files(own)) | tower_features(model, processor, drawn)
    step = decoder_step(model, examples, features, pad_id=policy.tokenizer.pad_token_id)
    batches = cut_batches([e.n_tokens for e in examples], epochs=epochs, batch_size=_BATCH, seed=key.seed)
    with cached_tower(model):
        log = fit(
            model,
            batches,
            step,
            optimization,
            folder=folder,
            label=label,
            fingerprint=key.fingerprint,
            threads=threads,
        )
    save_checkpoint(model, processor, folder)
    forget(folder)
    artifact.finish(folder, key, rows=len(examples), seconds=log.seconds, log=log.rows, dropped=dropped)


def decoder_step(model: Any, examples: Sequence[Example], vision: TowerFeatures, *, pad_id: int) -> StepLoss:
    """A step of supervised training on completion tokens."""
    rows, collate, objective = [Row(e) for e in examples], Collator(vision, pad_id), Supervised()

    def step(indices: Sequence[int], _: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = collate([(i, rows[i]) for i in indices])
        out = objective(shared_logps(model, batch, vision_inputs(batch)), batch, lambda tensor: tensor)
        return out.total / objective.items(batch), {"tokens": float(len(batch["weights"]))}

    return step


def sft_studies(run: RunFolder) -> list[Study]:
    """The studies whose reports the tiny policy learns from."""
    return [s for s in run.studies.iter_rows() if s.split == "sft"]
