"""The order of trials: an Optuna study in SQLite, which knows after a kill what was done and what was under way."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.sweep.space import Grid, Range, expand

DATABASE = "optuna.db"
TOGETHER = 4  # trials that TPE draws before it is told of any of them, however many workers there are
_NAME = "sweep"


def need_optuna() -> None:
    """Raises: UserError when optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise UserError(
            "A sweep needs the package optuna, which is not installed.",
            "It keeps the trials in a database and draws new ones.",
            "Run `pip install 'chexalign[sweep]'`.",
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial that is to be carried out, with the values at keys of the recipe as they are written there."""

    number: int
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """A trial that has ended: with a score, or with the reason for which it has none."""

    number: int
    values: dict[str, str]
    score: float | None
    reason: str | None
    seconds: float


class Search:
    """Trials of a grid, each once and in order, or `n` trials of TPE over ranges.

    Which values a trial gets depends on its number, the seed and what was told of the trials before, never on how often
    the sweep was stopped or how many workers it had: TPE draws four at a time, each with a seed of its own.
    Trials under way when the process ended come first again. One process at a time may have a search open.
    """

    def __init__(self, folder: Path, space: Grid | Mapping[str, Range], n: int, *, seed: int, about: Any) -> None:
        """`about` is all that the sweep depends on, as plain values.

        Raises: UserError when the folder holds a sweep that differs in it.
        """
        need_optuna()
        import optuna
        from sqlalchemy.pool import NullPool

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        atomic.make_folder(folder)
        self._seed, self._space, self._n = seed, space, n
        self._choices = {key: values for key, values in space.items() if isinstance(values, tuple)}
        self._ranges = {key: range_ for key, range_ in space.items() if isinstance(range_, Range)}
        self._storage = optuna.storages.RDBStorage(
            f"sqlite:///{folder / DATABASE}", engine_kwargs={"poolclass": NullPool}
        )
        self._study = optuna.create_study(
            storage=self._storage, study_name=_NAME, direction="maximize", sampler=self._sampler(0), load_if_exists=True
        )
        self._check(folder, about)
        for values in expand(self._choices):
            self._study.enqueue_trial(values, skip_if_exists=True)

    def __enter__(self) -> Search:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def due(self) -> list[Asked]:
        """The trials to carry out next: those under way, and new ones where a whole round is told; none at the end."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        begun = [t for t in trials if t.state != TrialState.WAITING]
        ended = sum(t.state.is_finished() for t in begun)
        end = len(trials) if self._choices else min(self._n, (ended // TOGETHER + 1) * TOGETHER)
        asked = [Asked(t.number, self._written(t.params)) for t in begun if not t.state.is_finished()]
        for number in range(len(begun), end):
            self._study.sampler = self._sampler(number)
            trial = self._study.ask(self._distributions())
            asked.append(Asked(trial.number, self._written(trial.params)))
        return asked

    def tell(self, number: int, *, score: float | None, reason: str | None, seconds: float) -> None:
        """Ends a trial; it is never asked for again."""
        from optuna.trial import Trial, TrialState

        trial = Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))
        trial.set_user_attr("reason", reason)
        trial.set_user_attr("seconds", seconds)
        self._study.tell(number, score, state=TrialState.COMPLETE if score is not None else TrialState.FAIL)

    def told(self) -> list[Told]:
        """The trials that have ended, by number."""
        return [
            Told(t.number, self._written(t.params), t.value, t.user_attrs["reason"], t.user_attrs["seconds"])
            for t in self._study.get_trials(deepcopy=False)
            if t.state.is_finished()
        ]

    def _sampler(self, number: int) -> Any:
        """TPE for the trial of that number. Those of a grid wait in a queue: GridSampler would shuffle them."""
        import optuna

        seed = ids.keyed_seed("sweep", self._seed, number) % 2**32
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, Any] = {key: CategoricalDistribution(values) for key, values in self._choices.items()}
        for key, r in self._ranges.items():
            if r.whole:
                found[key] = IntDistribution(int(r.low), int(r.high), log=r.log)
            else:
                found[key] = FloatDistribution(r.low, r.high, log=r.log)
        return found

    def _check(self, folder: Path, about: Any) -> None:
        known = self._study.user_attrs.get("about")
        if known is None:
            self._study.set_user_attr("about", about)
        elif known != about:
            differ: Iterable[str] = (key for key in about if known.get(key) != about[key])
            raise UserError(
                f"The folder {folder} holds another sweep (different: {', '.join(sorted(differ))}).",
                "Its trials would be mixed with those of this one.",
                "Give this sweep a name with --name NAME; trials that both have are not trained again.",
            )

    @staticmethod
    def _written(params: Mapping[str, Any]) -> dict[str, str]:
        return {key: value if isinstance(value, str) else repr(value) for key, value in sorted(params.items())}
