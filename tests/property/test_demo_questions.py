"""Whatever codes a report has, questions about it are readable, drawn where they say, and of its own findings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.data.answers import matches
from chexalign.data.base import DropStudyError
from chexalign.data.marks import MARKS, marked
from chexalign.demo.phantom_codes import parse_code
from chexalign.demo.questions import make_items
from chexalign.demo.questions_draw import EmptyRegion, MarkedPhantom
from chexalign.demo.questions_findings import FINDINGS, grade_of, graded, read_chest, side_of, zone_of
from chexalign.demo.questions_words import denied, told, where

WHY_NOT = ("finding_not_visible", "finding_too_large_to_mark", "region_not_free", "another_finding_in_the_region")
HEADINGS = (
    *("Opacity", "Pleural Effusion", "Cardiomegaly", "Nodule", "Pulmonary Atelectasis", "Calcified Granuloma", "Lung"),
    *("Pneumothorax", "Catheters, Indwelling", "Aorta", "Diaphragm", "Fractures, Bone", "normal", "Kidney", "", " / "),
)
WORDS = (
    *("lung", "left", "right", "bilateral", "base", "apex", "upper lobe", "middle lobe", "hilum", "mild", "small"),
    *("severe", "large", "moderate", "borderline", "patchy", "round", "tortuous", "hypoinflation", "elevated", " "),
)
plain_codes = st.builds(
    lambda heading, words: "/".join([heading, *words]),
    st.sampled_from(HEADINGS),
    st.lists(st.sampled_from(WORDS), max_size=4),
)
codes = plain_codes | st.text(max_size=20)


@given(st.lists(codes, max_size=6))
def test_any_codes_are_read(of_study):
    chest = read_chest("S", "test", of_study, 1)
    assert chest.present | chest.absent <= set(FINDINGS)
    assert not chest.present & chest.absent
    for finding, stated in chest.by_finding.items():
        assert set(stated) <= set(of_study)
        side, zone, grade = side_of(stated), zone_of(stated), grade_of(stated)
        assert side in (None, "left", "right", "both sides")
        assert zone in (None, "upper", "lower")
        sentence = told(finding, stated, "name")
        assert finding in sentence.lower()
        assert grade is None or grade in sentence.lower()
        assert where(stated) in sentence or where(stated) == ""
        assert "{" not in sentence + denied(finding, "name")


@given(plain_codes, st.sampled_from(("mild", "moderate", "severe")))
def test_another_severity_is_the_same_finding_in_the_same_place(code, grade):
    before, after = parse_code(code), parse_code(graded(code, grade))
    assert (before.heading, before.sides, before.zones, before.key) == (
        after.heading,
        after.sides,
        after.zones,
        after.key,
    )
    assert grade_of([graded(code, grade)]) == grade


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(codes, max_size=4), max_size=30), st.integers(0, 3))
def test_questions_of_any_codes_are_readable_and_have_a_right_answer(studies, seed):
    chests = [read_chest(f"S{i}", "train", of_it, seed + i) for i, of_it in enumerate(studies)]
    items, _ = make_items(chests, size_px=64)
    names = [(item.study, draft.task, draft.name) for item in items for draft in item.drafts]
    assert len(names) == len(set(names))
    for item in items:
        for draft in item.drafts:
            assert draft.answers
            assert set(draft.answers) <= set(draft.options or draft.answers)
            assert matches(draft.answer_type, draft.rationale, draft.answers, draft.options)


@settings(max_examples=30, deadline=None)
@given(st.lists(plain_codes, max_size=3), plain_codes, st.integers(0, 2**63 - 1), st.sampled_from((32, 64)))
def test_a_box_is_inside_the_image_or_the_region_is_dropped(others, code, seed, size):
    for drawing in (
        MarkedPhantom((*others, code), code, "x", MARKS[seed % 3], seed, size),
        MarkedPhantom((*others, code), code, "x", MARKS[seed % 3], seed, size, apart_from=(*others, code)[0]),
        MarkedPhantom((*others, code), code, "x", MARKS[seed % 3], seed, size, empty_too="Nodule/lung/base/left"),
        EmptyRegion(tuple(others), code, "x", MARKS[seed % 3], seed, size),
    ):
        drawn = drawn_or_why(drawing)
        if isinstance(drawn, str):
            assert drawn in WHY_NOT
        else:
            left, top, right, bottom = drawn.marks[0].box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1


def drawn_or_why(drawing):
    try:
        return drawing.draw(Path("images"))
    except DropStudyError as why:
        return str(why)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-300, 300, allow_nan=False), min_size=4, max_size=4), st.sampled_from(MARKS))
def test_marks_can_be_drawn_anywhere(bounds, mark):
    from PIL import Image

    (left, right), (top, bottom) = sorted((bounds[0], bounds[2])), sorted((bounds[1], bounds[3]))
    image = marked(Image.new("L", (60, 40), 9), (left, top, right, bottom), mark)
    assert image.size == (60, 40)


def test_a_study_without_codes_is_neither_normal_nor_abnormal():
    chest = read_chest("S", "test", (), 1)
    assert not chest.normal
    assert not chest.present
    items, dropped = make_items([chest], size_px=64)
    assert not [d for item in items for d in item.drafts if d.task == "abnormality"]
    assert dropped == pytest.approx({"beyond_the_balance": 1})
