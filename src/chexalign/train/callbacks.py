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

    def __init__(self, gather: Any = None) -> None:
        self._gather = gather
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
    """Adds tokens per second and peak memory to each row of the log."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Peak memory is the accelerator's where there is one, and else the process's."""
        if not logs or "tokens" not in logs:
            return
        now = time.perf_counter()
        row = state.log_history[-1]
        row["tokens_per_second"] = logs["tokens"] / max(now - self._last, 1e-9)
        self._last = now
        if torch.cuda.is_available():
            row["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
        else:
            row["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CLOCK_FIELDS = ("tokens_per_second", "peak_memory_mb")


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

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Looks at the last steps."""
        if not logs or "chosen_tokens" not in logs:
            return
        self._rows.append(logs)
        if len(self._rows) == self._rows.maxlen:
            self._look("chosen_log_ratio", "rejected_log_ratio", state)

    def _look(self, chosen: str, rejected: str, state: Any) -> None:
        def mean(name: str) -> float:
            return sum(row[name] for row in self._rows) / len(self._rows)

        if chosen in self._rows[0] and mean(chosen) < -self._displacement and mean(rejected) < mean(chosen):
            self._warn(
                "likelihood_displacement",
                f"chosen reports became less probable by {-mean(chosen):.1f} nats, rejected ones by "
                f"{-mean(rejected):.1f} (step {state.global_step}); a lower learning rate or an SFT term holds them",
                state,
            )
        if "length_correlation" in self._rows[0] and abs(mean("length_correlation")) > self._correlation:
            way = "longer" if mean("length_correlation") > 0 else "shorter"
            self._warn(
                "length_drift",
                f"reward margins follow length: {way} reports win (correlation {mean('length_correlation'):+.2f}, "
                f"step {state.global_step}); lc_dpo or an lc judge holds the length",
                state,
            )

    def _warn(self, name: str, message: str, state: Any) -> None:
        if name in self.warnings:
            return
        self.warnings[name] = message
        if state.is_world_process_zero:
            print(f"warning: {message}", file=sys.stderr)
