"""Recipes that tests write and change, and what is said when they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chexalign.errors import UserError
from chexalign.recipe.load import load_recipe

EXAMPLE = """\
# A recipe with every block, written here so that tuning the built-in ones changes no test.
#
#     chexalign run example
#
# Cost: nothing, it is only read.

run: example
seed: 11
data: {source: openi-phantom, split: {sft: 1600, prefer: 900, validation: 200, test: 581}}
policy:
  model: tiny
  freeze: [vision]
sft: {epochs: 3, learning_rate: 1.0e-3, global_batch: 32}
sample: {n: 4, temperature: 1.0, max_new_tokens: 96}
train: {algorithm: dpo, beta: 0.1, learning_rate: 2.0e-4, epochs: 1, global_batch: 16}
arms:
  dpo_label: {judge: chexpert, pairs: {rule: best_worst}}
  dpo_bertscore: {judge: bertscore, pairs: {rule: best_worst}}
  null_pairs: {judge: chexpert, pairs: {rule: coin_flip}}
evaluate: {metrics: [chexpert, bertscore, rouge_l, bleu_4], bootstrap: 1000, level: 0.90}
"""

MINING = """\
run: mining
data: {source: openi-phantom, split: {sft: 160, prefer: 40, test: 40}}
policy: {model: tiny, max_images: 2}
sft: {epochs: 2, learning_rate: 1.0e-3, global_batch: 16}
questions:
  collections: [{source: rsna, sft: 800}, {source: slake}]
mine:
  collection: rsna
  confidence: {aggregate: geometric_mean, span: answer}
  failures: most_confident_wrong
  seeds: 20
  likeness: q+e
  counterfactual: {own: first}
  train: {algorithm: dpo, beta: 0.1, learning_rate: 2.0e-4}
  arms:
    dpo_mined: {select: mined}
    dpo_random: {select: random, train: {beta: 0.2}}
    ipo_mined: {select: mined, train: {algorithm: ipo, tau: 0.3}}
    sft_mined: {select: mined, train: {algorithm: sft, learning_rate: 1.0e-4}}
"""


def writer(folder: Path) -> Callable[..., Path]:
    """A function that writes the example, with one text in the place of another, and returns its path."""

    def write(old: str = "", new: str = "", text: str = EXAMPLE) -> Path:
        assert old in text
        path = folder / "x.yaml"
        path.write_text(text.replace(old, new) if old else text)
        return path

    return write


def problem(path: Path, *overrides: str) -> UserError:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    return caught.value


def plain() -> dict[str, Any]:
    return {
        "run": "one",
        "data": {"source": "openi-phantom", "split": {"prefer": 4, "test": 3}},
        "policy": {"model": "models/sft"},
        "judge": "chexpert",
        "pairs": {"rule": "best_worst"},
        "train": {"algorithm": "dpo", "beta": 0.1, "learning_rate": 2e-4},
    }
