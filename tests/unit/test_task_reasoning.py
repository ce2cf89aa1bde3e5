"""Two descriptions of an image: one from the report's codes, one that differs in a side, a place or a finding."""

import doctest
import shutil
from collections import Counter
from pathlib import Path

import pytest

from chexalign.data import openi
from chexalign.data.tasks import reasoning
from chexalign.data.tasks.reasoning import OpenIReasoning, describe
from chexalign.errors import UserError
from tests.vqa_trees import coded_tree, put_outside, questions

SIDES = ("Calcified Granuloma/lung/right", "Calcified Granuloma/lung/left")
ENDS = ("Opacity/lung/upper lobe/left", "Opacity/lung/lower lobe/left")
FINDINGS = ("Cardiomegaly/mild", "Fractures, Bone/ribs/bilateral")


def codes_of(reports: int = 120) -> dict[int, list[str]]:
    kinds = (*SIDES, *ENDS, *FINDINGS, "normal", "No Indexing")
    return {n: [kinds[n % len(kinds)]] for n in range(1, reports + 1)}


@pytest.fixture
def root(tmp_path):
    return coded_tree(tmp_path / "openi", codes_of())


def test_examples():
    assert doctest.testmod(reasoning).failed == 0
    assert describe(" Cardiomegaly / borderline") == "cardiomegaly (borderline)"
    assert describe("/") == ""


def test_every_description_is_right_as_often_as_wrong(root, tmp_path):
    rows, dropped = questions(OpenIReasoning(root=root), tmp_path / "images")
    assert set(Counter(row.part for row in rows)) == {"side", "place", "finding"}
    for part in ("side", "place", "finding"):
        for split in ("train", "validation", "test"):
            these = [row for row in rows if (row.part, row.split) == (part, split)]
            right = Counter(row.answers[0] for row in these)
            shown = Counter(option for row in these for option in row.options)
            assert shown == {text: 2 * n for text, n in right.items()}
    assert dropped["not_indexed"] == 15
    assert dropped["nothing_to_tell_apart"] >= 15


def test_a_question_by_hand(root, tmp_path):
    rows, _ = questions(OpenIReasoning(root=root), tmp_path / "images")
    row = next(row for row in rows if row.part == "side")
    assert set(row.options) == {"right calcified granuloma (lung)", "left calcified granuloma (lung)"}
    assert row.evidence[0].text in SIDES
    assert row.images[0].path.endswith("-1001.png")  # the frontal one
    assert row.patient_id == row.study_id == f"CXR{int(row.patient_id.removeprefix('CXR'))}"
    finding = next(row for row in rows if row.part == "finding")
    assert [e.present for e in finding.evidence] == [True, False]


@pytest.mark.parametrize(
    ("codes", "part"),
    [
        (["Opacity/lung/left", "Nodule/lung/right"], "side"),
        (["Opacity/lung/left", "Pleural Effusion/bilateral"], "side"),
        (["Opacity/lung/left/right"], "side"),
        (["Opacity/lung/base", "Cicatrix/lung/apex"], "place"),
        (["Opacity/lung/base", "Opacity/lung/diffuse"], "place"),
        (["Opacity/lung"], "side"),
    ],
)
def test_what_could_be_right_both_ways_is_not_asked(codes, part):
    assert reasoning._swapped("CXR1", codes, part) is None


def test_findings_that_are_no_opposites_are_not_set_against_each_other(tmp_path):
    root = coded_tree(tmp_path / "openi", {n: [("Pneumonia/left", "Consolidation/left")[n % 2]] for n in range(1, 60)})
    rows, dropped = questions(OpenIReasoning(root=root), tmp_path / "images")
    assert rows == []
    assert dropped["beyond_the_balance"] >= 59


def test_a_finding_is_not_set_against_a_report_that_has_it(tmp_path):
    kinds = (["Cardiomegaly/mild"], ["Fractures, Bone/ribs", "Cardiomegaly/severe"])
    root = coded_tree(tmp_path / "openi", {n: kinds[n % 2] for n in range(1, 60)})
    rows, _ = questions(OpenIReasoning(root=root), tmp_path / "images")
    assert [row for row in rows if row.part == "finding"] == []


def test_all_are_accounted_for(root):
    for n in (1, 2):
        for path in (root / "NLMCXR_png").glob(f"CXR{n}_*"):
            path.unlink()
    (root / "NLMCXR_png/CXR3_IM-0003-1001.png").unlink()
    items, dropped = OpenIReasoning(root=root).items()
    assert (dropped["image_missing"], dropped["no_image_of_the_views"]) == (2, 1)
    reports = ("not_indexed", "image_missing", "no_image_of_the_views", "nothing_to_tell_apart")
    assert len(items) + sum(dropped[reason] for reason in reports) == 120


def test_the_order_of_reports_changes_nothing(root):
    items, dropped = OpenIReasoning(root=root).items()
    again = OpenIReasoning(root=root).items()
    assert (items, dropped) == again
    assert len({tuple(sorted(draft.options)) == draft.options for item in items for draft in item.drafts}) == 2


def test_a_link_out_of_the_tree_is_not_followed(root, tmp_path):
    item = OpenIReasoning(root=root).items()[0][0]
    put_outside(Path(item.pictures[0].path), tmp_path / "outside")
    _, dropped = questions(OpenIReasoning(root=root), tmp_path / "images")
    assert dropped["image_outside_the_folder"] == len(item.drafts)


@pytest.mark.parametrize(("gone", "named"), [("ecgen-radiology", "with the reports"), ("NLMCXR_png", "PNG images")])
def test_missing_parts_are_named(root, gone, named):
    shutil.rmtree(root / gone)
    with pytest.raises(UserError, match=named):
        OpenIReasoning(root=root).items()


@pytest.mark.slow
def test_the_codes_of_all_reports_are_balanced(tmp_path):
    try:
        archive = openi.find_packaged(openi.ARCHIVE_NAME)
    except UserError:
        pytest.skip("torchxrayvision is not installed")
    reports = openi.read_reports(archive, {})
    (tmp_path / "NLMCXR_png").mkdir()
    for report in reports:
        for name, _ in report.images:
            (tmp_path / f"NLMCXR_png/{name}.png").touch()
    items, dropped = OpenIReasoning(root=tmp_path, archive=archive).items()
    reasons = ("not_indexed", "image_missing", "no_image_of_the_views", "nothing_to_tell_apart")
    assert len(items) + sum(dropped[reason] for reason in reasons) == len(reports) == 3955
    drafts = [draft for item in items for draft in item.drafts]
    right = Counter((draft.part, draft.answers[0]) for draft in drafts if draft.part == "finding")
    shown = Counter((draft.part, option) for draft in drafts for option in draft.options if draft.part == "finding")
    assert shown == {text: 2 * n for text, n in right.items()}
    assert len(drafts) > 1000
