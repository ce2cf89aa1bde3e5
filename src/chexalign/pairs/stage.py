"""The stages that turn scores into pairs or verdicts; they read tables alone, so another rule costs seconds."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chexalign import atomic
from chexalign.errors import UserError
from chexalign.pairs.agreement import Agreement, agreements
from chexalign.pairs.audit import audit_columns, audit_verdicts
from chexalign.pairs.build import build_columns
from chexalign.pairs.read import read_candidates, read_patients, read_scores
from chexalign.pairs.rules import PairRule
from chexalign.pairs.verdicts import VerdictRule, build_verdicts, verdict_table
from chexalign.recipe import Arm, MinedArm, folder_name
from chexalign.registry import registry
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.store import Table
from chexalign.types import Pair, Verdict


def make_rule(arm: Arm, *, seed: int) -> PairRule:
    """The arm's pair rule; a rule that draws random numbers is given the run's seed.

    Raises: UserError when the rule gives verdicts, lacks an option or does not take one.
    """
    rule = _made(arm, seed)
    if hasattr(rule, "sort"):
        raise UserError(
            f"pairs.rule is {arm.pairs.rule}, and train.algorithm is {arm.train.algorithm}.",
            "The rule finds single candidates desirable or not, and the algorithm learns from pairs.",
            "Use kto, which can learn from single candidates, or a rule that gives pairs, such as best_worst.",
        )
    pairs: PairRule = rule
    return pairs


def check_rule(arm: Arm, *, seed: int) -> None:
    """Makes the arm's rule, so that what is wrong with it is told before anything is spent.

    Raises: UserError as `make_rule` does, and for a rule of verdicts under an algorithm that learns from pairs alone.
    """
    if gives_verdicts(arm) and hasattr(registry("losses").get(arm.train.algorithm), "verdicts"):
        _made(arm, seed)
    else:
        make_rule(arm, seed=seed)


def gives_verdicts(arm: Arm | MinedArm) -> bool:
    """Whether the arm's rule gives verdicts on single candidates, and not pairs; mined questions give pairs."""
    return isinstance(arm, Arm) and hasattr(registry("pair_rules").get(arm.pairs.rule), "sort")


def table_of_arm(run: RunFolder, name: str, arm: Arm | MinedArm) -> Table[Pair] | Table[Verdict]:
    """Where what an arm learns from lies: pairs/NAME, or verdicts/NAME."""
    return verdict_table(run, name) if gives_verdicts(arm) else run.pairs(name)


def judge_agreement(run: RunFolder, judges: Sequence[str]) -> list[Agreement]:
    """How far the judges of these score folders agree, by twos; it is kept in pairs/agreement.json.

    Every score must be there.
    """
    columns, values = read_candidates(run), {}
    for judge in sorted(set(judges)):
        label, ids, found = read_scores(run, judge)
        values[judge] = columns.values(label, ids, found)
    by_twos = agreements(columns, values)
    atomic.write_json(run.agreement, [dataclasses.asdict(two) for two in by_twos])
    return by_twos


@dataclass(frozen=True, slots=True)
class PairsWorker:
    """All pairs of an arm in one part, with the audit of what was preferred."""

    run: RunFolder
    arm: Arm
    seed: int

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Pair]:
        """The pairs, ordered by prompt, and why other prompts gave none."""
        columns = read_candidates(self.run)
        judge, ids, values = read_scores(self.run, folder_name(self.arm.judge))
        values = columns.values(judge, ids, values)
        built = build_columns(columns, values, rule=make_rule(self.arm, seed=self.seed), judge=judge)
        account = audit_columns(columns, values, built, patients=read_patients(self.run))
        return PartResult(built.records(), built.dropped, extra={"audit": dataclasses.asdict(account)})


@dataclass(frozen=True, slots=True)
class VerdictsWorker:
    """All verdicts of an arm in one part, with the audit of what was found desirable."""

    run: RunFolder
    arm: Arm
    seed: int

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Verdict]:
        """The verdicts, ordered by prompt, and why other prompts gave none."""
        columns = read_candidates(self.run)
        judge, ids, values = read_scores(self.run, folder_name(self.arm.judge))
        rule: VerdictRule = _made(self.arm, self.seed)
        values = columns.values(judge, ids, values)
        verdicts, dropped = build_verdicts(columns, values, rule=rule, judge=judge)
        account = audit_verdicts(columns, values, verdicts, dropped=dropped, patients=read_patients(self.run))
        return PartResult(verdicts, dropped, extra={"audit": dataclasses.asdict(account)})


def _made(arm: Arm, seed: int) -> Any:
    """The rule with the options of the recipe, checked against those that it takes."""
    spec, found = arm.pairs, registry("pair_rules").get(arm.pairs.rule)
    takes = inspect.signature(found).parameters
    options: dict[str, Any] = {"min_margin": spec.min_margin, **spec.options}
    if "seed" in takes:
        options["seed"] = seed
    own = [name for name in takes if name not in ("min_margin", "seed")]
    needed = [name for name in own if takes[name].default is inspect.Parameter.empty]
    if strange := sorted(set(spec.options) - set(own)):
        raise UserError(
            f"pairs.options of {spec.rule}: {', '.join(strange)}",
            f"that rule takes {', '.join(own) or 'no options'}",
            f"remove {strange[0]}",
        )
    if lacking := [name for name in needed if name not in options]:
        raise UserError(
            f"pairs.options of {spec.rule}: {lacking[0]} is missing",
            f"that rule needs {', '.join(needed)}, and a scientific choice has no default",
            f"add it, as in `pairs: {{rule: {spec.rule}, options: {{{lacking[0]}: ...}}}}`",
        )
    return found(**options)
