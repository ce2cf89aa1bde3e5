"""Per-question values of all runs over the questions that they share, and the accuracies that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chexalign.compare.side import Side
from chexalign.compare.studies import PAIR_LEVEL, Found, System
from chexalign.evaluate.answers import asked
from chexalign.evaluate.tasks import Asked, TaskResults, measure_tasks, task_estimates
from chexalign.ids import keyed_seed
from chexalign.run_folder import SFT
from chexalign.stats import Bootstrap
from chexalign.store import Manifest
from chexalign.types import Answer, Estimate, Question


class Questions:
    """The questions that all runs which asked any share, and what every policy answered.

    Where these runs asked the same ones, estimates are those of their estimates.json; else they are computed again on
    the questions that are shared, and where none are, only each run's own are told.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self.by_side: dict[str, list[Question]] = {}
        for side in sides:
            if found := _asked(side):
                self.by_side[side.label] = found
        ids = [{q.id for q in questions} for questions in self.by_side.values()]
        shared = set.intersection(*ids) if ids else set()
        self.same = all(one == shared for one in ids)
        self.n_shared = len(shared)
        first = next(iter(self.by_side.values()), [])
        self.shared = Asked([q for q in first if q.id in shared])
        self._seed = next((side.recipe for side in sides if side.label in self.by_side), None)
        self._found: dict[str, dict[tuple[str, str], Found]] = {}
        self._results: dict[str, TaskResults] = {}
        self._differences: dict[tuple[str, str], dict[str, Estimate]] = {}

    def find(self, system: System, metric: str) -> Found | None:
        """The estimate of an accuracy, or None where the run has none."""
        return self._of_side(system.side).get((metric, system.policy))

    def metrics(self, sides: Sequence[Side]) -> list[str]:
        """The accuracies of whole tasks and their mean, in the order they come."""
        found = dict.fromkeys(metric for side in sides for metric, _ in self._of_side(side))
        return [m for m in found if m.startswith("task.") and m.endswith(".accuracy") and m.count(".") == 2]

    def difference(self, one: System, other: System, metric: str) -> Estimate | None:
        """The paired difference in an accuracy on the shared questions, with a 95% interval."""
        pair = (one.name, other.name)
        if pair not in self._differences:
            mine, theirs = self.result(one), self.result(other)
            rows = []
            if mine is not None and theirs is not None and self.n_shared:
                bootstrap, split = self.bootstrap(one.side, "compare", PAIR_LEVEL), split_of(one.side)
                rows = task_estimates(self.shared, [mine, theirs], bootstrap, split=split, baseline=other.name)
            self._differences[pair] = {e.metric: e for e in rows if e.baseline is not None}
        return self._differences[pair].get(metric)

    def _of_side(self, side: Side) -> dict[tuple[str, str], Found]:
        if side.label in self._found:
            return self._found[side.label]
        own = [e for e in side.numbers.estimates if e.metric.startswith("task.") and e.baseline is None]
        rows, source = own, f"{side.label}/estimates.json"
        if side.label in self.by_side and not self.same and self.n_shared:
            policies = [System(side, policy) for policy in side.policies]
            results = [(system, self.result(system)) for system in policies]
            known = [replace(result, name=system.policy) for system, result in results if result is not None]
            if any(result.name == SFT for result in known):
                bootstrap = self.bootstrap(side, "tasks", side.recipe.evaluate.level)
                rows = task_estimates(self.shared, known, bootstrap, split=split_of(side), baseline=SFT)
                source = f"{side.label}/answers"
        self._found[side.label] = {
            (e.metric, e.policy): Found(e, f"{source}: {e.metric} of {e.policy}") for e in rows if e.baseline is None
        }
        return self._found[side.label]

    def answers(self, system: System) -> list[Answer] | None:
        """What a policy answered, whole collections; None where some of it is not there."""
        block = system.side.recipe.questions
        if system.side.label not in self.by_side or block is None:
            return None
        tables = [system.side.run.answers(c.source, system.policy) for c in block.collections if c.evaluate]
        if any(Manifest.load(table.folder) is None for table in tables):
            return None
        return [answer for table in tables for answer in table.iter_rows()]

    def result(self, system: System) -> TaskResults | None:
        """What a policy answered to the shared questions; None where some of its answers are not there."""
        if system.name not in self._results:
            if (answers := self.answers(system)) is None:
                return None
            self._results[system.name] = measure_tasks(system.name, self.shared, answers)
        return self._results[system.name]

    def bootstrap(self, side: Side, purpose: str, level: float) -> Bootstrap:
        """Resamples of the patients of the shared questions, the same for every two runs that are compared."""
        recipe = self._seed if purpose == "compare" and self._seed is not None else side.recipe
        seed = keyed_seed(recipe.seed, "bootstrap", purpose)
        return Bootstrap(self.shared.patients, seed=seed, resamples=recipe.evaluate.bootstrap, level=level)


def split_of(side: Side) -> str:
    """The split of the questions that a run asked."""
    return side.recipe.questions.split if side.recipe.questions else side.split


def _asked(side: Side) -> list[Question]:
    """The questions that the run asked, of collections whose tables are finished."""
    block, found = side.recipe.questions, []
    for collection in block.collections if block else ():
        table = side.run.questions(collection.source)
        if block is not None and collection.evaluate and Manifest.load(table.folder) is not None:
            found += asked(side.run, collection.source, block.split, collection.limit)
    return found
