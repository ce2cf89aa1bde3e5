"""When a checkpoint is due, what the log gets, and the two warnings, on made-up clocks and logs."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from chexalign.train import callbacks
from chexalign.train.callbacks import CLOCK_FIELDS, Clock, Progress, SaveByClock, Watch

ARGUMENTS = SimpleNamespace(world_size=1)


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(callbacks, "time", time)
    return time


def state_at(step: int, steps: int = 1000) -> Any:
    return SimpleNamespace(global_step=step, max_steps=steps, is_world_process_zero=True, log_history=[{}])


def saves(clock: Time, *, steps: int, step_seconds: float, save_seconds: float) -> list[int]:
    """The steps after which a checkpoint is written."""
    saver, control, found = SaveByClock(), SimpleNamespace(should_save=False), []
    for step in range(1, steps + 1):
        clock.now += step_seconds
        saver.on_step_end(ARGUMENTS, state_at(step, steps), control)
        if control.should_save:
            found.append(step)
            clock.now += save_seconds
            saver.on_save(ARGUMENTS, state_at(step, steps), control)
    return found


def test_a_checkpoint_is_due_every_twenty_seconds(clock: Time) -> None:
    assert saves(clock, steps=50, step_seconds=1.0, save_seconds=0.0) == [21, 42]


def test_saving_takes_at_most_one_part_in_twenty(clock: Time) -> None:
    """Ten seconds each: the next one is due 200 seconds later, whatever 20 seconds say."""
    found = saves(clock, steps=1000, step_seconds=1.0, save_seconds=10.0)
    assert found[0] == 21
    assert {b - a for a, b in pairwise(found)} == {201}


def test_the_last_step_needs_no_checkpoint(clock: Time) -> None:
    assert saves(clock, steps=3, step_seconds=30.0, save_seconds=0.0) == [1, 2]


def test_the_clock_adds_its_fields_and_nothing_else(clock: Time) -> None:
    callback, state = Clock(), state_at(1)
    clock.now += 4.0
    callback.on_log(ARGUMENTS, state, None, logs={"loss": 1.0, "tokens": 200.0})
    assert state.log_history[-1].keys() == set(CLOCK_FIELDS)
    assert state.log_history[-1]["tokens_per_second"] == 50.0
    assert state.log_history[-1]["peak_memory_mb"] > 10
    silent = state_at(1)
    callback.on_log(ARGUMENTS, silent, None, logs={"eval_loss": 1.0})
    assert silent.log_history == [{}]


def test_the_bar_moves_and_shows_the_loss() -> None:
    seen: list[Any] = []
    bar: Any = SimpleNamespace(update=lambda: seen.append(1), set_postfix_str=lambda text, refresh: seen.append(text))
    progress = Progress(bar)
    progress.on_step_end(None, None, None)
    progress.on_log(None, None, None, logs={"loss": 0.69314})
    progress.on_log(None, None, None, logs={"eval_loss": 2.0})
    assert seen == [1, "loss 0.693"]


# Warnings -------------------------------------------------------------------------------------------------------------

GOOD = {
    "chosen_tokens": 40.0,
    "rejected_tokens": 30.0,
    "chosen_log_ratio": 0.5,
    "rejected_log_ratio": -6.0,
    "length_correlation": 0.1,
}


def watched(rows: list[dict[str, float]]) -> Watch:
    watch = Watch()
    for step, row in enumerate(rows, start=1):
        watch.on_log(ARGUMENTS, state_at(step), None, logs=row)
    return watch


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        GOOD | {"chosen_log_ratio": -0.9, "rejected_log_ratio": -9.0},  # within a nat
        GOOD | {"chosen_log_ratio": -5.0, "rejected_log_ratio": -4.0},  # no displacement: rejected fell less
        GOOD | {"length_correlation": -0.59},
        {k: v for k, v in GOOD.items() if "log_ratio" not in k},  # orpo has no reference policy
        {"nll": 2.0},  # supervised training
    ],
)
def test_good_logs_give_no_warning(row: dict[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    assert watched([row] * 60).warnings == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        ({"chosen_log_ratio": -3.0}, "likelihood_displacement", "less probable by 3.0 nats, rejected ones by 6.0"),
        ({"length_correlation": 0.8}, "length_drift", "longer reports win (correlation +0.80"),
        ({"length_correlation": -0.8}, "length_drift", "shorter reports win (correlation -0.80"),
    ],
)
def test_bad_logs_give_one_warning_once(
    change: dict[str, float], name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = watched([GOOD | change] * 60)
    assert watch.warnings.keys() == {name}
    assert says in watch.warnings[name]
    assert "step 20" in watch.warnings[name]  # as soon as the window is full
    assert capsys.readouterr().err.count("warning:") == 1


def test_a_few_bad_steps_are_no_trend() -> None:
    bad = GOOD | {"chosen_log_ratio": -3.0, "length_correlation": 0.9}
    assert watched([bad] * 19).warnings == {}
    assert watched([GOOD] * 15 + [bad] * 5).warnings == {}


def test_only_the_first_process_talks(capsys: pytest.CaptureFixture[str]) -> None:
    watch, state = Watch(window=1), state_at(1)
    state.is_world_process_zero = False
    watch.on_log(ARGUMENTS, state, None, logs=GOOD | {"length_correlation": 0.9})
    assert watch.warnings.keys() == {"length_drift"}
    assert capsys.readouterr().err == ""


def test_an_interruption_changes_no_warning() -> None:
    bad = GOOD | {"length_correlation": 0.9}
    state = state_at(25)
    state.log_history = [bad | {"step": step} for step in range(1, 26)]
    resumed = Watch()
    resumed.on_train_begin(ARGUMENTS, state, None)
    assert resumed.warnings == watched([bad] * 25).warnings != {}
