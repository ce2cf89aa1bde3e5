"""The tables of docs/training.md: what training costs against TRL, and each algorithm against DPO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from train_cases import CASES

Cell = Callable[..., str]
SAVINGS = {
    "no_sharing": "one forward for both completions of a prompt",
    "no_feature_cache": "features of the frozen tower computed once",
    "ref_on_the_fly": "reference log-probs computed before training",
}
ALGORITHMS = {"dpo": "DPO", "lc_dpo": "LC-DPO", "ipo": "IPO", "kto": "KTO", "orpo": "ORPO"}
PUBLISHED = {"dpo": "1.0", "lc_dpo": "1.0", "ipo": "1.0", "kto": "2.2", "orpo": "0.7"}  # Table 1 of the paper


def speed_rows(content: Mapping[str, Any], cell: Cell) -> list[list[str]]:
    """Step and one-epoch time against TRL's trainer, by case; then KTO, ORPO and memory."""
    figures = content["figures"]
    labels = {case: made.words(content["shape"]) for case, made in CASES.items()}
    rows = []
    for case, label in (labels | {"trainable_tower": "one image, vision tower trained too"}).items():
        step = figures.get(f"train.step_speedup_vs_trl.{case}")
        epoch = figures.get(f"train.one_epoch_speedup_vs_trl.{case}")
        if step:
            rows.append([f"DPO, {label}", cell(step), cell(epoch), checked(step)])
    for key, label in (
        ("train.kto_speedup_vs_trl", "KTO on pairs, two images"),
        ("train.orpo_speedup_vs_unshared", "ORPO, two images, against our own unshared path"),
    ):
        if key in figures:
            rows.append([label, cell(figures[key]), "–", checked(figures[key])])
    return rows


def saving_rows(content: Mapping[str, Any], cell: Cell) -> list[list[str]]:
    """What a step takes without one saving, over what it takes with all of them."""
    figures = content["figures"]
    return [
        [label, *[cell(figures.get(f"train.saving.{name}.{case}")) for case in CASES]]
        for name, label in SAVINGS.items()
    ]


def algorithm_rows(content: Mapping[str, Any], cell: Cell) -> list[list[str]]:
    """An epoch of each algorithm over one of DPO, reference pass included, beside the paper's; the loss's own share."""
    figures = content["figures"]
    return [
        [
            label,
            cell(figures.get(f"train.epoch_time_vs_dpo.{name}")),
            PUBLISHED[name],
            share(figures.get(f"train.loss_share_of_step.{name}")),
        ]
        for name, label in ALGORITHMS.items()
    ]


def checked(figure: Mapping[str, Any]) -> str:
    """The equality that the figure rests on."""
    return str(figure["checked"])


def share(figure: Mapping[str, Any] | None) -> str:
    """A share of a step in percent."""
    return "–" if figure is None else f"{100 * figure['value']:.3f} %"
