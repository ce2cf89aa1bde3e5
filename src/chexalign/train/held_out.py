"""Rows that training does not see: which they are, and what their loss decides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from chexalign.ids import keyed_seed
from chexalign.train.launch import is_first
from chexalign.train.resume import load_state, save_state


def held_out_prompts(prompt_ids: Iterable[str], *, share: float, seed: int) -> set[str]:
    """A share of the prompts, at least one of several and never all, drawn by id: other prompts move none of them."""
    prompts = sorted(set(prompt_ids), key=lambda i: keyed_seed(seed, "hold_out", i))
    wanted = max(1, round(share * len(prompts)))
    return set(prompts[: min(wanted, len(prompts) - 1)])


class HeldOut(TrainerCallback):
    """Keeps the weights of the best look at the held-out rows, and stops after `patience` looks without a better one.

    All that it goes by is the trainer's log, which checkpoints hold, so an interruption changes nothing. Where `folder`
    is None, as under sharded weights, no weights are kept.
    """

    def __init__(self, folder: Path | None, *, patience: int | None) -> None:
        self._folder, self._patience = folder, patience

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Saves, stops, or lets training go on."""
        looks = _looks(state)
        since = len(looks) - 1 - looks.index(_best(looks))
        if since == 0 and self._folder is not None and is_first():
            save_state(model, self._folder)
        if self._patience is not None and since >= self._patience:
            control.should_training_stop = True
            control.should_save = False  # resumed from here, training would take one more step

    def take_best(self, model: Any, state: Any) -> dict[str, Any]:
        """Gives the model the best look's weights where they are kept; returns what was found, for the manifest."""
        looks = _looks(state)
        if not looks:
            return {}
        best = _best(looks)
        last = best["step"] == state.global_step
        if self._folder is not None and not last:
            load_state(model, self._folder)
        kept = best["step"] if self._folder is not None else state.global_step
        return {"best_step": best["step"], "best_loss": best["eval_loss"], "kept_step": kept}


def _looks(state: Any) -> list[dict[str, Any]]:
    return [row for row in state.log_history if "eval_loss" in row]


def _best(looks: list[dict[str, Any]]) -> dict[str, Any]:
    return min(looks, key=lambda row: row["eval_loss"])
