"""What happens beside the steps of a training: progress, checkpoints by the clock, warnings."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from typing import Any

import torch
from transformers import TrainerCallback

from chexalign.progress import Bar

# A checkpoint is due this long after the last one, but saving never takes more than one part in twenty of the time.
SAVE_EVERY_SECONDS = 20.0
_SAVE_SHARE = 20.0


class Progress(TrainerCallback):
    """Moves a bar on and shows the loss."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step on."""
        self._bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Shows the last loss."""
        if logs and "loss" in logs:
            self._bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)


class SaveByClock(TrainerCallback):
    """Asks for a checkpoint when one is due; all processes follow the first one's clock."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._took = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Sets `should_save`; the last step needs none, as its result is written by the caller."""
        self._asked = time.perf_counter()
        due = self._asked - self._last > max(SAVE_EVERY_SECONDS, _SAVE_SHARE * self._took)
        if args.world_size > 1:
            flag = torch.tensor([float(due)], device=args.device)
            torch.distributed.broadcast(flag, src=0)
            due = bool(flag.item())
        control.should_save = due and state.global_step < state.max_steps

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Takes the time."""
        self._last = time.perf_counter()
        self._took = self._last - self._asked


class Clock(TrainerCallback):
    """Adds to each row of the log the seconds since the last one, tokens per second and peak memory."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Peak memory is the accelerator's where there is one, and else the process's."""
        if not logs or "tokens" not in logs:
            return
        now = time.perf_counter()
        row = state.log_history[-1]
        row["seconds"], self._last = now - self._last, now
        row["tokens_per_second"] = logs["tokens"] / max(row["seconds"], 1e-9)
        if torch.cuda.is_available():
            row["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
        else:
            row["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CLOCK_FIELDS = ("seconds", "tokens_per_second", "peak_memory_mb")


class Watch(TrainerCallback):
    """Warns once of each of two ways in which preference training goes wrong while its loss looks fine.

    Likelihood displacement: over the last steps both log-ratios fell below zero, so the policy makes the chosen reports
    less probable too (Razin et al. 2024, arXiv:2410.08847). Length: the margins follow the difference in length, so the
    policy learns to write longer or shorter and not better.
    """

    def __init__(self, window: int = 20, displacement: float = 1.0, correlation: float = 0.6) -> None:
        self._rows: deque[dict[str, float]] = deque(maxlen=window)
        self._displacement, self._correlation = displacement, correlation
        self.warnings: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Looks at what was logged before an interruption, so that it changes no warning."""
        for row in state.log_history:
            self._look(row, int(row["step"]), state.is_world_process_zero)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Looks at the last steps."""
        self._look(logs or {}, state.global_step, state.is_world_process_zero)

    def _look(self, row: dict[str, float], step: int, talks: bool) -> None:
        if "chosen_tokens" not in row:
            return
        self._rows.append(row)
        if len(self._rows) < (self._rows.maxlen or 0):
            return
        chosen, rejected, correlation = map(
            self._mean, ("chosen_log_ratio", "rejected_log_ratio", "length_correlation")
        )
        if chosen < -self._displacement and rejected < chosen:
            self._warn(
                "likelihood_displacement",
                f"chosen reports became less probable by {-chosen:.1f} nats, rejected ones by {-rejected:.1f} "
                f"(step {step}); a lower learning rate or an SFT term holds them",
                talks,
            )
        if abs(correlation) > self._correlation:
            self._warn(
                "length_drift",
                f"reward margins follow length: {'longer' if correlation > 0 else 'shorter'} reports win (correlation "
                f"{correlation:+.2f}, step {step}); lc_dpo or an lc judge holds the length",
                talks,
            )

    def _mean(self, name: str) -> float:
        """Over the window; 0 where the objective does not log it, which warns of nothing."""
        return sum(row.get(name, 0.0) for row in self._rows) / len(self._rows)

    def _warn(self, name: str, message: str, talks: bool) -> None:
        if name in self.warnings:
            return
        self.warnings[name] = message
        if talks:
            print(f"warning: {message}", file=sys.stderr)
