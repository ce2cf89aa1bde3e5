"""A dear judge for a share of the candidates: those that a cheap judge puts highest and lowest, and what that loses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.ids import keyed_seed
from chexalign.judges.base import Judgement
from chexalign.run_folder import RunFolder
from chexalign.stats import FEWEST_CLUSTERS
from chexalign.store import Manifest, Table
from chexalign.types import Estimate, Score

REFUSED = Judgement(None, status="refused", reason="budget")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A candidate as far as the budget looks at it."""

    id: str
    text: str
    first: float | None  # the cheap judge's value


@dataclass(frozen=True, slots=True)
class Plan:
    """Which candidates are scored under a budget."""

    prompts: Mapping[str, Sequence[Drawn]]  # candidates of each prompt, in the order of their draws
    kept: Mapping[str, frozenset[str]]  # of each prompt, those that the rule keeps
    checked: frozenset[str]  # prompts that are scored in full besides, to see what the rule loses

    @property
    def refused(self) -> frozenset[str]:
        """The candidates that the judge is not asked about."""
        return frozenset(
            drawn.id
            for prompt, all_drawn in self.prompts.items()
            if prompt not in self.checked
            for drawn in all_drawn
            if drawn.id not in self.kept[prompt]
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of one judge in one run: the share, whose scores come first, and how many prompts are checked."""

    run: RunFolder
    share: float
    first: str  # folder of the cheap judge's scores
    check: float
    seed: int

    def plan(self) -> Plan:
        """Which candidates to score, the same in every process; reads candidates and the cheap judge's scores."""
        value = {score.candidate_id: score.value for score in self.run.scores(self.first).iter_rows()}
        prompts: dict[str, list[Drawn]] = {}
        for c in sorted(self.run.candidates.iter_rows(), key=lambda c: c.draw):
            prompts.setdefault(c.prompt_id, []).append(Drawn(c.id, c.text, value[c.id]))
        by_lot = sorted(prompts, key=lambda prompt: keyed_seed(self.seed, "budget", prompt))
        n_checked = max(math.ceil(self.check * len(prompts)), FEWEST_CLUSTERS)
        kept = {prompt: keep(drawn, self.share) for prompt, drawn in prompts.items()}
        return Plan(prompts, kept, frozenset(by_lot[:n_checked]))


def keep(drawn: Sequence[Drawn], share: float) -> frozenset[str]:
    """The candidates of one prompt that a dear judge is asked about: the k highest and k lowest of the cheap judge.

    k is half of `share` of the candidates, rounded down, and at least 1, as a pair needs two. Equal texts are one, so
    a prompt with one text keeps none: whatever the judge would say, nothing could be chosen. Among equal values the
    lower draw is the higher. Candidates that the cheap judge could not score are kept besides.
    """
    texts: dict[str, float | None] = {}
    for each in drawn:
        texts.setdefault(each.text, each.first)
    if len(texts) < 2:
        return frozenset()
    known = sorted((-first, at, text) for at, (text, first) in enumerate(texts.items()) if first is not None)
    k = max(1, int(share * len(drawn) / 2 + 1e-9))
    chosen = {text for *_, text in [*known[:k], *known[-k:]]} | {text for text, first in texts.items() if first is None}
    return frozenset(each.id for each in drawn if each.text in chosen)


def choice_differs(plan: Plan, scores: Mapping[str, float | None], *, split: str, level: float) -> Estimate:
    """The share of prompts whose best or worst score the budget misses, from the prompts that were scored in full.

    Another candidate with the same score counts as the same choice. The interval is the exact binomial one, since
    a bootstrap of no misses has no width; each prompt is taken as independent.
    """
    missed = n = 0
    for prompt in sorted(plan.checked):
        full = {each.id: value for each in plan.prompts[prompt] if (value := scores[each.id]) is not None}
        under = [value for id_, value in full.items() if id_ in plan.kept[prompt]]
        n += 1
        if len(set(full.values())) > 1:
            missed += not under or max(under) < max(full.values()) or min(under) > min(full.values())
    return _share(missed, n, split, level)


def spread_kept(plan: Plan, scores: Mapping[str, float | None]) -> float | None:
    """How far best and worst lie apart under the budget, as a share of how far they do in full (checked prompts)."""
    full = under = 0.0
    for prompt in sorted(plan.checked):
        known = {each.id: value for each in plan.prompts[prompt] if (value := scores[each.id]) is not None}
        kept = [value for id_, value in known.items() if id_ in plan.kept[prompt]]
        full += max(known.values()) - min(known.values()) if known else 0.0
        under += max(kept) - min(kept) if kept else 0.0
    return under / full if full else None


def with_budget(table: Table[Score], manifest: Manifest, budget: Budget, *, split: str, level: float) -> Manifest:
    """The manifest, saved with the budget and how often the choice of best and worst differs for it."""
    if "budget" in manifest.extra:
        return manifest
    plan, scores = budget.plan(), {score.candidate_id: score.value for score in table.iter_rows()}
    account: dict[str, Any] = {
        "share": budget.share,
        "first": budget.first,
        "prompts": len(plan.prompts),
        "checked": len(plan.checked),
        "spread": spread_kept(plan, scores),
        "differs": dataclasses.asdict(choice_differs(plan, scores, split=split, level=level)),
    }
    manifest = dataclasses.replace(manifest, extra=manifest.extra | {"budget": account})
    manifest.save(table.folder)
    return manifest


def _share(k: int, n: int, split: str, level: float) -> Estimate:
    from scipy.stats import binomtest

    interval = binomtest(k, n).proportion_ci(level, method="exact") if n else None
    return Estimate(
        metric="budget.choice_differs",
        policy="sft",
        split=split,
        value=k / n if n else None,
        low=float(interval.low) if interval else None,
        high=float(interval.high) if interval else None,
        level=level,
        n=n,
        n_clusters=n,
        method="exact binomial interval over prompts drawn by lot" if n else "no prompts",
    )
