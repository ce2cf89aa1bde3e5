"""Normalizers of references: by hand, by their promises, and where a recipe names one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.normalize import Normalized, normalizer, struct_filter
from chexalign.data.prepare import StudiesWorker
from chexalign.judges.normalize import clean
from chexalign.recipe import DataSpec
from chexalign.recipe.load import load_recipe
from chexalign.workflow import make_dataset
from tests import trees


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lungs are clear.", "The lungs are clear."),
        ("Clear. Compared to prior, no change. No effusion.", "Clear. No effusion."),
        ("PREVIOUSLY SEEN OPACITY IS GONE. NO EFFUSION.", "NO EFFUSION."),
        ("The tube was removed! Redemonstrated nodule? Recurrence of edema. Seen earlier.", ""),
        (
            "1. New opacity. 2. Prior nodule. 3. A nodule of 1.5 cm again seen.",
            "1. opacity. 3. A nodule of 1.5 cm seen.",
        ),
        ("Fracture of rib 5. Previous line is out. Clear.", "Fracture of rib 5. Clear."),
        ("A new line. Pressed against the wall, newly drawn.", "A line. Pressed against the wall, newly drawn."),
        ("Again, no effusion. New opacity.", "Again, no effusion. opacity."),
        ("Clear", "Clear"),
        ("  ", ""),
    ],
)
def test_the_struct_filter_by_hand(text, expected):
    assert struct_filter(text) == expected


@given(st.text(alphabet="abnew priorgain.1)! \n", max_size=80))
def test_the_struct_filter_leaves_nothing_of_earlier_exams_and_adds_nothing(text):
    found = struct_filter(text)
    assert "prior" not in found
    assert set(found.split()) <= set(text.split())
    assert struct_filter("Clear lungs. " + text.replace("prior", "")).startswith("Clear lungs.")


def test_names_mean_what_they_say():
    text = "**Lungs** [a]  Clear."
    assert normalizer("raw")(text) == text
    assert normalizer("chexalign-clean")(text) == clean(text) == "lungs clear."
    assert normalizer("chexalign-struct-filter")(text) == text
    assert DataSpec(source="table", split={}).normalizer == "raw"


@pytest.fixture
def table(tmp_path):
    rows = trees.table_rows(tmp_path)
    rows[0]["findings"], rows[1]["findings"] = "[All cut.]", "Unchanged from PRIOR. The LUNGS are clear."
    return trees.write_table(tmp_path / "t.csv", rows)


def dataset(table: Path, name: str):
    recipe = load_recipe("quick")
    data = DataSpec(source="table", root=table, split={"test": 12}, normalizer=name)
    return make_dataset(recipe.model_copy(update={"data": data}))


def test_a_recipe_names_one_and_a_reference_that_becomes_empty_is_dropped_with_its_reason(table):
    found = dataset(table, "chexalign-clean")
    assert isinstance(found, Normalized)
    items, dropped = found.items()
    assert (len(items), dropped, found.license, found.synthetic) == (12, {}, "not stated", False)
    part = StudiesWorker(found, items, Path("unused"), part_size=100).part(0)
    assert part.dropped == {"findings_empty_after_normalizing": 1}
    by_id = {study.id: study for study in part.rows}
    assert by_id["study1"].reference == "unchanged from prior. the lungs are clear."
    assert by_id["study1"].indication == "Cough."


def test_the_filter_is_applied_when_studies_are_made(table):
    found = dataset(table, "chexalign-struct-filter")
    item = next(item for item in found.items()[0] if item.id == "study1")
    assert found.study(item, Path("unused")).reference == "The LUNGS are clear."


def test_without_one_the_dataset_is_as_it_is(table):
    found = dataset(table, "raw")
    assert not isinstance(found, Normalized)
    with pytest.raises(DropStudyError):
        Normalized(found, "chexalign-clean").study(next(i for i in found.items()[0] if i.id == "study0"), Path("u"))
