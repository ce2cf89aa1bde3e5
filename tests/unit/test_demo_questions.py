"""Questions about phantoms: balanced, readable, about what was drawn, and told apart from the text alone by nobody."""

from __future__ import annotations

import importlib.util
import io
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.data.answers import matches
from chexalign.data.base import DropStudyError
from chexalign.data.drawn import Drawn
from chexalign.data.marks import MARKS, marked
from chexalign.data.questions import QuestionsWorker
from chexalign.demo.openi_phantom import OpenIPhantom, phantom_seed
from chexalign.demo.phantom import render
from chexalign.demo.questions import SPLIT, OpenIPhantomQuestions, make_items
from chexalign.demo.questions_draw import EmptyRegion, MarkedPhantom, Phantom, changed
from chexalign.demo.questions_findings import findings_of, grade_of, graded, read_chest, side_of, zone_of
from chexalign.demo.questions_words import told, where
from chexalign.errors import UserError
from chexalign.types import Evidence

CODES = (
    *(
        "Cardiomegaly/mild",
        "Cardiomegaly/severe",
        "Opacity/lung/base/left/patchy",
        "Opacity/lung/upper lobe/right/round",
    ),
    *("Opacity/lung/bilateral/interstitial", "Pulmonary Atelectasis/base/left", "Pulmonary Atelectasis/base/bilateral"),
    *(
        "Pleural Effusion/right/small",
        "Pleural Effusion/left",
        "Pleural Effusion/bilateral",
        "Fractures, Bone/ribs",
    ),
    *("Calcified Granuloma/lung/upper lobe/left", "Nodule/lung/lower lobe/right", "Nodule/lung/upper lobe/left"),
    *("Catheters, Indwelling/right", "Surgical Instruments/mediastinum", "Lung/hypoinflation", "Lung/hyperdistention"),
    *(
        "Aorta/tortuous",
        "Atherosclerosis/aorta",
        "Pulmonary Edema",
        "Pneumothorax/apex/left",
        "Consolidation/lung/left",
    ),
    *("Hernia, Hiatal", "Diaphragm/right/elevated", "Diaphragm/bilateral/flattened", "Pneumonia/lower lobe/right"),
)
IMAGES = Path("images")  # which phantoms do not look at
WHY_NOT = {"finding_not_visible", "finding_too_large_to_mark", "region_not_free", "another_finding_in_the_region"}
SPLITS = ("train", "train", "train", "test")


def made_up_chests(n, *, seed=0):
    """Chests of one to three hand-written codes, every third one normal."""
    rng = random.Random(seed)
    codes = [("normal",) if i % 3 == 0 else tuple(rng.sample(CODES, rng.randint(1, 3))) for i in range(n)]
    return [read_chest(f"S{i}", SPLITS[i % 4], of_it, phantom_seed(f"S{i}", 0)) for i, of_it in enumerate(codes)]


@pytest.fixture(scope="module")
def items():
    return make_items(made_up_chests(900), size_px=64)[0]


@pytest.fixture(scope="module")
def asked(items):
    return [(item, draft) for item in items for draft in item.drafts]


def test_all_kinds_and_types_are_made(asked):
    assert {draft.kind for _, draft in asked} == {"basic", "region", "compare"}
    assert {draft.answer_type for _, draft in asked} == {"verify", "choose", "query", "open"}
    tasks = {draft.task for _, draft in asked if draft.kind == "basic"}
    assert tasks == {
        *("abnormality", "attribute", "binary", "location", "severity", "view"),
        "single_disease",
        "multi_disease",
    }
    assert all((len(item.pictures) == 2) == (draft.kind == "compare") for item, draft in asked)


def test_a_question_is_named_once_per_study_and_task(asked):
    names = Counter((item.study, draft.task, draft.name) for item, draft in asked)
    assert max(names.values()) == 1


def test_every_rationale_is_read_as_the_right_answer(asked):
    wrong = [d for _, d in asked if not matches(d.answer_type, d.rationale, d.answers, d.options)]
    assert wrong == []


def test_every_question_has_evidence_or_gets_a_box_when_it_is_drawn(asked):
    assert [d for _, d in asked if not d.evidence] == []
    assert all(isinstance(item.pictures[0], MarkedPhantom | EmptyRegion) for item, d in asked if d.kind == "region")


def test_yes_is_right_as_often_as_no_for_each_finding_and_split(asked):
    found = defaultdict(Counter)
    for item, draft in asked:
        if draft.answer_type == "verify" and draft.kind == "basic":
            found[item.split, draft.task, draft.part][draft.answers[0]] += 1
    assert len(found) > 20
    assert all(of_it["yes"] == of_it["no"] for of_it in found.values())


def test_each_choice_is_right_equally_often_among_the_same_options(asked):
    found = defaultdict(Counter)
    for item, draft in asked:
        if draft.answer_type == "choose" and draft.kind != "compare" and draft.task != "location":
            about = draft.part if draft.task in ("attribute", "severity") else draft.task
            found[item.split, about, tuple(sorted(draft.options))][draft.answers[0]] += 1
    assert len(found) > 20
    assert all(len(of_it) == len(key[2]) and len(set(of_it.values())) == 1 for key, of_it in found.items())


def test_kinds_of_change_come_in_turn(asked):
    found, verified = defaultdict(Counter), defaultdict(Counter)
    for item, draft in asked:
        if draft.task == "compare" and draft.answer_type == "choose":
            found[item.split, draft.text.split("?")[0]][draft.answers[0]] += 1
        if draft.task == "compare" and draft.answer_type == "verify":
            verified[item.split][draft.answers[0]] += 1
    total = sum(found.values(), Counter())
    assert set(total) == {"improved", "worsened", "unchanged", "new", "resolved"}
    assert max(total.values()) - min(total.values()) < 0.05 * total.total()
    assert all(abs(of_it["yes"] - of_it["no"]) <= 10 for of_it in verified.values())


def test_the_text_alone_answers_no_better_than_chance(asked):
    """The most frequent answer to the same text and options in training is tried on the other split."""
    seen, tried = defaultdict(Counter), defaultdict(list)
    for item, draft in asked:
        if item.split == "train":
            seen[draft.text, frozenset(draft.options)][draft.answers] += 1
    for item, draft in asked:
        key = (draft.text, frozenset(draft.options))
        if item.split == "test" and key in seen and draft.answer_type in ("verify", "choose"):
            right = seen[key].most_common(1)[0][0] == draft.answers
            tried[draft.kind, draft.answer_type].append((right, 1 / len(draft.options)))
    assert len(tried) == 6
    for key, results in tried.items():
        n, chance = len(results), sum(c for _, c in results) / len(results)
        limit = chance + 3 * (chance * (1 - chance) / n) ** 0.5
        assert sum(right for right, _ in results) / n < limit, key


def test_wordings_and_places_of_the_right_option_do_not_follow_the_answer(asked):
    places = Counter(
        d.options.index(d.answers[0]) for _, d in asked if d.answer_type == "choose" and len(d.options) == 4
    )
    assert min(places.values()) > 0.8 * max(places.values())
    words = defaultdict(Counter)
    for _, draft in asked:
        if draft.task == "abnormality" and draft.part == "normal":
            words[draft.text][draft.answers[0]] += 1
    assert len(words) == 3
    assert all(0.35 < of_it["yes"] / of_it.total() < 0.65 for of_it in words.values())


def test_free_words_are_no_guess(asked):
    found = Counter(d.answers[0] for item, d in asked if d.kind == "region" and d.answer_type == "open")
    assert max(found.values()) <= 0.26 * found.total()


def rows(items, images, size):
    worker = QuestionsWorker(OpenIPhantomQuestions(), items, images, part_size=size)
    results = [worker.part(i) for i in range(worker.n_parts)]
    return [row for result in results for row in result.rows], sum((Counter(r.dropped) for r in results), Counter())


@pytest.fixture(scope="module")
def drawn(items, tmp_path_factory):
    images = tmp_path_factory.mktemp("run") / "images"
    images.mkdir()
    return rows(items[::80], images, 1000), images


def test_rows_do_not_depend_on_the_size_of_parts(items, drawn, tmp_path):
    some = items[::200]
    (tmp_path / "images").mkdir()
    assert rows(some, tmp_path / "images", 7) == rows(some, tmp_path / "images", 1000)


def test_images_are_drawn_once_and_named_by_their_content(drawn):
    (made, _), images = drawn
    paths = {image.path for row in made for image in row.images}
    assert {f"images/{path.name}" for path in images.iterdir()} == paths
    assert all(image.synthetic and image.height_px == image.width_px == 64 for row in made for image in row.images)
    assert {tuple(i.role for i in row.images) for row in made if row.kind == "compare"} == {("current", "prior")}
    assert {i.view for row in made if row.task == "view" for i in row.images} == {"frontal", "lateral"}


def test_marks_that_cannot_be_drawn_are_counted(drawn):
    (made, dropped), _ = drawn
    assert set(dropped) <= WHY_NOT
    assert dropped.total() < 0.15 * len(made)
    boxes = [e for row in made if row.kind == "region" for e in row.evidence if e.kind == "box"]
    assert boxes
    assert {e.image for e in boxes} == {0}


@pytest.mark.parametrize(("side", "low", "high"), [("right", 0.0, 0.5), ("left", 0.5, 1.0)])
@pytest.mark.parametrize("mark", MARKS)
def test_a_box_is_where_its_code_is_drawn(side, low, high, mark):
    code = f"Nodule/lung/upper lobe/{side}"
    drawn = MarkedPhantom((code, "Cardiomegaly"), code, "lung lesion", mark, 3, 128).draw(IMAGES)
    (box,) = drawn.marks
    left, top, right, bottom = box.box
    assert low < left < right < high
    assert bottom < 0.5
    assert box.text == "lung lesion"
    assert box.present
    plain = render((code, "Cardiomegaly"), view="frontal", seed=3, size_px=128)
    shown = np.asarray(Image.open(io.BytesIO(drawn.png)))
    away = np.argwhere(shown != plain)
    assert len(away) > 20
    assert np.abs(away.mean(axis=0) / 128 - [(top + bottom) / 2, (left + right) / 2]).max() < 0.15


def test_an_empty_region_is_where_the_finding_would_be():
    code = "Pleural Effusion/left"
    there = MarkedPhantom((code,), code, "pleural effusion", "box", 9, 96).draw(IMAGES)
    empty = EmptyRegion((), code, "pleural effusion", "box", 9, 96).draw(IMAGES)
    assert there.marks[0].box == empty.marks[0].box
    assert (there.marks[0].present, empty.marks[0].present) == (True, False)


def test_what_cannot_be_marked_says_why():
    unseen = MarkedPhantom(("Funnel Chest",), "Funnel Chest", "x", "box", 1, 64)
    everywhere = MarkedPhantom(("Emphysema/severe",), "Emphysema/severe", "x", "box", 1, 64)
    taken = EmptyRegion(
        ("Consolidation/lung/lower lobe/left/severe",), "Pulmonary Atelectasis/base/left", "x", "box", 1, 64
    )
    for drawing, reason in (
        (unseen, "finding_not_visible"),
        (everywhere, "finding_too_large_to_mark"),
        (taken, "region_not_free"),
    ):
        with pytest.raises(DropStudyError, match=reason):
            drawing.draw(IMAGES)


def test_a_drawing_that_fails_costs_its_own_questions_alone(items, tmp_path):
    item = next(item for item in items if item.drafts[0].kind == "region")
    broken = replace(item, pictures=(MarkedPhantom((), "Funnel Chest", "x", "box", 1, 64),))
    made, dropped = rows([broken, item], tmp_path, 10)
    assert len(made) == len(item.drafts)
    assert dropped == {"finding_not_visible": len(item.drafts)}


def test_a_change_is_what_its_answer_says(items):
    """More of a finding differs more from the patient without it."""
    tried = Counter()
    for item in items:
        draft = item.drafts[0]
        if draft.task == "compare" and draft.answer_type == "choose" and tried[draft.answers[0]] < 3:
            current, prior = item.pictures
            codes = {e.image: e.text for e in draft.evidence if e.kind == "code"}
            others = tuple(code for code in current.codes if code != codes.get(0))
            now, before = (
                strength((*others, *([codes[at]] if at in codes else [])), others, current.seed) for at in (0, 1)
            )
            answer = draft.answers[0]
            assert {
                "new": now > before == 0,
                "resolved": before > now == 0,
                "worsened": now > before > 0,
                "improved": before > now > 0,
                "unchanged": now == before > 0,
            }[answer], (answer, codes)
            assert prior.role == "prior"
            assert prior.seed == current.seed
            tried[answer] += 1
    assert len(tried) == 5


def strength(codes, without, seed):
    one, other = (render(c, view="frontal", seed=seed, size_px=64).astype(float) for c in (codes, without))
    return np.abs(one - other).sum()


def test_new_findings_are_on_the_current_image_alone(items):
    several = [item for item in items if item.drafts[0].part == "new ones"]
    assert len(several) > 50
    for item in several:
        current, prior = item.pictures
        for finding in item.drafts[0].options:
            now, before = (any(finding in findings_of(code) for code in p.codes) for p in (current, prior))
            assert (now and not before) == (finding in item.drafts[0].answers)


def test_severity_is_asked_about_the_severity_that_is_drawn(asked):
    for item, draft in asked:
        if draft.task == "severity":
            codes = [code for code in item.pictures[0].codes if draft.part in findings_of(code)]
            assert grade_of(codes) == draft.answers[0]


def test_codes_are_read_into_findings_sides_zones_and_severities():
    assert findings_of("Calcified Granuloma/lung/left") == ("lung lesion", "calcified granuloma")
    assert side_of(["Opacity/left", "Opacity/lung/right"]) == "both sides"
    assert side_of(["Opacity/left", "Opacity/lung"]) is None
    assert zone_of(["Opacity/lung/base", "Opacity/lower lobe"]) == "lower"
    assert zone_of(["Opacity/lung/base", "Opacity/apex"]) is None
    assert zone_of(["Opacity/lung/base/middle lobe"]) is None
    assert grade_of(["Cardiomegaly/mild", "Cardiac Shadow/enlarged"]) is None
    assert graded("Cardiomegaly/borderline", "severe") == "Cardiomegaly/severe"
    assert where(["Opacity/lung/base/bilateral"]) == "in both lung bases"
    assert told("edema", ["Pulmonary Edema/moderate"], "x").lower().count("moderate edema") == 1


def test_what_looks_like_a_finding_is_neither_present_nor_absent():
    chest = read_chest("S", "test", ["Pulmonary Disease, Chronic Obstructive", "Pneumonia/left"], 1)
    assert chest.present == {"pneumonia"}
    assert not {"hyperinflated lungs", "emphysema", "lung opacity", "consolidation"} & chest.absent
    assert "pneumothorax" in chest.absent


def test_marks_show_on_bright_and_dark_images():
    for shade in (0, 255):
        image = Image.new("L", (128, 128), shade)
        for mark in MARKS:
            pixels = np.asarray(marked(image, (40, 50, 70, 90), mark))
            assert (pixels == 255 - shade).sum() >= 20
            assert (np.asarray(image) == shade).all()


def test_a_box_at_the_edge_stays_inside():
    pixels = np.asarray(marked(Image.new("L", (64, 64), 100), (0, 0, 64, 64), "box"))
    assert (pixels[0] != 100).all()
    assert (pixels[:, -1] != 100).all()


def test_two_equal_phantoms_have_changed_nowhere():
    image = render(("normal",), view="frontal", seed=1, size_px=64)
    with pytest.raises(DropStudyError, match="finding_not_visible"):
        changed(image, image)


def test_an_unknown_split_is_an_error_of_the_user():
    with pytest.raises(UserError, match="'train'"):
        OpenIPhantomQuestions(split={"train": 10})


def test_a_drawing_is_written_where_the_run_keeps_its_images(tmp_path):
    class Dot:
        view, role = "frontal", "prior"

        def draw(self, images):
            buffer = io.BytesIO()
            Image.new("L", (4, 3)).save(buffer, format="PNG")
            return Drawn(buffer.getvalue(), 3, 4, (Evidence("box", "dot", box=(0, 0, 1, 1), image=0),))

    from chexalign.data.questions import Draft, QuestionItem

    draft = Draft("a", "t", "p", "verify", "Is there a dot?", ("yes", "no"), ("yes",))
    items = [QuestionItem("s", "p", "test", (Dot(), Dot()), (draft,))]
    (row,), dropped = rows(items, tmp_path, 5)
    assert not dropped
    assert [(i.width_px, i.height_px, i.role) for i in row.images] == [(4, 3, "prior")] * 2
    assert [e.image for e in row.evidence] == [0, 1]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchxrayvision") is None, reason="torchxrayvision is not installed")
def test_the_collection_gives_enough_questions_of_all_kinds_split_as_its_run():
    items, dropped = OpenIPhantomQuestions().items()
    kinds = Counter(draft.kind for item in items for draft in item.drafts)
    assert kinds.total() >= 20_000
    assert min(kinds.values()) >= 5_000
    assert set(dropped) == {"beyond_the_balance"}
    studies, _ = OpenIPhantom(split=SPLIT).items()
    of_run = {study.id: study.split for study in studies}
    expected = {"sft": "train", "prefer": "train", "validation": "validation", "test": "test"}
    assert {(of_run[item.study], item.split) for item in items} == set(expected.items())
    own = {s.id: Phantom(s.payload.codes, phantom_seed(s.id, 0), 128) for s in studies}
    assert sum(item.pictures == (own[item.study],) for item in items) > 0.7 * len(studies)


def test_of_two_findings_on_one_chest_both_places_are_asked_about_or_none(items):
    pairs = [item for item in items if item.drafts[0].part == "place"]
    found = defaultdict(list)
    for item in pairs[:60]:
        (picture,) = item.pictures
        assert {picture.code, picture.apart_from} <= set(picture.codes)
        assert [draft.answers for draft in item.drafts] == [("yes",), ("no",)]
        found[item.study].append(why_not(picture))
    assert all(len(of_it) == 2 and of_it[0] == of_it[1] for of_it in found.values())
    assert {why for of_it in found.values() for why in of_it} == {None, "another_finding_in_the_region"}


def test_a_place_with_a_finding_and_one_without_are_asked_about_on_one_image_or_none_is(items):
    found = defaultdict(list)
    for item in [item for item in items if item.drafts[0].part == "abnormality" and item.drafts[0].kind == "region"][
        :60
    ]:
        (picture,), (draft,) = item.pictures, item.drafts
        there = isinstance(picture, MarkedPhantom)
        assert draft.answers == (("yes",) if there else ("no",))
        assert (picture.code in picture.codes) == there
        key = (picture.codes, picture.seed, *sorted((picture.code, picture.empty_too if there else picture.marked_too)))
        found[key].append(why_not(picture))
    assert len(found) == 30
    assert all(len(of_it) == 2 and of_it[0] == of_it[1] for of_it in found.values())
    assert None in {of_it[0] for of_it in found.values()}


def why_not(drawing):
    try:
        drawing.draw(IMAGES)
    except DropStudyError as why:
        return str(why)
    return None
