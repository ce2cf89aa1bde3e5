"""The trials of a sweep: arms of one recipe that share all that comes before their pairs."""

from __future__ import annotations

import difflib
import fcntl
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.policy.remote import register_remote
from chexalign.recipe import Arm, JudgeSpec, Recipe, folder_name
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import SFT, RunFolder
from chexalign.store import Table
from chexalign.sweep.space import BLOCKS
from chexalign.types import Pair, Prediction, Score
from chexalign.workflow import Workflow

SPLIT: Literal["validation"] = (
    "validation"  # what trials are compared on; the test split is for the one that was chosen
)


@dataclass(frozen=True, slots=True)
class TrialFolder(RunFolder):
    """A run folder in which what trials make lies elsewhere, under `own`; all that they share is the run's."""

    own: Path
    trial: str

    def pairs(self, arm: str) -> Table[Pair]:
        """Preference pairs of a trial."""
        return Table(self.own / "pairs" / arm, Pair)

    def policy(self, name: str) -> Path:
        """The run's SFT policy, or the checkpoint of a trial."""
        return RunFolder.policy(self, name) if name == SFT else self.own / "policy" / name

    @property
    def ref_logps(self) -> Path:
        """Log-probs of the candidates that this trial uses; they come from the cache that all trials share."""
        return self.own / "ref_logps" / self.trial

    def predictions(self, policy: str) -> Table[Prediction]:
        """What a policy writes for the validation split."""
        return Table(self.own / "predictions" / policy, Prediction)

    def metric(self, judge: str, policy: str) -> Table[Score]:
        """Scores of the predictions for the validation split."""
        return Table(self.own / "metrics" / judge / policy, Score)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which arm of a recipe is swept, and by which judge its trials are compared."""

    base: Recipe
    arm: str
    select: JudgeSpec  # a length-controlled one

    @property
    def raw(self) -> str:
        """The name of the judge without length control."""
        return folder_name(self.select.inner[0])

    def trial(self, arm: Arm) -> tuple[str, Recipe]:
        """The name of a trial, which is that of its parameters, and its recipe: one arm, on the validation split."""
        name = f"t-{ids.digest(arm.model_dump(mode='json', by_alias=True), length=10)}"
        return name, self._recipe(name, arm)

    @property
    def baseline(self) -> Recipe:
        """The recipe by which the SFT policy is measured on the validation split."""
        return self._recipe(self.arm, self.base.resolved_arms()[self.arm])

    def _recipe(self, name: str, arm: Arm) -> Recipe:
        plain = {key: value for key, value in self.base.to_dict().items() if key != "mine"}
        plain["arms"] = {name: arm.model_dump(mode="json", by_alias=True)}
        plain["evaluate"] |= {"split": SPLIT, "metrics": [self.select.model_dump(mode="json")]}
        return Recipe.model_validate(plain)


def choose(recipe: Recipe, arm: str | None, select: str | None) -> Chosen:
    """The arm to sweep, which must be named where there are several, and the judge, by the name of its folder.

    Raises: UserError for a name that is not there, a judge without length control, and a recipe whose validation split
    is empty or learned from.
    """
    arms = list(recipe.resolved_arms())
    if not arms or arm in recipe.mined_arms():
        raise UserError(
            f"--arm {arm}" if arm else f"The recipe {recipe.run} has no arm that learns from candidates.",
            "Trials share candidates and are compared by a judge of reports; a mined set is learned from otherwise.",
            f"Name one of: {', '.join(arms)}."
            if arms
            else "Give each value a run with --set run=NAME --set KEY=VALUE.",
        )
    if arm is None and len(arms) > 1:
        raise _not_one("The recipe has several arms", arms, "--arm", arms[0])
    if arm is not None and arm not in arms:
        raise _not_one(f"--arm {arm}", arms, "--arm", _nearest(arm, arms))
    arm = arm or arms[0]
    known = {folder_name(judge): judge for judge in _length_controlled(recipe, arm)}
    if select is None:
        own = recipe.resolved_arms()[arm].judge
        if own.name == "panel":
            raise _not_one("The arm's judge is a panel, which scores no single report", list(known), "--select")
        select = next(iter(known))
    if select not in known:
        raise _not_one(f"--select {select}", list(known), "--select", _nearest(select, list(known)))
    _check_split(recipe)
    return Chosen(recipe, arm, known[select])


def arm_of(path: Path | str, sets: Sequence[str], chosen: Chosen, values: Mapping[str, str], option: str) -> Arm:
    """The swept arm with these values at these keys of the recipe, as `--set` would put them there.

    Raises: UserError for an unknown key (it names the nearest), a wrong value, a parameter of another algorithm, and a
    key of what all trials share; `option` is what its text calls the place where the values were given.
    """
    several = len(chosen.base.resolved_arms()) > 1
    own = {key: f"arms.{chosen.arm}.{key}" if several and key.partition(".")[0] in BLOCKS else key for key in values}
    try:
        recipe = load_recipe(path, [*sets, *(f"{own[key]}={value}" for key, value in values.items())])
    except UserError as error:
        raise UserError(error.what.replace("--set", option, 1), error.why, error.fix) from None
    for key in values:
        if key.partition(".")[0] not in BLOCKS:
            raise UserError(
                f"{option} {key}",
                "All trials share the stages before pairs, so they differ in keys of train and pairs alone.",
                f"Set it for the whole sweep with --set {key}=VALUE, and name that run with --set run=NAME.",
            )
    return recipe.resolved_arms()[chosen.arm]


def value_at(arm: Arm, key: str) -> Any:
    """The value that an arm has at a dotted key."""
    value: Any = arm.model_dump(mode="json", by_alias=True)
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that is to be carried out."""

    name: str
    recipe: Recipe
    run: TrialFolder
    select: JudgeSpec

    def carry_out(self) -> Outcome:
        """Trains the trial, has it write reports for the validation split and has these scored.

        What fails is told in the outcome: a UserError in its own words, which hold no text of a report, any other error
        by its kind and place alone.
        """
        started, reason = time.perf_counter(), None
        try:
            if self.recipe.policy.trust_remote_code:
                register_remote(Path(self.recipe.policy.model))
            workflow = Workflow(self.recipe, self.run)
            with _one_at_a_time(self.run.own / ".ref_logps.lock"):  # or several would compute the same log-probs
                workflow.ref_logps()
            workflow.metric(self.select, self.name)
        except UserError as error:
            reason = f"{error.what} {error.why}"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__} in {Path(place.filename).name} line {place.lineno}"
        return Outcome(self.name, reason, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: `reason` is None where it came to its end."""

    name: str
    reason: str | None
    seconds: float


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Waits until no other process is in here."""
    atomic.make_folder(path.parent)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _length_controlled(recipe: Recipe, arm: str) -> Iterator[JudgeSpec]:
    """The judges that trials can be compared by, that of the arm first."""
    for judge in (*recipe.resolved_arms()[arm].judge.measures, *recipe.measured()):
        yield judge.unlimited if judge.name == "lc" else JudgeSpec(name="lc", of=judge.unlimited)


def _check_split(recipe: Recipe) -> None:
    if not recipe.data.split.get(SPLIT):
        raise UserError(
            f"The recipe {recipe.run} has no studies for validation.",
            "Trials are compared on the validation split, so that the test split stays unseen.",
            f"Give data.split.{SPLIT} a number of studies.",
        )
    if recipe.sample.split == SPLIT:
        raise UserError(
            f"sample.split is {SPLIT}.",
            "Trials would be compared on the studies that they learn from.",
            "Draw candidates for another split, such as prefer.",
        )


def _nearest(name: str, names: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.3)), names[0])


def _not_one(what: str, names: list[str], option: str, example: str = "") -> UserError:
    return UserError(what, f"{option} takes one of: {', '.join(names)}", f"write {option} {example or names[0]}")
