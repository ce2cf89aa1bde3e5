"""What a sweep reports, on reports and scores made up by hand."""

from __future__ import annotations

import json

import pytest

from chexalign.recipe import EvaluateSpec
from chexalign.sweep.summary import Row, Ruler, summarize
from chexalign.sweep.text import as_text
from chexalign.sweep.trials import TrialFolder
from chexalign.types import ImageRef, Prediction, Score, Study
from tests.scored_runs import finished

N = 24
ABOUT = {"arm": "one", "select": "lc-green", "split": "validation", "space": {"train.beta": ["0.01", "0.1", "1"]}}
WORDS = {"sft": 4, "short": 5, "long": 16, "middle": 8}  # of each report, the reference having 4
RAW = {"sft": 0.2, "short": 0.5, "long": 0.9, "middle": 0.5}


@pytest.fixture
def ruler(tmp_path) -> Ruler:
    """Reports of one length per policy, and scores that rise with the study's number in one way for all."""
    run, image = TrialFolder(tmp_path / "run", tmp_path / "own", "sft"), ImageRef("x.png", "0" * 64, "frontal", 8, 8)
    splits = ["validation"] * N + ["test"] * 3
    studies = [
        Study(f"s{i}", f"q{i}", (image,), None, "one two three four", None, (), split, "made", "CC0")
        for i, split in enumerate(splits)
    ]
    finished(run.studies, studies)
    for name, words in WORDS.items():
        rows = [Prediction(f"s{i}", name, " ".join(["word"] * words), words, "stop") for i in range(N)]
        finished(run.predictions(name), rows)
        divisor = max(words / 4, 1)
        raw = [RAW[name] + i / 1000 for i in range(N)]
        scores = [Score(f"s{i}", "lc-green@1", v / divisor, (("raw", v),)) for i, v in enumerate(raw)]
        if name == "middle":
            scores[0] = Score("s0", "lc-green@1", None, (), "unparsed", "no header")
        finished(run.metric("lc-green", name), scores)
    return Ruler.of(run, EvaluateSpec(bootstrap=50), seed=1, lc="lc-green", raw="green")


def rows_of(ruler: Ruler, *names: str) -> list[Row]:
    rows = [Row(i, name, {"train.beta": 0.1 * i}, ruler.measure(name), None, 1.5) for i, name in enumerate(names)]
    return [*rows, Row(len(names), "t-bad", {"train.beta": 9.0}, None, "The loss is not finite.", 0.5)]


def test_the_raw_score_s_winner_is_longer_and_what_that_costs_is_told(ruler):
    found = summarize(ruler, ruler.measure("sft"), rows_of(ruler, "long", "short", "middle"), ABOUT)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["picked"]["name"], found["raw_winner"]["name"]) == ("short", "long")
    cost = {e["metric"]: (e["value"], e["baseline"], e["n"]) for e in found["cost_of_raw"]}
    assert cost["words"] == (11.0, "short", N)
    assert cost["green"][0] == pytest.approx(0.4)
    assert cost["lc-green"][0] < 0
    assert cost["verbosity_vs_short"][0] == pytest.approx(16 / 5)
    text = as_text(found)
    assert "Picked by lc-green: trial 1 (--set arms.one.train.beta=0.1)" in text
    assert "green without length control picks trial 0" in text
    assert "trial 3 failed: The loss is not finite." in text
    assert text.index("\n1 ") < text.index("\n2 ") < text.index("\n0 ") < text.index("\nsft ")


def test_each_trial_has_its_numbers_with_intervals(ruler):
    found = summarize(ruler, ruler.measure("sft"), rows_of(ruler, "long", "middle"), ABOUT)
    long, middle, bad = found["trials"]
    of_long = {(e["metric"], e["baseline"]): e for e in long["estimates"]}
    assert of_long["verbosity_vs_reference", None]["value"] == 4.0
    assert of_long["verbosity_vs_sft", None]["value"] == 4.0
    assert of_long["words", "sft"]["value"] == 12.0
    assert of_long["green", "sft"]["value"] == pytest.approx(0.7)
    assert all(e["low"] is not None and e["n"] == N and e["split"] == "validation" for e in long["estimates"])
    unscored = next(e for e in middle["estimates"] if e["metric"] == "lc-green" and e["baseline"] is None)
    assert unscored["n"] == N - 1
    assert "1 of 24 rows unscored" in unscored["method"]
    assert (bad["state"], bad["reason"], bad["estimates"]) == ("failed", "The loss is not finite.", [])


def test_one_winner_by_both_scores_costs_nothing_and_of_equal_trials_the_first_is_picked(ruler):
    found = summarize(ruler, ruler.measure("sft"), rows_of(ruler, "short", "short"), ABOUT)
    assert (found["picked"]["trial"], found["raw_winner"]["trial"], found["cost_of_raw"]) == (0, 0, [])
    assert "would have cost nothing" in as_text(found)


def test_where_all_failed_none_is_picked(ruler):
    found = summarize(ruler, ruler.measure("sft"), rows_of(ruler), ABOUT)
    assert (found["picked"], found["raw_winner"], found["cost_of_raw"]) == (None, None, [])
    assert "No trial can be picked." in as_text(found)


def test_trials_lie_beside_the_run_and_share_its_other_tables(tmp_path):
    run = TrialFolder(tmp_path / "run", tmp_path / "own", "t-1")
    mine = [run.pairs("a").folder, run.policy("t-1"), run.ref_logps, run.predictions("sft").folder]
    assert all(path.is_relative_to(tmp_path / "own") for path in [*mine, run.metric("lc-green", "t-1").folder])
    shared = [run.policy("sft"), run.candidates.folder, run.scores("green").folder, run.studies.folder, run.images]
    assert all(path.is_relative_to(tmp_path / "run") for path in shared)
