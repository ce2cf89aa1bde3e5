"""The stage that turns scores into pairs; it reads tables alone, so another rule costs seconds."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any

from chexalign.pairs.audit import audit
from chexalign.pairs.rules import PairRule, build_pairs
from chexalign.recipe import Arm, folder_name
from chexalign.registry import registry
from chexalign.run_folder import RunFolder
from chexalign.spread import PartResult
from chexalign.types import Pair


def make_rule(arm: Arm, *, seed: int) -> PairRule:
    """The arm's pair rule; a rule that draws random numbers is given the run's seed."""
    found = registry("pair_rules").get(arm.pairs.rule)
    options: dict[str, Any] = {"min_margin": arm.pairs.min_margin}
    if "seed" in inspect.signature(found).parameters:
        options["seed"] = seed
    rule: PairRule = found(**options)
    return rule


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
        candidates = self.run.candidates.rows()
        scores = self.run.scores(folder_name(self.arm.judge)).rows()
        judge = scores[0].judge if scores else ""
        pairs, dropped = build_pairs(candidates, scores, rule=make_rule(self.arm, seed=self.seed), judge=judge)
        account = dataclasses.asdict(audit(pairs, candidates, scores, dropped=dropped)) if pairs else {}
        return PartResult(pairs, dropped, extra={"audit": account})
