"""A sweep carried out: shared stages once, then trials, here or in several processes, then sweep.json."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import atomic, processes
from chexalign.errors import UserError
from chexalign.recipe import Arm, folder_name
from chexalign.run_folder import SFT, RunFolder
from chexalign.sweep.search import Asked, Search, Told
from chexalign.sweep.space import Grid, Range
from chexalign.sweep.summary import Row, Ruler, summarize
from chexalign.sweep.trials import SPLIT, Chosen, Outcome, Trial, TrialFolder, value_at
from chexalign.workflow import Workflow

SUMMARY = "sweep.json"
ArmOf = Callable[[Mapping[str, str]], Arm]  # the arm with these values at keys of the recipe


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept, and how."""

    chosen: Chosen
    space: Grid | Mapping[str, Range]
    n: int  # trials of TPE; those of a grid are all of its combinations
    arm_of: ArmOf
    name: str = "sweep"
    workers: int = 1

    def folder(self, run: RunFolder) -> Path:
        """Where the sweep's account lies: beside the run's folder, which it leaves as it is."""
        return _beside(run) / self.name

    def about(self) -> dict[str, Any]:
        """All that the trials depend on, as plain values; a sweep that goes on must be equal in it."""
        chosen, grid = self.chosen, {}
        for key, values in self.space.items():
            grid[key] = [values.low, values.high, values.log] if isinstance(values, Range) else list(values)
        return {
            "run": chosen.base.run,
            "recipe": chosen.base.digest(),
            "arm": chosen.arm,
            "select": folder_name(chosen.select),
            "split": SPLIT,
            "seed": chosen.base.seed,
            "space": grid,
        }


def carry_out(sweep: Sweep, run: RunFolder) -> dict[str, Any]:
    """What is in sweep.json, after every trial that has not ended yet; the caller holds the run's folder.

    Raises: UserError when no trial came to its end, or a worker process was killed; what has ended stays.
    """
    chosen, shared = sweep.chosen, TrialFolder(run.root, _beside(run) / "trials", SFT)
    folder, spec = sweep.folder(run), chosen.base.evaluate
    with Search(folder, sweep.space, sweep.n, seed=chosen.base.seed, about=sweep.about()) as search:
        Workflow(chosen.base, run).scores(chosen.base.resolved_arms()[chosen.arm].judge)
        Workflow(chosen.baseline, shared).metric(chosen.select, SFT)
        ruler = Ruler.of(shared, spec, seed=chosen.base.seed, lc=folder_name(chosen.select), raw=chosen.raw)
        while due := search.due():
            _round(sweep, search, ruler, due)
        rows = [_row(sweep, ruler, told) for told in search.told()]
    found = summarize(ruler, ruler.measure(SFT), rows, sweep.about())
    atomic.write_json(folder / SUMMARY, found)
    if found["picked"] is None:
        raise UserError(
            f"None of the {len(rows)} trials came to its end.",
            f"The first: {rows[0].reason}",
            f"{folder / SUMMARY} has all reasons; to try the same again, delete {folder}.",
        )
    return found


def _round(sweep: Sweep, search: Search, ruler: Ruler, due: Sequence[Asked]) -> None:
    """Carries trials out and tells how each ended; those with equal parameters are one piece of work."""
    trials, asked_by = {}, defaultdict(list)
    for asked in due:
        trial = _trial(sweep, ruler.run, asked)
        trials[trial.name] = trial
        asked_by[trial.name].append(asked)
    for outcome in _outcomes(list(trials.values()), sweep.workers):
        score, reason = None, outcome.reason
        if reason is None:
            score = ruler.score(ruler.measure(outcome.name))
            reason = None if score is not None else "The judge could score none of the reports."
        for asked in asked_by[outcome.name]:
            search.tell(asked.number, score=score, reason=reason, seconds=outcome.seconds)
            values = ", ".join(f"{key}={value}" for key, value in asked.values.items())
            print(f"trial {asked.number} ({values}): {reason or f'{ruler.lc} {score:.3f}'}", file=sys.stderr)


def _beside(run: RunFolder) -> Path:
    return run.root.parent / f"{run.root.name}.sweeps"


def _trial(sweep: Sweep, folder: TrialFolder, asked: Asked) -> Trial:
    name, recipe = sweep.chosen.trial(sweep.arm_of(asked.values))
    recipe = recipe.model_copy(update={"workers": max(1, recipe.workers // sweep.workers)})
    return Trial(name, recipe, dataclasses.replace(folder, trial=name), sweep.chosen.select)


def _row(sweep: Sweep, ruler: Ruler, told: Told) -> Row:
    arm = sweep.arm_of(told.values)
    name = sweep.chosen.trial(arm)[0]
    measured = ruler.measure(name) if told.score is not None else None
    parameters = {key: value_at(arm, key) for key in sweep.space}
    return Row(told.number, name, parameters, measured, told.reason, told.seconds)


def _outcomes(trials: Sequence[Trial], workers: int) -> Iterator[Outcome]:
    """How each trial ended, as they end; one worker is this process.

    Raises: UserError when a worker was killed.
    """
    if workers == 1:
        yield from (trial.carry_out() for trial in trials)
        return
    context = processes.context()
    with ProcessPoolExecutor(
        min(workers, len(trials)), context, initializer=_prepare_worker, initargs=(context.Value("i", 0), _gpus())
    ) as pool:
        try:
            for future in as_completed([pool.submit(trial.carry_out) for trial in trials]):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process of the sweep was killed.",
                "The usual cause is too little memory for the number of workers.",
                "Run the same command again with fewer --workers; it goes on where it stopped.",
            ) from error
        except BaseException:  # such as Ctrl-C: a training would else be waited for to its end
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them; it lets go of what it keeps of them."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


def _prepare_worker(counter: Any, gpus: Sequence[str]) -> None:
    """Gives each worker one GPU, and makes it end with the process that started it."""
    processes.end_with_parent()
    with counter.get_lock():
        index, counter.value = counter.value, counter.value + 1
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
