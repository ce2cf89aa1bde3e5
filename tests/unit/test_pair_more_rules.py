"""The rules besides best_worst, case by case, and the options that a recipe gives them."""

import math

import pytest

from chexalign.errors import UserError
from chexalign.pairs.columns import Scored
from chexalign.pairs.lengths import LengthMatched, LengthWindow
from chexalign.pairs.ranked import Margin, RoundRobin, TopBottom
from chexalign.pairs.rules import Dropped
from chexalign.pairs.stage import check_rule, gives_verdicts, make_rule
from chexalign.recipe import Arm, PairsSpec, TrainSpec

JUDGE = "chexpert@1"


def scored(*rows):
    return [Scored(f"c{i}", i, value, n_words) for i, (value, n_words) in enumerate(rows)]


def ends(found):
    return [(p.chosen_id, p.rejected_id) for p in found]


def arm(**pairs):
    train = TrainSpec(algorithm="dpo", beta=0.1, learning_rate=1e-4)
    return Arm(judge="chexpert", pairs=PairsSpec(**pairs), train=train)


FOUR = scored((0.5, 10), (0.9, 20), (0.1, 10), (0.6, 11))


def test_margin_takes_the_widest_gap_below_the_ceiling():
    assert ends(Margin(min_margin=0.05, max_margin=0.5).pairs("p", FOUR, judge=JUDGE)) == [("c3", "c2")]
    assert ends(Margin(min_margin=0.05, max_margin=2).pairs("p", FOUR, judge=JUDGE)) == [("c1", "c2")]
    found = Margin(min_margin=0.05, max_margin=0.06).pairs("p", FOUR, judge=JUDGE)
    assert found == Dropped("no_pair_below_max_margin")


def test_top_bottom_pairs_the_ends_inwards():
    rule = TopBottom(min_margin=1e-8, k=2)
    assert ends(rule.pairs("p", FOUR, judge=JUDGE)) == [("c1", "c2"), ("c3", "c0")]
    assert ends(TopBottom(min_margin=0.2, k=2).pairs("p", FOUR, judge=JUDGE)) == [("c1", "c2")]
    assert len(TopBottom(min_margin=0, k=9).pairs("p", FOUR[:3], judge=JUDGE)) == 1
    assert rule.name == "top_bottom(k=2, min_margin=1e-08)"


def test_round_robin_takes_the_widest_first():
    assert ends(RoundRobin(min_margin=1e-8, max_pairs=3).pairs("p", FOUR, judge=JUDGE)) == [
        ("c1", "c2"),
        ("c3", "c2"),
        ("c1", "c0"),
    ]
    assert len(RoundRobin(min_margin=1e-8, max_pairs=99).pairs("p", FOUR, judge=JUDGE)) == 6


def test_length_window_skips_texts_of_another_length():
    assert ends(LengthWindow(min_margin=1e-8, max_ratio=1.2).pairs("p", FOUR, judge=JUDGE)) == [("c3", "c2")]
    assert ends(LengthWindow(min_margin=1e-8, max_ratio=2).pairs("p", FOUR, judge=JUDGE)) == [("c1", "c2")]
    found = LengthWindow(min_margin=1e-8, max_ratio=1).pairs("p", FOUR[1:3], judge=JUDGE)
    assert found == Dropped("no_pair_in_length_window")


def test_length_matched_takes_the_nearest_lengths_and_then_the_widest_gap():
    assert ends(LengthMatched(min_margin=1e-8).pairs("p", FOUR, judge=JUDGE)) == [("c0", "c2")]
    assert ends(LengthMatched(min_margin=0.4).pairs("p", FOUR, judge=JUDGE)) == [("c3", "c2")]


@pytest.mark.parametrize(
    "rule",
    [
        Margin(min_margin=0, max_margin=1),
        TopBottom(min_margin=0, k=2),
        RoundRobin(min_margin=0, max_pairs=2),
        LengthWindow(min_margin=0, max_ratio=2),
        LengthMatched(min_margin=0),
    ],
)
def test_what_no_rule_can_pair(rule):
    silent = scored((0.1, 5), (None, 5), (0.9, 0))
    assert rule.pairs("p", silent, judge=JUDGE) == Dropped("fewer_than_two_scored")
    assert rule.pairs("p", scored((0.5, 3), (0.5, 4)), judge=JUDGE) == Dropped("tie")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Margin(min_margin=0.5, max_margin=0.5), "max_margin"),
        (lambda: Margin(min_margin=0.5, max_margin=math.nan), "max_margin"),
        (lambda: TopBottom(min_margin=0, k=0), "k is 0"),
        (lambda: TopBottom(min_margin=0, k=1.5), "k is 1.5"),
        (lambda: RoundRobin(min_margin=0, max_pairs=math.inf), "max_pairs"),
        (lambda: LengthWindow(min_margin=0, max_ratio=0.9), "max_ratio"),
        (lambda: LengthMatched(min_margin=-1), "min_margin"),
    ],
)
def test_unfit_options_are_refused(make, told):
    with pytest.raises(UserError, match=told):
        make()


def test_a_recipe_gives_a_rule_its_options():
    rule = make_rule(arm(rule="top_bottom", min_margin=0.1, options={"k": 3}), seed=1)
    assert rule.name == "top_bottom(k=3, min_margin=0.1)"
    assert make_rule(arm(rule="coin_flip"), seed=7).name == "coin_flip(min_margin=1e-08, seed=7)"


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ({"rule": "top_bottom"}, "k is missing"),
        ({"rule": "best_worst", "options": {"k": 2}}, "takes no options"),
        ({"rule": "top_bottom", "options": {"n": 2, "k": 1}}, "takes k"),
        ({"rule": "best_worst", "options": {"min_margin": 2}}, "min_margin"),
        ({"rule": "coin_flip", "options": {"seed": 2}}, "seed"),
    ],
)
def test_options_that_a_rule_lacks_or_does_not_take(pairs, told):
    with pytest.raises(UserError, match=told) as error:
        make_rule(arm(**pairs), seed=1)
    assert len(str(error.value).splitlines()) == 3


def test_a_rule_without_options_is_written_as_before_there_were_any():
    assert PairsSpec(rule="best_worst").model_dump(mode="json") == {"rule": "best_worst", "min_margin": 1e-8}
    with_options = PairsSpec(rule="top_bottom", options={"k": 2})
    assert PairsSpec.model_validate(with_options.model_dump(mode="json")) == with_options


def test_verdict_rules_are_known_and_give_no_pairs():
    assert gives_verdicts(arm(rule="above_mean"))
    assert not gives_verdicts(arm(rule="round_robin", options={"max_pairs": 2}))
    with pytest.raises(UserError, match="above_mean"):
        make_rule(arm(rule="above_mean"), seed=1)


def test_a_rule_is_checked_with_its_algorithm():
    kto = TrainSpec(algorithm="kto", beta=0.1, learning_rate=1e-4)
    check_rule(Arm(judge="chexpert", pairs=PairsSpec(rule="above_mean"), train=kto), seed=1)
    check_rule(Arm(judge="chexpert", pairs=PairsSpec(rule="best_worst"), train=kto), seed=1)
    with pytest.raises(UserError, match="threshold is missing"):
        check_rule(Arm(judge="chexpert", pairs=PairsSpec(rule="above_threshold"), train=kto), seed=1)
    with pytest.raises(UserError, match=r"train\.algorithm is dpo"):
        check_rule(arm(rule="above_mean"), seed=1)
