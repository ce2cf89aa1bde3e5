"""What must hold of the pairs of every prompt."""

import random

from hypothesis import given
from hypothesis import strategies as st

from chexalign.pairs.rules import BestWorst, CoinFlip, Dropped, Scored, build_pairs
from chexalign.types import Candidate, Score

JUDGE = "j@1"
values = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-1, 1))
margins = st.sampled_from([0.0, 1e-8, 0.1])
candidates = st.lists(st.tuples(values, st.sampled_from([0, 5, 6, 9])), max_size=6)  # a score and a number of words
prompts = candidates.map(lambda found: [Scored(f"c{i}", i, v, n) for i, (v, n) in enumerate(found)])


@given(prompts, margins, st.randoms(use_true_random=False))
def test_order_of_the_candidates_does_not_matter(scored, margin, rng):
    shuffled = rng.sample(scored, len(scored))
    for rule in (BestWorst(min_margin=margin), CoinFlip(min_margin=margin, seed=1)):
        assert rule.pairs("p", shuffled, judge=JUDGE) == rule.pairs("p", scored, judge=JUDGE)


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
