"""Questions become rows; what cannot is counted; splits follow from the patient alone."""

from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from chexalign.data.base import SPLIT_SEED, assign_splits, held_out_first
from chexalign.data.questions import REGION, SHARES, Draft, Picture, PixelBox, QuestionItem, QuestionsWorker, share_of
from chexalign.store import Table
from chexalign.types import Evidence, Question


class Source:
    name, license = "hand", "CC0"

    def __init__(self, items):
        self._items = items

    def items(self):
        return self._items, {}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (8, 6)).save(path)
    return Picture(str(path), "frontal")


VERIFY = Draft("effusion", "binary", "effusion", "verify", "Is there an effusion?", ("yes", "no"), ("yes",))


def parts(items, size, images):
    worker = QuestionsWorker(Source(items), items, images, part_size=size)
    return [worker.part(i) for i in range(worker.n_parts)]


def test_questions_share_the_images_of_their_item_and_have_ids_of_their_own(picture, tmp_path):
    drafts = (VERIFY, replace(VERIFY, name="edema", evidence=(Evidence("box", "edema", image=0, box=(0, 0, 1, 1)),)))
    (result,) = parts([QuestionItem("s1", "p1", "test", (picture,), drafts)], 10, tmp_path)
    assert len({row.id for row in result.rows}) == 2
    assert {row.images[0].width_px for row in result.rows} == {8}
    table = Table(tmp_path / "questions", Question)
    table.write_part(0, result.rows, fingerprint="f")
    assert table.part_rows(0) == list(result.rows)


def test_what_cannot_be_a_question_is_counted_by_question(picture, tmp_path):
    missing = Picture(str(tmp_path / "none.png"), "frontal")
    items = [
        QuestionItem("s1", "p1", "test", (missing,), (VERIFY, replace(VERIFY, name="b"))),
        QuestionItem("s2", "p1", "test", (picture,), (VERIFY, replace(VERIFY, answers=("maybe",)))),
    ]
    (result,) = parts(items, 10, tmp_path)
    assert len(result.rows) == 1
    assert result.dropped == {"image_missing": 2, "contradictory_question": 1}


def test_rows_do_not_depend_on_the_size_of_parts(picture, tmp_path):
    items = [QuestionItem(f"s{i}", f"p{i}", "test", (picture,), (VERIFY,)) for i in range(5)]
    rows = [[row for part in parts(items, size, tmp_path) for row in part.rows] for size in (1, 2, 5)]
    assert rows[0] == rows[1] == rows[2]


def test_shares_are_kept_and_follow_from_the_id_alone():
    found = Counter(share_of(f"p{i}") for i in range(4000))
    assert set(found) == set(SHARES)
    assert found["train"] / 4000 == pytest.approx(0.7, abs=0.03)
    assert share_of("p1") == share_of("p1")


def test_boxes_in_pixels_become_fractions_of_their_frame_or_of_the_image(picture, tmp_path):
    drafts = (
        replace(VERIFY, name="frame", boxes=(PixelBox("effusion", (256, -5, 2000, 512), frame=(1024, 1024)),)),
        replace(VERIFY, name="image", boxes=(PixelBox("effusion", (2, 3, 4, 6)),), text=f"What is {REGION}?"),
        replace(VERIFY, name="outside", boxes=(PixelBox("effusion", (9, 0, 12, 3)),)),
        replace(VERIFY, name="no number", boxes=(PixelBox("effusion", (float("nan"), 0, 12, 3)),)),
    )
    (result,) = parts([QuestionItem("s1", "p1", "test", (picture,), drafts)], 10, tmp_path)
    assert [row.evidence[0].box for row in result.rows] == [(0.25, 0.0, 1.0, 0.5), (0.25, 0.5, 0.5, 1.0)]
    assert "from 25% to 50% of the image's width" in result.rows[1].text
    assert result.dropped == {"box_outside_the_image": 2}


def test_an_image_that_no_policy_opens_is_decoded_once(tmp_path):
    path = tmp_path / "deep.png"
    Image.new("I;16", (8, 6)).save(path)
    (result,) = parts([QuestionItem("s1", "p1", "test", (Picture(str(path), "frontal"),), (VERIFY,))], 10, tmp_path)
    assert result.rows[0].images[0].path.endswith(".png")
    assert result.rows[0].images[0].path != str(path)


def test_patients_whose_questions_test_are_not_trained_on_by_their_reports():
    ids = [f"CXR{i}" for i in range(2000)]
    studies = assign_splits(ids, held_out_first({"sft": 800, "prefer": 600, "test": 400}), seed=SPLIT_SEED)
    assert {studies.get(i, "test") for i in ids if share_of(i) == "test"} == {"test"}
