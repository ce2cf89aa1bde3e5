"""The model card says what a checkpoint is and what it is not for, and its text counts in no digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chexalign import artifact
from chexalign.stage import StageKey
from chexalign.train.card import About, card, write_card

ABOUT = About(
    name="dpo_label",
    base="sft",
    algorithm="dpo",
    spec={"beta": 0.1, "learning_rate": 1e-6},
    lora=None,
    frozen=("vision",),
    recipe="0123456789abcdef",
    licenses=("CC BY-NC-ND 4.0",),
    synthetic_images=True,
)
SHARED = {"shared": True, "tolerance": 1e-5, "disagreement": 2.3e-7}


def text(**changes: Any) -> str:
    given = {"rows": 90, "dropped": {"longer_than_the_context": 2}, "checks": {"prefix_sharing": SHARED}, "steps": 6}
    return card(**{"about": ABOUT, **given, **changes})


def test_it_says_what_was_done_and_what_the_model_is_not_for() -> None:
    found = text()
    assert found.startswith("---\nlibrary_name: transformers\n")
    for part in (
        "Not for clinical use",
        "| base | `sft` |",
        "beta 0.1",
        "90 in 6 updates",
        "longer_than_the_context 2",
        "`0123456789abcdef`",
        "within 2.3e-07",
        "CC BY-NC-ND 4.0",
        "drawn, not radiographs",
        "estimates.json",
        "| frozen | vision |",
        "- Warnings: none.",
    ):
        assert part in found


def test_questions_that_were_learned_from_have_licenses_of_their_own() -> None:
    assert "License of the questions" not in text()
    found = text(about=replace(ABOUT, question_licenses=("CC BY 4.0",)))
    assert "- License of the questions: CC BY 4.0. What it asks of derived works holds" in found


def test_it_says_what_went_wrong() -> None:
    off = {"shared": False, "tolerance": 1e-5, "disagreement": 0.2, "reason": "log-probs differ by 2.0e-01"}
    found = text(checks={"prefix_sharing": off, "warnings": {"length_drift": "reward margins follow length"}})
    assert "Shared prompts: not used, log-probs differ" in found
    assert "- Warning: reward margins follow length." in found
    assert "not compared" in text(checks={"prefix_sharing": None})


def test_it_says_which_weights_were_kept() -> None:
    looks = {"rows": 4, "best_step": 3, "best_loss": 0.61, "kept_step": 3}
    found = text(checks={"prefix_sharing": SHARED, "held_out": looks})
    assert "lowest loss 0.6100 after update 3; the weights are those after update 3" in found


def test_editing_the_card_leaves_the_checkpoint_finished(tmp_path: Path) -> None:
    key = StageKey("train", {}, {}, 1)
    write_card(tmp_path, ABOUT, rows=1, dropped={}, checks={}, steps=1)
    (tmp_path / "config.json").write_text("{}")
    artifact.finish(tmp_path, key, rows=1, seconds=0.0)
    (tmp_path / "README.md").write_text("mine")
    assert artifact.finished(tmp_path, key) is not None
    (tmp_path / "config.json").write_text("{ }")
    assert artifact.finished(tmp_path, key) is None
