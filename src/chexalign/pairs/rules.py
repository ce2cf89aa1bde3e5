"""Which candidates become a preference: chosen and rejected, from the scores that a judge gave."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chexalign.errors import UserError
from chexalign.ids import digest, keyed_seed
from chexalign.types import Candidate, Pair, Score


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate as a rule sees it: its score and size, not its text."""

    candidate_id: str
    draw: int
    value: float | None  # None: the judge could not score it
    n_words: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a prompt gives no pair."""

    reason: str


class PairRule(Protocol):
    """Turns the scored candidates of one prompt into pairs, or says why there is none."""

    @property
    def name(self) -> str:
        """The rule with every parameter, as it stands in `Pair.rule`."""
        ...

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """The pairs of one prompt; must not depend on the order of `scored`."""
        ...


class BestWorst:
    """Prefers the best-scored candidate to the worst-scored one, if their scores differ by more than `min_margin`.

    Unscored and empty candidates take no part; among equal scores the lowest draw is taken.
    Source: the CheXalign paper, whose code keeps a pair when the two scores differ by more than 1e-8.
    """

    def __init__(self, *, min_margin: float) -> None:
        self.min_margin = _checked_margin(min_margin)

    @property
    def name(self) -> str:
        """E.g. `best_worst(min_margin=1e-08)`."""
        return f"best_worst(min_margin={self.min_margin!r})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = _extremes(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        best, worst = found
        return [make_pair(prompt_id, best, worst, judge=judge, rule=self.name)]


class CoinFlip:
    """The null of `BestWorst`: the same two candidates of the same prompts, put in order by a fair coin.

    Training on these pairs shows what the procedure does when the preferences carry no information.
    The coin depends on `seed` and the prompt alone. `margin` is negative where the coin went against the judge.
    """

    def __init__(self, *, min_margin: float, seed: int) -> None:
        self.min_margin, self.seed = _checked_margin(min_margin), seed

    @property
    def name(self) -> str:
        """E.g. `coin_flip(min_margin=1e-08, seed=7)`."""
        return f"coin_flip(min_margin={self.min_margin!r}, seed={self.seed})"

    def pairs(self, prompt_id: str, scored: Sequence[Scored], *, judge: str) -> list[Pair] | Dropped:
        """One pair, or Dropped: `fewer_than_two_scored` or `tie`."""
        found = _extremes(scored, self.min_margin)
        if isinstance(found, Dropped):
            return found
        chosen, rejected = found if keyed_seed(self.seed, prompt_id) % 2 == 0 else found[::-1]
        return [make_pair(prompt_id, chosen, rejected, judge=judge, rule=self.name)]


def make_pair(prompt_id: str, chosen: Scored, rejected: Scored, *, judge: str, rule: str) -> Pair:
    """The record of one preference; both candidates must be scored."""
    assert chosen.value is not None
    assert rejected.value is not None
    return Pair(
        id=digest("pair", prompt_id, chosen.candidate_id, rejected.candidate_id, judge, rule),
        prompt_id=prompt_id,
        chosen_id=chosen.candidate_id,
        rejected_id=rejected.candidate_id,
        margin=chosen.value - rejected.value,
        delta_words=chosen.n_words - rejected.n_words,
        judge=judge,
        rule=rule,
    )


def build_pairs(
    candidates: Iterable[Candidate], scores: Iterable[Score], *, rule: PairRule, judge: str
) -> tuple[list[Pair], dict[str, int]]:
    """The pairs of all prompts, ordered by prompt id, and how many prompts gave none, by reason.

    `judge` is name@version; scores by other judges, or of candidates not given, are not looked at. Pairs of equal
    texts (apart from white space) are dropped as `equal_texts`: no loss could tell them apart.
    Words are runs of characters between white space, of the text as sampled.
    Raises UserError when a candidate has no score by that judge, or has two.
    """
    by_id = {c.id: c for c in candidates}
    values = _values_by(judge, scores, by_id)
    prompts: defaultdict[str, list[Scored]] = defaultdict(list)
    for c in by_id.values():
        prompts[c.prompt_id].append(Scored(c.id, c.draw, values[c.id], len(c.text.split())))
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for prompt_id in sorted(prompts):
        found = rule.pairs(prompt_id, prompts[prompt_id], judge=judge)
        if isinstance(found, Dropped):
            dropped[found.reason] += 1
            continue
        kept = [p for p in found if by_id[p.chosen_id].text.split() != by_id[p.rejected_id].text.split()]
        if not kept:
            dropped["equal_texts"] += 1
        pairs += kept
    return pairs, dict(sorted(dropped.items()))


def _values_by(judge: str, scores: Iterable[Score], candidates: dict[str, Candidate]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for s in scores:
        if s.judge != judge or s.candidate_id not in candidates:
            continue
        if s.candidate_id in values:
            raise UserError(
                f"pairs: candidate {s.candidate_id} has two scores by {judge}",
                "it is not known which of them is meant",
                "Delete that judge's scores and score the candidates once",
            )
        values[s.candidate_id] = s.value
    if missing := sorted(set(candidates) - set(values)):
        raise UserError(
            f"pairs: {len(missing)} of {len(candidates)} candidates have no score by {judge}, first {missing[0]}",
            "a prompt's best and worst candidate are not known before all are scored",
            "Finish the judge stage, or name the judge (name@version) that scored these candidates",
        )
    return values


def _extremes(scored: Sequence[Scored], min_margin: float) -> tuple[Scored, Scored] | Dropped:
    rows = [(s.value, s) for s in scored if s.value is not None and s.n_words > 0]
    if len(rows) < 2:
        return Dropped("fewer_than_two_scored")
    best_value, best = min(rows, key=lambda r: (-r[0], r[1].draw, r[1].candidate_id))
    worst_value, worst = min(rows, key=lambda r: (r[0], r[1].draw, r[1].candidate_id))
    if not best_value - worst_value > min_margin:
        return Dropped("tie")
    return best, worst


def _checked_margin(min_margin: float) -> float:
    if not 0 <= min_margin < float("inf"):
        raise UserError(
            f"pairs: min_margin is {min_margin}",
            "it is a difference of two scores that chosen must exceed, so it cannot be negative or infinite",
            "Set min_margin to 1e-8 to drop ties only, as the CheXalign paper does, or to a larger number",
        )
    return min_margin
