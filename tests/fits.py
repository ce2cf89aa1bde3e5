"""Small trainings of tiny models: rows with reference log-probs, images as tensors, and one call to train."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chexalign.losses.dpo import DPO
from chexalign.losses.ipo import IPO
from chexalign.losses.kto import KTO
from chexalign.losses.lc_dpo import LCDPO
from chexalign.losses.orpo import ORPO
from chexalign.policy.families import family_of
from chexalign.train.fit import FitLog, fit
from chexalign.train.objective import Objective, Pairs, Supervised, Verdicts
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import separate_logps
from chexalign.train.rows import Row
from chexalign.train.settings import Settings
from tests import vlms

SETTINGS = Settings(learning_rate=3e-3, global_batch=4)

# Each with the completions that a row holds for it, and whether it needs log-probs of the reference policy.
OBJECTIVES: dict[str, tuple[Objective, int, bool]] = {
    "sft": (Supervised(), 1, False),
    "dpo": (Pairs(DPO(beta=0.1)), 2, True),
    "lc_dpo": (Pairs(LCDPO(beta=0.1, alpha=0.05)), 2, True),
    "ipo": (Pairs(IPO(tau=0.5)), 2, True),
    "kto": (Pairs(KTO(beta=0.1)), 3, True),
    "kto_verdicts": (Verdicts(KTO(beta=0.1)), 2, True),
    "orpo": (Pairs(ORPO(lambda_=0.5)), 2, False),
}


@dataclass(frozen=True)
class Held:
    """A Vision that holds the image inputs of each example, by its image keys."""

    family: Any
    rows: Mapping[tuple[str, ...], dict[str, torch.Tensor]]

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        return self.family.collate_images([self.rows[tuple(keys)] for keys in images])


@functools.cache
def _made(name: str, attn: str, seed: int) -> Any:
    return vlms.make(name, attn, seed=seed)


def model_of(name: str = "llava_llama", attn: str = "sdpa", *, seed: int = 0) -> Any:
    """A copy that the test may change."""
    return copy.deepcopy(_made(name, attn, seed))


def data(name: str, model: Any, *, rows: int, branches: int, n_images: int = 1) -> tuple[list[Example], Held]:
    """Examples named row-0, row-1, ..., and their images."""
    examples, held = [], {}
    for i in range(rows):
        (example,), vision = vlms.examples(name, model, n_images=n_images, rows=1, branches=branches, seed=i)
        images = tuple(f"{i}-{k}" for k in range(n_images))
        examples.append(dataclasses.replace(example, id=f"row-{i}", images=images))
        held[images] = vision
    return examples, Held(family_of(model), held)


@torch.no_grad()
def with_ref(ref_model: Any, examples: Sequence[Example], vision: Held) -> list[Row]:
    """Rows with the log-probs of the reference policy, every other one undesirable."""
    found = []
    for i, e in enumerate(examples):
        sums = separate_logps(ref_model, pack([e], pad_id=0), vision.inputs([e.images])).sums()
        found.append(Row(e, tuple(sums[0].tolist()), desirable=i % 2 == 0, weight=1.0 + i % 3))
    return found


def rows_for(objective: str, model: Any, *, rows: int = 8, name: str = "llava_llama") -> tuple[list[Row], Held]:
    """Rows for one of OBJECTIVES, with `model` as the reference policy."""
    _, branches, needs_ref = OBJECTIVES[objective]
    examples, vision = data(name, model, rows=rows, branches=branches)
    return (with_ref(model, examples, vision) if needs_ref else [Row(e) for e in examples]), vision


def train(
    model: Any, rows: Sequence[Row], objective: Objective, folder: Path, *, vision: Any, **changes: Any
) -> FitLog:
    """A training with SETTINGS; `changes` are settings, or arguments of `fit`."""
    names = {f.name for f in dataclasses.fields(Settings)}
    settings = dataclasses.replace(SETTINGS, **{k: v for k, v in changes.items() if k in names})
    more: dict[str, Any] = {"label": "test", "fingerprint": "f", "seed": 1, "pad_id": 0, "starts_at_ref": True}
    more |= {k: v for k, v in changes.items() if k not in names}
    return fit(model, rows, objective, settings, vision=vision, folder=folder, **more)


def weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the state."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two states are the same bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())
