"""A policy on its way through a training: loaded, frozen in part, with adapters or without, and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign.data.questions import TRAIN
from chexalign.policy.hf import HFPolicy
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.train.card import About
from chexalign.train.finish import finish_policy
from chexalign.train.fit import FitLog
from chexalign.train.freeze import Part, freeze
from chexalign.train.lora import add_lora, load_nf4
from chexalign.train.settings import Precision
from chexalign.train.vision import Vision, choose_vision


@dataclass(frozen=True, slots=True)
class Trainee:
    """A checkpoint made ready to train; `model` is that of `policy`, in its adapters where it has some."""

    base: Path
    policy: HFPolicy
    model: Any

    @classmethod
    def load(cls, base: Path, frozen: Sequence[Part], lora: Any, *, seed: int) -> Trainee:
        """Loads `base`, freezes those parts, and adds the adapters of a LoraSpec, or none for None."""
        policy = HFPolicy(base)
        if lora is not None and lora.quantize is not None:
            policy.model = load_nf4(base)
        freeze(policy.model, frozen)
        model = policy.model if lora is None else add_lora(policy.model, lora, frozen, seed=seed)
        return cls(base, policy, model)

    def vision(self, images: Sequence[Sequence[str]], *, precision: Precision = "fp32") -> Vision:
        """Where the image inputs of these examples come from."""
        return choose_vision(self.policy.model, self.policy.processor, images, precision=precision)

    def finish(self, folder: Path, key: StageKey, log: FitLog, *, about: About, rows: int, **more: Any) -> None:
        """Writes the checkpoint; see `finish_policy`."""
        finish_policy(
            self.model, self.policy.processor, folder, key, log, base=self.base, about=about, rows=rows, **more
        )


def about_training(
    run: RunFolder,
    name: str,
    *,
    base: str,
    algorithm: str,
    spec: Any,
    lora: Any,
    frozen: Sequence[Part],
    recipe: str,
    questions: Iterable[str] = (),
) -> About:
    """What the card says beside the numbers; `spec` and `lora` are blocks of the recipe.

    `questions` are the collections whose questions were learned from.
    """
    studies = run.studies.rows()
    asked = {q.license for collection in questions for q in run.questions(collection).iter_rows() if q.split == TRAIN}
    return About(
        name=name,
        base=base,
        algorithm=algorithm,
        spec={key: value for key, value in _plain(spec).items() if key != "algorithm"},
        lora=_plain(lora) if lora is not None else None,
        frozen=frozen,
        recipe=recipe,
        licenses=sorted({study.license for study in studies}),
        synthetic_images=any(image.synthetic for study in studies for image in study.images),
        question_licenses=sorted(asked),
    )


def _plain(block: Any) -> dict[str, Any]:
    """A block of a recipe as plain values."""
    values: dict[str, Any] = block.model_dump(mode="json", by_alias=True)
    return values
