"""What a set of pairs teaches besides the judge's opinion: scores, lengths, ties and losses on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from chexalign.types import Candidate, Pair, Score


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean, median and sample standard deviation; None where there is too little to have one."""

    mean: float | None
    median: float | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class Side:
    """Score and length of the chosen texts, or of the rejected ones."""

    score: Summary
    words: Summary
    tokens: Summary


@dataclass(frozen=True, slots=True)
class PairAudit:
    """Table 8 of the CheXalign paper for one set of pairs, in plain numbers; `dataclasses.asdict` makes it JSON.

    Fractions are of the pairs, and None without pairs. A tie is a prompt that was dropped because its best and worst
    scores do not differ by more than the rule's margin.
    """

    n_prompts: int
    n_pairs: int
    dropped: dict[str, int]  # prompts without a pair, by reason
    ties: float | None  # fraction of the prompts
    chosen: Side
    rejected: Side
    margin: Summary
    delta_words: Summary  # chosen minus rejected
    chosen_longer_words: float | None
    chosen_longer_tokens: float | None
    equal_words: float | None
    words_excess: float | None  # mean words of chosen over mean words of rejected, minus 1


def audit(
    pairs: Sequence[Pair],
    candidates: Iterable[Candidate],
    scores: Iterable[Score],
    *,
    dropped: Mapping[str, int] | None = None,
) -> PairAudit:
    """The audit of `pairs`; `dropped` is what `build_pairs` said it left out.

    Scores are those of each pair's own judge. Words are split at white space. Prompts are those of `candidates`.
    Raises KeyError for a pair whose candidate or score is not given.
    """
    by_id = {c.id: c for c in candidates}
    values = {(s.candidate_id, s.judge): s.value for s in scores}
    chosen = [(by_id[p.chosen_id], values[p.chosen_id, p.judge]) for p in pairs]
    rejected = [(by_id[p.rejected_id], values[p.rejected_id, p.judge]) for p in pairs]
    n_prompts = len({c.prompt_id for c in by_id.values()})
    lost = dict(sorted((dropped or {}).items()))
    left, right = _side(chosen), _side(rejected)
    more_tokens = [c.n_tokens > r.n_tokens for (c, _), (r, _) in zip(chosen, rejected, strict=True)]
    return PairAudit(
        n_prompts=n_prompts,
        n_pairs=len(pairs),
        dropped=lost,
        ties=lost.get("tie", 0) / n_prompts if n_prompts else None,
        chosen=left,
        rejected=right,
        margin=_summary([p.margin for p in pairs]),
        delta_words=_summary([p.delta_words for p in pairs]),
        chosen_longer_words=_fraction([p.delta_words > 0 for p in pairs]),
        chosen_longer_tokens=_fraction(more_tokens),
        equal_words=_fraction([p.delta_words == 0 for p in pairs]),
        words_excess=left.words.mean / right.words.mean - 1 if left.words.mean and right.words.mean else None,
    )


def _side(rows: Sequence[tuple[Candidate, float | None]]) -> Side:
    return Side(
        score=_summary([v for _, v in rows if v is not None]),
        words=_summary([len(c.text.split()) for c, _ in rows]),
        tokens=_summary([c.n_tokens for c, _ in rows]),
    )


def _summary(values: Sequence[float]) -> Summary:
    if not values:
        return Summary(None, None, None)
    return Summary(fmean(values), float(median(values)), stdev(values) if len(values) > 1 else None)


def _fraction(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
