"""What must hold of the pairs of every prompt."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chexalign.pairs.build import build_pairs
from chexalign.pairs.columns import Scored
from chexalign.pairs.lengths import LengthMatched, LengthWindow
from chexalign.pairs.ranked import Margin, RoundRobin, TopBottom
from chexalign.pairs.rules import BestWorst, CoinFlip, Dropped, PairRule
from chexalign.pairs.verdicts import AboveMean, AboveThreshold
from chexalign.types import Candidate, Pair, Score

JUDGE = "j@1"
values = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-1, 1))
margins = st.sampled_from([0.0, 1e-8, 0.1])
candidates = st.lists(st.tuples(values, st.sampled_from([0, 5, 6, 9])), max_size=6)  # a score and a number of words
prompts = candidates.map(lambda found: [Scored(f"c{i}", i, v, n) for i, (v, n) in enumerate(found)])


def every_rule(margin: float) -> list[PairRule]:
    return [
        BestWorst(min_margin=margin),
        CoinFlip(min_margin=margin, seed=1),
        Margin(min_margin=margin, max_margin=0.5),
        TopBottom(min_margin=margin, k=2),
        RoundRobin(min_margin=margin, max_pairs=3),
        LengthWindow(min_margin=margin, max_ratio=1.2),
        LengthMatched(min_margin=margin),
    ]


@given(prompts, margins, st.randoms(use_true_random=False))
def test_order_of_the_candidates_does_not_matter(scored, margin, rng):
    shuffled = rng.sample(scored, len(scored))
    for rule in every_rule(margin):
        assert rule.pairs("p", shuffled, judge=JUDGE) == rule.pairs("p", scored, judge=JUDGE)
    for verdicts in (AboveMean(min_margin=margin), AboveThreshold(min_margin=margin, threshold=0.25)):
        told, again = verdicts.sort(scored), verdicts.sort(shuffled)
        if isinstance(told, Dropped):
            assert again == told
        else:
            assert [{s.candidate_id for s in side} for side in again] == [
                {s.candidate_id for s in side} for side in told
            ]


@given(prompts, margins)
def test_every_pair_exceeds_the_margin_and_differs_from_the_others(scored, margin):
    known = {s.candidate_id: s.value for s in scored if s.value is not None and s.n_words}
    for rule in every_rule(margin):
        found = rule.pairs("p", scored, judge=JUDGE)
        if isinstance(found, Dropped):
            continue
        assert found
        assert len({frozenset((p.chosen_id, p.rejected_id)) for p in found}) == len(found)
        for pair in found:
            assert abs(pair.margin) > margin
            assert pair.margin == known[pair.chosen_id] - known[pair.rejected_id]
            assert pair.rule == rule.name


@given(prompts, margins)
def test_rules_with_nothing_to_choose_are_best_worst(scored, margin):
    wanted = BestWorst(min_margin=margin).pairs("p", scored, judge=JUDGE)
    same = [
        TopBottom(min_margin=margin, k=1),
        RoundRobin(min_margin=margin, max_pairs=1),
        Margin(min_margin=margin, max_margin=float("inf")),
        LengthWindow(min_margin=margin, max_ratio=float("inf")),
    ]
    for rule in same:
        found = rule.pairs("p", scored, judge=JUDGE)
        if isinstance(wanted, Dropped):
            assert found == wanted
        else:
            assert [(p.chosen_id, p.rejected_id, p.margin) for p in found] == [
                (p.chosen_id, p.rejected_id, p.margin) for p in wanted
            ]


texts = st.sampled_from(["Clear lungs.", " Clear\nlungs. ", "Lungs are clear.", "", "Heart is large."])
groups = st.lists(st.lists(st.tuples(values, texts), min_size=1, max_size=5), max_size=6)


def one_by_one(candidates: list[Candidate], scores: list[Score], rule: PairRule) -> tuple[list[Pair], dict[str, int]]:
    """What the columns must come to: each prompt by itself, in plain Python."""
    value = {s.candidate_id: s.value for s in scores}
    text = {c.id: c.text.split() for c in candidates}
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for prompt_id in sorted({c.prompt_id for c in candidates}):
        scored = [Scored(c.id, c.draw, value[c.id], len(text[c.id])) for c in candidates if c.prompt_id == prompt_id]
        found = rule.pairs(prompt_id, scored, judge=JUDGE)
        if isinstance(found, Dropped):
            dropped[found.reason] += 1
            continue
        kept = [p for p in found if text[p.chosen_id] != text[p.rejected_id]]
        dropped["equal_texts"] += not kept
        pairs += kept
    return pairs, {reason: n for reason, n in sorted(dropped.items()) if n}


@given(groups, margins, st.randoms(use_true_random=False), st.sampled_from(["c", 'q"', "b\\", "t\t", "\u00e9\u4e2d"]))
def test_columns_give_what_each_prompt_gives_by_itself(groups, margin, rng: random.Random, prefix):
    ids = [
        (f"{prefix}{p}.{d}", f"{prefix}p{p}", d, *row) for p, group in enumerate(groups) for d, row in enumerate(group)
    ]
    candidates = [Candidate(i, p, text, 3, None, "stop", d // 2, "s") for i, p, d, _, text in ids]
    scores = [Score(i, JUDGE, v, status="error" if v is None else "ok") for i, _, _, v, _ in ids]
    mixed = rng.sample(scores, len(scores)), rng.sample(candidates, len(candidates))
    for rule in every_rule(margin):
        wanted = one_by_one(candidates, scores, rule)
        assert build_pairs(candidates, scores, rule=rule, judge=JUDGE) == wanted
        assert build_pairs(mixed[1], mixed[0], rule=rule, judge=JUDGE) == wanted


@given(prompts, margins)
def test_no_candidate_scores_above_chosen_or_below_rejected(scored, margin):
    found = BestWorst(min_margin=margin).pairs("p", scored, judge=JUDGE)
    known = {s.candidate_id: s.value for s in scored if s.value is not None and s.n_words}
    if isinstance(found, Dropped):
        assert len(known) < 2 or max(known.values()) - min(known.values()) <= margin
        return
    (pair,) = found
    assert known[pair.chosen_id] == max(known.values())
    assert known[pair.rejected_id] == min(known.values())
    assert pair.margin > margin


@given(prompts, margins, st.integers(0, 9), st.text(min_size=1, max_size=5))
def test_the_null_has_the_same_pairs_up_to_order(scored, margin, seed, prompt_id):
    judged = BestWorst(min_margin=margin).pairs(prompt_id, scored, judge=JUDGE)
    tossed = CoinFlip(min_margin=margin, seed=seed).pairs(prompt_id, scored, judge=JUDGE)
    if isinstance(judged, Dropped):
        assert tossed == judged
        return
    (a,), (b,) = judged, tossed
    assert {a.chosen_id, a.rejected_id} == {b.chosen_id, b.rejected_id}
    assert abs(a.margin) == abs(b.margin)
    assert abs(a.delta_words) == abs(b.delta_words)


@given(st.lists(st.lists(values, min_size=1, max_size=4), max_size=6), margins, st.randoms(use_true_random=False))
def test_every_prompt_gives_a_pair_or_a_reason(groups, margin, rng: random.Random):
    ids = [(p, d, v) for p, group in enumerate(groups) for d, v in enumerate(group)]
    candidates = [Candidate(f"{p}.{d}", f"p{p}", f"Text {d % 2}.", 3, None, "stop", d, "s") for p, d, _ in ids]
    scores = [Score(f"{p}.{d}", JUDGE, v, status="error" if v is None else "ok") for p, d, v in ids]
    rule = BestWorst(min_margin=margin)
    pairs, dropped = build_pairs(candidates, scores, rule=rule, judge=JUDGE)
    assert len(pairs) + sum(dropped.values()) == len(groups)
    assert len({p.id for p in pairs}) == len(pairs)
    again = build_pairs(rng.sample(candidates, len(ids)), rng.sample(scores, len(ids)), rule=rule, judge=JUDGE)
    assert again == (pairs, dropped)
