"""What each of the processes does that tests/pipeline/test_ddp.py launches."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from chexalign.recipe import LoraSpec
from chexalign.train import callbacks, launch
from chexalign.train.freeze import freeze
from chexalign.train.lora import add_lora
from tests import fits

# 22 rows, 8 per update: the last batch holds 6, so that two processes fill it up.
CASES: dict[str, dict[str, Any]] = {
    "dpo": {},
    "kto": {},
    "sft": {},
    "kto_verdicts": {},
    "dpo, two at once": {"per_device": 2},
    "dpo, adapters": {"lora": True},
    "dpo, tower": {"frozen": []},
    "dpo, held out": {"held_out": 3},
}


def curve(case: str, folder: Path) -> list[dict[str, float]]:
    """The log of one small training."""
    options = dict(CASES[case])
    objective = case.partition(",")[0]
    model = fits.model_of()
    rows, vision = fits.rows_for(objective, model, rows=22)
    freeze(model, options.pop("frozen", ["vision"]))
    if options.pop("lora", False):
        model = add_lora(model, LoraSpec(r=4, alpha=16), ["vision"], seed=1)
    apart = options.pop("held_out", 0)
    options |= {"held_out": rows[-apart:], "eval_steps": 1} if apart else {}
    train = rows[: len(rows) - apart]
    options |= {"global_batch": 8, "epochs": 1, "starts_at_ref": objective != "sft"}
    return fits.train(model, train, fits.OBJECTIVES[objective][0], folder, vision=vision, **options).rows


def curves(folder: Path) -> None:
    """Every case, written by the first process."""
    logs = {case: curve(case, folder / case) for case in CASES}
    if launch.is_first():
        (folder / "curves.json").write_text(json.dumps(logs))
    launch.finish()


def resumed(folder: Path) -> None:
    """One training in one go, and one that stops after its second update and goes on; both logs are written."""
    callbacks.SAVE_EVERY_SECONDS = callbacks._SAVE_SHARE = 0.0
    whole = curve("dpo", folder / "whole")
    step_end = callbacks.Progress.on_step_end

    def stop(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            raise KeyboardInterrupt

    callbacks.Progress.on_step_end = stop  # type: ignore[method-assign]
    with contextlib.suppress(KeyboardInterrupt):
        curve("dpo", folder / "again")
    callbacks.Progress.on_step_end = step_end  # type: ignore[method-assign]
    if launch.is_first():
        (folder / "left").write_text(" ".join(path.name for path in (folder / "again" / "steps").glob("checkpoint-*")))
    again = curve("dpo", folder / "again")
    if launch.is_first():
        (folder / "logs.json").write_text(json.dumps([whole, again]))
    launch.finish()


def order(folder: Path) -> None:
    """The first process works alone, and decides for both."""
    first = launch.is_first()

    def work() -> float:
        if first:
            time.sleep(1.0)
            (folder / "made").write_text("by the first")
        return float((folder / "made").read_text() == "by the first")

    found = launch.first_alone(work)
    decided = launch.first_decides(lambda: "first" if first else "second")
    (folder / f"found-{first}.json").write_text(json.dumps([found, decided]))
    launch.finish()


def fails(folder: Path) -> None:
    """The second process meets a row whose reference log-prob is not a number."""
    model = fits.model_of()
    rows, vision = fits.rows_for("dpo", model)
    bad = [dataclasses.replace(row, ref=(float("nan"), 0.0)) if i % 3 == 0 else row for i, row in enumerate(rows)]
    rows = rows if launch.is_first() else bad
    fits.train(model, rows, fits.OBJECTIVES["dpo"][0], folder, vision=vision, epochs=50, starts_at_ref=False)


def first_fails(folder: Path) -> None:
    """The first process fails while the other one waits for it."""

    def work() -> None:
        if launch.is_first():
            raise ValueError("told by the first process")
        (folder / "went on").touch()

    launch.first_alone(work)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
