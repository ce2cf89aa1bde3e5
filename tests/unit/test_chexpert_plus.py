"""CheXpert Plus in its public layout, odd cells included, on small trees written here."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from chexalign.data.base import DropStudyError
from chexalign.data.chexpert_plus import LICENSE, CheXpertPlus
from chexalign.data.chexpert_plus_table import read_plus
from chexalign.errors import UserError
from tests import trees

ALL = {"sft": 6, "prefer": 100, "validation": 100, "test": 100}
BOTH = ("frontal", "lateral")
PATIENTS = 24


@pytest.fixture
def root(tmp_path):
    return trees.plus_tree(tmp_path / "plus", patients=PATIENTS)


def by_id(dataset: CheXpertPlus) -> dict:
    return {item.id: item for item in dataset.items()[0]}


def test_studies_are_grouped_split_by_patient_and_accounted_for(root):
    items, dropped = CheXpertPlus(split=ALL, root=root).items()
    assert dropped == {"no_findings_section": PATIENTS // 3, "beyond_the_split": 1}  # the other study of a patient
    assert len(items) + sum(dropped.values()) == 2 * PATIENTS
    patients = {name: {i.payload[0].patient for i in items if i.split == name} for name in ALL}
    assert all(patients.values())
    assert sum(map(len, patients.values())) == len(set().union(*patients.values()))
    assert patients["validation"] == {f"patient{PATIENTS - 1:05d}", f"patient{PATIENTS:05d}"}
    assert sum(i.split == "sft" for i in items) == 6


def test_the_test_split_is_fixed_by_the_patients_alone(root):
    whole = {i.id for i in CheXpertPlus(split=ALL, root=root).items()[0] if i.split == "test"}
    trained = CheXpertPlus(split={"sft": 100}, root=root).items()[0]
    assert whole
    assert not whole & {i.id for i in trained}


def test_a_study_by_hand(root):
    dataset = CheXpertPlus(split=ALL, views=BOTH, root=root)
    study = dataset.study(by_id(dataset)["patient00001_study2"], Path("unused"))
    assert (study.patient_id, study.source, study.license) == ("patient00001", "chexpert-plus", LICENSE)
    assert study.reference == trees.FINDINGS[3].upper()
    assert study.impression == "1. NO ACUTE PROCESS. 2. LINES AS ABOVE."
    assert study.indication == "Cough."
    assert [image.view for image in study.images] == ["frontal", "lateral"]
    assert study.images[0].path.endswith("PNG/train/patient00001/study2/view1_frontal.png")
    assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_the_newest_earlier_frontal_image_comes_last(root):
    dataset = CheXpertPlus(split=ALL, root=root, prior=True)
    items = by_id(dataset)
    later, first = (dataset.study(items[f"patient00001_study{n}"], Path("unused")) for n in (2, 1))
    assert [image.role for image in later.images] == ["current", "prior"]
    assert "patient00001/study1/" in later.images[1].path
    assert [image.role for image in first.images] == ["current"]
    Path(later.images[1].path).unlink()
    with pytest.raises(DropStudyError, match="prior_image_missing"):
        dataset.study(items["patient00001_study2"], Path("unused"))


def told(tmp_path, *rows):
    return read_plus(trees.write_plus(tmp_path, rows))


def test_clinical_history_and_history_are_joined(tmp_path):
    cells = [("Cough.\n", "Smoker."), ("\n", "Smoker."), ("Same.", "Same."), ("\n", " \n"), ("nan", "")]
    rows = [
        trees.plus_row(1, n, 1, section_clinical_history=clinical, section_history=history)
        for n, (clinical, history) in enumerate(cells, start=1)
    ]
    studies, _ = told(tmp_path, *rows)
    assert [s.indication for s in studies.values()] == ["Cough. Smoker.", "Smoker.", "Same.", None, None]


def test_of_several_frontal_images_pa_goes_before_ap_and_lower_numbers_first(tmp_path):
    rows = [
        trees.plus_row(1, 1, 10, ap_pa="AP"),
        trees.plus_row(1, 1, 1, lateral=True),
        trees.plus_row(1, 1, 9, ap_pa="AP"),
        trees.plus_row(1, 1, 11, ap_pa="PA"),
    ]
    study = told(tmp_path, *rows)[0]["patient00001_study1"]
    frontal = [Path(name).stem for name, view in study.images if view == "frontal"]
    assert frontal == ["view11_frontal", "view9_frontal", "view10_frontal"]
    assert study.frontal is not None
    assert study.frontal.endswith("view11_frontal.jpg")


def test_rows_that_are_left_out_have_a_reason(tmp_path):
    good = trees.plus_row(1, 1, 1)
    rows = [
        good,
        good,
        trees.plus_row(1, 1, 2, section_findings="Another text."),
        trees.plus_row(1, 2, 1, deid_patient_id="patient00009"),
        trees.plus_row(1, 2, 1) | {"split": "valid"},
        trees.plus_row(1, 2, 1, path_to_image="train/../../patient00001/study2/view1_frontal.jpg"),
        trees.plus_row(1, 2, 1, path_to_image=""),
        trees.plus_row(1, 3, 1, path_to_image="CheXpert-v1.0/train/patient00001/study3/view1_frontal.jpg"),
    ]
    studies, dropped = told(tmp_path, *rows)
    assert list(studies) == ["patient00001_study1", "patient00001_study3"]
    assert dropped == {"image_listed_twice": 1, "id_of_another_study": 1, "malformed_row": 4}


@pytest.mark.parametrize(
    ("place", "ending"),
    [
        *((".", ".jpg"), ("PNG/PNG", ".png"), ("png_chexpert_plus_chunk_0/PNG", ".png"), ("CheXpert-v1.0", ".jpg")),
        *(("PNG/png_chexpert_plus_chunk_0/PNG", ".png"), ("elsewhere/DICOM", ".png")),
    ],
)
def test_images_are_found_where_the_archives_put_them(root, place, ending):
    where = root / place
    where.mkdir(parents=True, exist_ok=True)
    for name in ("train", "valid"):
        shutil.move(root / "PNG" / name, where / name)
    for path in list(where.rglob("*.png")):
        if ending == ".jpg":
            trees.write_image(path.with_suffix(".jpg"))
            path.unlink()
    images = root / "elsewhere" if place.startswith("elsewhere") else None
    dataset = CheXpertPlus(split=ALL, root=root, images=images)
    items, dropped = dataset.items()
    assert "image_missing" not in dropped
    assert dataset.study(items[0], Path("unused")).images[0].path.endswith(f"1_frontal{ending}")


def test_dicom_files_are_taken_where_no_png_is(root):
    there = root / "PNG/train/patient00001/study1/view1_frontal.png"
    dicom = root / "DICOM/Uncompressed" / there.relative_to(root / "PNG").with_suffix(".dcm")
    dicom.parent.mkdir(parents=True)
    there.rename(dicom)
    items = by_id(CheXpertPlus(split=ALL, root=root))
    assert items["patient00001_study1"].payload[1] == [(str(dicom), "frontal")]


def test_what_is_missing_is_dropped_with_its_reason(root):
    (root / "PNG/train/patient00001/study1/view1_frontal.png").unlink()
    dropped = CheXpertPlus(split=ALL, root=root).items()[1]
    assert (dropped["no_findings_section"], dropped["image_missing"]) == (PATIENTS // 3, 1)
    dropped = CheXpertPlus(split=ALL, views=("lateral",), root=root).items()[1]
    assert dropped["no_image_of_the_views"] == PATIENTS


@pytest.mark.parametrize(("gone", "named"), [("df_chexpert_plus_240401.csv", "df_chexpert"), ("PNG", "PNG/train")])
def test_a_missing_part_is_named(root, gone, named):
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "png_chexpert_plus_chunk_0.zip").touch()
    with pytest.raises(UserError, match=named) as caught:
        CheXpertPlus(split=ALL, root=root).items()
    assert "png_chexpert_plus_chunk_0.zip" in caught.value.why


def test_a_patient_who_is_in_both_splits_stays_held_out(root):
    rows = [trees.plus_row(n, 1, 1) for n in range(1, 9)]
    rows.append(trees.plus_row(3, 2, 1, split="valid"))
    trees.write_plus(root, rows)
    trees.write_image(root / "PNG/valid/patient00003/study2/view1_frontal.png")
    items, dropped = CheXpertPlus(split={"sft": 99, "validation": 9}, root=root).items()
    assert dropped["patient_in_another_split"] == 1
    assert {i.payload[0].patient for i in items if i.split == "validation"} == {"patient00003"}


def test_a_link_out_of_the_folder_is_not_followed(root, tmp_path):
    path = root / "PNG/train/patient00001/study1/view1_frontal.png"
    path.rename(tmp_path / "outside.png")
    path.symlink_to(tmp_path / "outside.png")
    dataset = CheXpertPlus(split=ALL, root=root, prior=True)
    items, dropped = dataset.items()
    assert dropped["image_outside_the_folder"] == 1
    later = next(item for item in items if item.id == "patient00001_study2")
    with pytest.raises(DropStudyError, match="prior_image_missing"):
        dataset.study(later, tmp_path)
