"""The audit of a few pairs, by hand."""

import json
from dataclasses import asdict

import pytest

from chexalign.pairs.audit import Summary, audit
from chexalign.pairs.build import build_pairs
from chexalign.pairs.rules import BestWorst
from chexalign.types import Candidate, Score

JUDGE = "chexpert@1"
TEXTS = {
    "a1": ("p1", "No effusion is seen.", 0.9, 6),
    "a2": ("p1", "Small effusion.", 0.4, 4),
    "b1": ("p2", "Heart is large.", 0.8, 9),
    "b2": ("p2", "Heart is normal.", 0.1, 4),
    "t1": ("p3", "Clear lungs.", 0.5, 3),
    "t2": ("p3", "Lungs are clear.", 0.5, 4),
}
CANDIDATES = [
    Candidate(id_, prompt, text, tokens, None, "stop", i, "tiny")
    for i, (id_, (prompt, text, _, tokens)) in enumerate(TEXTS.items())
]
SCORES = [Score(id_, JUDGE, value) for id_, (_, _, value, _) in TEXTS.items()]


@pytest.fixture(scope="module")
def found():
    pairs, dropped = build_pairs(CANDIDATES, SCORES, rule=BestWorst(min_margin=1e-8), judge=JUDGE)
    return audit(pairs, CANDIDATES, SCORES, dropped=dropped)


def test_counts(found):
    assert (found.n_prompts, found.n_pairs, found.dropped) == (3, 2, {"tie": 1})
    assert found.ties == pytest.approx(1 / 3)


def test_scores(found):
    assert found.chosen.score.mean == pytest.approx(0.85)
    assert found.rejected.score.median == pytest.approx(0.25)
    assert found.rejected.score.sd == pytest.approx(0.3 / 2**0.5)
    assert found.margin.mean == pytest.approx(0.6)


def test_lengths(found):
    assert (found.chosen.words.mean, found.rejected.words.mean) == (3.5, 2.5)
    assert (found.chosen.tokens.mean, found.rejected.tokens.mean) == (7.5, 4)
    assert found.delta_words.mean == 1
    assert (found.chosen_longer_words, found.chosen_longer_tokens, found.equal_words) == (0.5, 1, 0.5)
    assert found.words_excess == pytest.approx(0.4)


def test_it_is_json(found):
    assert json.loads(json.dumps(asdict(found)))["chosen"]["words"]["mean"] == 3.5


def test_one_pair_has_no_spread():
    pairs, _ = build_pairs(CANDIDATES[:2], SCORES[:2], rule=BestWorst(min_margin=0), judge=JUDGE)
    assert audit(pairs, CANDIDATES[:2], SCORES[:2]).chosen.score == Summary(0.9, 0.9, None)


def test_no_pairs_have_no_numbers():
    empty = audit([], [], [])
    assert (empty.n_prompts, empty.n_pairs, empty.ties, empty.chosen_longer_words) == (0, 0, None, None)
    assert empty.words_excess is None
    assert empty.chosen.score == Summary(None, None, None)


def test_other_judges_do_not_mix_in(found):
    pairs, dropped = build_pairs(CANDIDATES, SCORES, rule=BestWorst(min_margin=1e-8), judge=JUDGE)
    both = [*SCORES, *(Score(c.id, "green@1", 0.0) for c in CANDIDATES)]
    assert audit(pairs, CANDIDATES, both, dropped=dropped) == found


def test_a_pair_without_its_candidate_is_an_error():
    pairs, _ = build_pairs(CANDIDATES, SCORES, rule=BestWorst(min_margin=1e-8), judge=JUDGE)
    with pytest.raises(KeyError):
        audit(pairs, CANDIDATES[2:], SCORES)
