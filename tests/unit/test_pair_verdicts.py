"""Which candidates a judge finds desirable, and the tables that pairs and verdicts are read from and written to."""

import dataclasses
import json

import pytest

from chexalign.errors import UserError
from chexalign.pairs.build import build_pairs
from chexalign.pairs.columns import Scored, columns_of, score_columns
from chexalign.pairs.rules import BestWorst, Dropped
from chexalign.pairs.stage import PairsWorker, VerdictsWorker, judge_agreement
from chexalign.pairs.verdicts import AboveMean, AboveThreshold, build_verdicts, verdict_table
from chexalign.recipe import Arm, PairsSpec, TrainSpec
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from chexalign.types import Candidate, Prompt, Score, Study, Verdict

JUDGE = "chexpert@1"
ROWS = [  # prompt, draw, text, value
    ("p1", 0, "No effusion.", 0.9),
    ("p1", 1, "Small effusion.", 0.3),
    ("p1", 2, "No  effusion. ", 0.9),
    ("p2", 0, "Clear.", 0.5),
    ("p2", 1, "Clear lungs.", 0.5),
    ("p3", 0, "Heart is large.", None),
    ("p3", 1, "", 1.0),
    ("p4", 0, "Heart is normal.", 0.2),
    ("p4", 1, "Large heart.", 0.8),
]
CANDIDATES = [Candidate(f"{p}.{d}", p, text, 4, None, "stop", d, "tiny") for p, d, text, _ in ROWS]
SCORES = [Score(f"{p}.{d}", JUDGE, v, status="ok" if v is not None else "unparsed") for p, d, _, v in ROWS]


def scored(*values):
    return [Scored(f"c{i}", i, value, n_words=5) for i, value in enumerate(values)]


def ids(found):
    return tuple([s.candidate_id for s in side] for side in found)


def test_above_mean_sorts_around_the_prompts_own_mean():
    assert ids(AboveMean(min_margin=1e-8).sort(scored(0.9, 0.1, 0.5, None))) == (["c0"], ["c1"])
    assert AboveMean(min_margin=1e-8).sort(scored(0.5, 0.5)) == Dropped("tie")
    assert AboveMean(min_margin=1e-8).sort(scored(0.5, None)) == Dropped("fewer_than_two_scored")


def test_above_threshold_sorts_each_by_itself():
    rule = AboveThreshold(min_margin=0.1, threshold=0.5)
    assert ids(rule.sort(scored(0.9, 0.45, 0.2))) == (["c0"], ["c2"])
    assert rule.sort(scored(0.45, 0.55)) == Dropped("at_threshold")
    assert rule.sort(scored(None)) == Dropped("none_scored")
    assert rule.name == "above_threshold(threshold=0.5, min_margin=0.1)"


def test_verdicts_stand_for_equal_texts_once_and_account_for_every_prompt():
    columns = columns_of(CANDIDATES[::-1])
    values = columns.values(JUDGE, *score_columns(SCORES, JUDGE))
    rule = AboveMean(min_margin=1e-8)
    verdicts, dropped = build_verdicts(columns, values, rule=rule, judge=JUDGE)
    told = [(v.candidate_id, v.prompt_id, v.desirable, v.weight) for v in verdicts]
    assert told == [
        ("p1.0", "p1", True, 1.0),
        ("p1.1", "p1", False, 1.0),
        ("p4.0", "p4", False, 1.0),
        ("p4.1", "p4", True, 1.0),
    ]
    assert {v.rule for v in verdicts} == {"above_mean(min_margin=1e-08)"}
    assert dropped == {"fewer_than_two_scored": 1, "tie": 1}


@pytest.fixture
def run(tmp_path):
    """A run folder with candidates and scores in several parts."""
    run = RunFolder(tmp_path / "run")
    write(run.candidates, [CANDIDATES[:4], CANDIDATES[4:]])
    write(run.scores("chexpert"), [SCORES[:5], [], SCORES[5:]])
    return run


def write(table, parts):
    for index, rows in enumerate(parts):
        table.write_part(index, rows, fingerprint="f")
    Manifest("s", "f", {}, {}, 0, 0, {}, str(parts), 0.0, parts=len(parts)).save(table.folder)


def arm(**pairs):
    return Arm(
        judge="chexpert", pairs=PairsSpec(**pairs), train=TrainSpec(algorithm="kto", beta=0.1, learning_rate=1e-4)
    )


def test_the_stage_gives_what_the_records_give(run):
    found = PairsWorker(run, arm(rule="best_worst"), 1).part(0)
    assert (list(found.rows), found.dropped) == build_pairs(
        CANDIDATES, SCORES, rule=BestWorst(min_margin=1e-8), judge=JUDGE
    )
    audit = found.extra["audit"]
    assert (audit["n_pairs"], audit["duplicates"], audit["unscored"]) == (2, pytest.approx(1 / 9), pytest.approx(1 / 9))
    assert audit["n_patients"] is None


def test_the_stage_counts_patients_where_the_studies_are_there(run):
    studies = [Study(f"s{i}", "one", (), None, "Clear.", None, (), "prefer", "made", "CC0") for i in range(4)]
    write(run.studies, [studies])
    write(run.prompts, [[Prompt(f"p{i + 1}", f"s{i}", "findings", "?", "t@1") for i in range(4)]])
    audit = PairsWorker(run, arm(rule="best_worst"), 1).part(0).extra["audit"]
    assert (audit["n_patients"], audit["most_pairs_of_a_patient"]) == (1, 2)


def test_the_stage_tells_how_far_judges_agree(run):
    reversed_scores = [
        Score(s.candidate_id, "other@1", None if s.value is None else -s.value, status=s.status) for s in SCORES
    ]
    write(run.scores("other"), [reversed_scores])
    (found,) = judge_agreement(run, ["other", "chexpert"])
    assert (found.first, found.second, found.alike, found.tau_b) == ("chexpert", "other", 0.0, -1.0)
    assert json.loads(run.agreement.read_text()) == [dataclasses.asdict(found)]


def test_verdicts_are_a_table_of_the_run(run):
    table = verdict_table(run, "kto")
    worker = VerdictsWorker(run, arm(rule="above_threshold", options={"threshold": 0.5}), 1)
    manifest = run_parts(table, worker, key=StageKey("verdicts", {}, {}, 1), n_parts=1)
    assert table.folder == run.root / "verdicts" / "kto"
    assert manifest.dropped == {"at_threshold": 1, "none_scored": 1}
    assert [v.desirable for v in table.rows()] == [True, False, False, True]
    assert all(isinstance(v, Verdict) for v in table.rows())
    audit = table.info(0).extra["audit"]
    assert (audit["n_prompts"], audit["n_desirable"], audit["n_undesirable"]) == (4, 2, 2)
    assert audit["desirable"]["score"]["mean"] == pytest.approx((0.9 + 0.8) / 2)
    assert audit["undesirable"]["words"]["mean"] == pytest.approx((2 + 3) / 2)
    assert audit["dropped"] == manifest.dropped


def test_a_table_that_is_not_finished_is_told(run):
    (run.candidates.folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        PairsWorker(run, arm(rule="best_worst"), 1).part(0)


def test_scores_in_another_order_or_lacking_are_seen():
    columns = columns_of(CANDIDATES)
    mixed = columns.values(JUDGE, *score_columns(SCORES[::-1], JUDGE))
    assert mixed.tolist()[:2] == columns.values(JUDGE, *score_columns(SCORES, JUDGE)).tolist()[:2] == [0.9, 0.3]
    with pytest.raises(UserError, match=r"1 of 9 candidates have no score by chexpert@1, first p1.0"):
        columns.values(JUDGE, *score_columns(SCORES[1:], JUDGE))
