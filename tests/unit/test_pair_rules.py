"""Which candidates become a pair, case by case."""

import pytest

from chexalign.errors import UserError
from chexalign.pairs.build import build_pairs
from chexalign.pairs.columns import Scored
from chexalign.pairs.rules import BestWorst, CoinFlip, Dropped
from chexalign.types import Candidate, Score

JUDGE = "chexpert@1"
RULE = BestWorst(min_margin=1e-8)


def scored(*values):
    return [Scored(f"c{i}", i, value, n_words=10 + i) for i, value in enumerate(values)]


def candidate(id_, prompt_id, text, draw=0):
    return Candidate(id_, prompt_id, text, len(text.split()) + 1, -5.0, "stop", draw, "tiny")


def score(id_, value, judge=JUDGE):
    return Score(id_, judge, value, status="ok" if value is not None else "unparsed")


def test_best_is_chosen_and_worst_rejected():
    (pair,) = RULE.pairs("p", scored(0.5, 0.9, 0.1, 0.6), judge=JUDGE)
    assert (pair.chosen_id, pair.rejected_id) == ("c1", "c2")
    assert pair.margin == pytest.approx(0.8)
    assert pair.delta_words == -1
    assert (pair.prompt_id, pair.judge, pair.rule) == ("p", JUDGE, "best_worst(min_margin=1e-08)")


def test_equal_extremes_go_to_the_lowest_draw():
    (pair,) = RULE.pairs("p", scored(0.5, 0.9, 0.9, 0.5), judge=JUDGE)
    assert (pair.chosen_id, pair.rejected_id) == ("c1", "c0")


def test_unscored_candidates_take_no_part():
    (pair,) = RULE.pairs("p", scored(None, 0.2, None, 0.1), judge=JUDGE)
    assert (pair.chosen_id, pair.rejected_id) == ("c1", "c3")


@pytest.mark.parametrize("rule", [RULE, CoinFlip(min_margin=1e-8, seed=1)])
def test_candidates_without_a_word_take_no_part_whatever_their_score(rule):
    """A judge may score silence, even best or worst: training would refuse the text."""
    silent = [Scored("c8", 8, 1.0, 0), Scored("c9", 9, -1.0, 0)]
    pairs = rule.pairs("p", [*scored(0.5, 0.2), *silent], judge=JUDGE)
    assert pairs == rule.pairs("p", scored(0.5, 0.2), judge=JUDGE)
    assert rule.pairs("p", [*scored(0.5), *silent], judge=JUDGE) == Dropped("fewer_than_two_scored")


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, None), (None, None, None)])
def test_fewer_than_two_scored(values):
    assert RULE.pairs("p", scored(*values), judge=JUDGE) == Dropped("fewer_than_two_scored")


@pytest.mark.parametrize(("gap", "dropped"), [(0.0, True), (0.25, True), (0.5, False)])
def test_margin_must_be_exceeded(gap, dropped):
    found = BestWorst(min_margin=0.25).pairs("p", scored(0.25, 0.25 + gap), judge=JUDGE)
    assert (found == Dropped("tie")) == dropped


def test_scores_below_zero_work_alike():
    (pair,) = RULE.pairs("p", scored(-3.0, -1.0, -2.0), judge=JUDGE)
    assert (pair.chosen_id, pair.rejected_id) == ("c1", "c0")


def test_coin_flip_takes_the_same_candidates_in_either_order():
    rule = CoinFlip(min_margin=1e-8, seed=7)
    orders = [rule.pairs(f"p{i}", scored(0.5, 0.9, 0.1), judge=JUDGE)[0] for i in range(200)]
    assert {frozenset((p.chosen_id, p.rejected_id)) for p in orders} == {frozenset(("c1", "c2"))}
    heads = sum(p.chosen_id == "c1" for p in orders)
    assert 75 <= heads <= 125  # 3.5 standard deviations of a fair coin
    assert {p.margin > 0 for p in orders if p.chosen_id == "c2"} == {False}
    assert rule.name == "coin_flip(min_margin=1e-08, seed=7)"


def test_coin_flip_drops_what_best_worst_drops():
    rule = CoinFlip(min_margin=1e-8, seed=7)
    assert rule.pairs("p", scored(0.5, 0.5), judge=JUDGE) == Dropped("tie")
    assert rule.pairs("p", scored(0.5), judge=JUDGE) == Dropped("fewer_than_two_scored")


def test_another_seed_tosses_other_coins():
    def heads(seed):
        rule = CoinFlip(min_margin=0, seed=seed)
        return [rule.pairs(f"p{i}", scored(0.9, 0.1), judge=JUDGE)[0].chosen_id for i in range(50)]

    assert heads(1) == heads(1) != heads(2)


@pytest.mark.parametrize("min_margin", [-1, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [BestWorst, lambda min_margin: CoinFlip(min_margin=min_margin, seed=1)])
def test_unfit_margin_is_refused(make, min_margin):
    with pytest.raises(UserError, match="min_margin"):
        make(min_margin=min_margin)


CANDIDATES = [
    candidate("b1", "p2", "The heart is large.", 0),
    candidate("b2", "p2", "The heart is normal in size.", 1),
    candidate("a1", "p1", "No effusion.", 0),
    candidate("a2", "p1", "Small left effusion.", 1),
    candidate("t1", "p3", "Clear lungs.", 0),
    candidate("t2", "p3", "Lungs are clear.", 1),
    candidate("u1", "p4", "Clear lungs.", 0),
    candidate("u2", "p4", "Hazy lungs.", 1),
    candidate("e1", "p5", "Clear lungs.", 0),
    candidate("e2", "p5", " Clear\nlungs. ", 1),
]
VALUES = {"b1": 0.2, "b2": 0.7, "a1": 0.9, "a2": 0.4, "t1": 1, "t2": 1, "u1": None, "u2": 0.5, "e1": 0.1, "e2": 0.2}
SCORES = [score(k, v) for k, v in VALUES.items()]


@pytest.mark.parametrize("rule", [RULE, CoinFlip(min_margin=1e-8, seed=3)])
def test_build_pairs_accounts_for_every_prompt(rule):
    pairs, dropped = build_pairs(CANDIDATES, SCORES, rule=rule, judge=JUDGE)
    assert [p.prompt_id for p in pairs] == ["p1", "p2"]
    assert dropped == {"equal_texts": 1, "fewer_than_two_scored": 1, "tie": 1}


def test_build_pairs_counts_words_of_the_text():
    pairs, _ = build_pairs(CANDIDATES, SCORES, rule=RULE, judge=JUDGE)
    assert [(p.chosen_id, p.rejected_id, p.delta_words) for p in pairs] == [("a1", "a2", -1), ("b2", "b1", 2)]


def test_scores_of_other_judges_and_other_candidates_are_not_looked_at():
    others = [score("a1", 0.0, "green@1"), score("zz", 5.0)]
    assert build_pairs(CANDIDATES, others + SCORES, rule=RULE, judge=JUDGE) == build_pairs(
        CANDIDATES, SCORES, rule=RULE, judge=JUDGE
    )


def test_a_candidate_without_a_score_is_an_error_that_shows_no_text():
    with pytest.raises(UserError, match="1 of 10 candidates have no score by chexpert@1, first b1") as error:
        build_pairs(CANDIDATES, SCORES[1:], rule=RULE, judge=JUDGE)
    assert "heart" not in str(error.value)


def test_two_scores_for_a_candidate_are_an_error():
    with pytest.raises(UserError, match="two scores"):
        build_pairs(CANDIDATES, [*SCORES, score("a1", 0.3)], rule=RULE, judge=JUDGE)


def test_no_candidates_no_pairs():
    assert build_pairs([], [], rule=RULE, judge=JUDGE) == ([], {})
