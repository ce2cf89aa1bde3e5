"""OpenI with its own images, in the layouts of its two editions, on small trees written here."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from chexalign.data import openi, openi_files
from chexalign.data.base import DropStudyError
from chexalign.data.openi_files import image_key
from chexalign.data.openi_png import OpenI
from chexalign.errors import UserError
from tests import trees

SPLIT = {"sft": 4, "prefer": 3, "test": 3}


@pytest.fixture
def root(tmp_path):
    return trees.openi_tree(tmp_path / "openi")


def test_the_official_layout_is_read(root):
    items, dropped = (dataset := OpenI(split=SPLIT, views=("frontal", "lateral"), root=root)).items()
    assert dropped == {"no_findings_section": 2}
    rows = {item.id: dataset.study(item, Path("unused")) for item in items}
    assert len(rows) == 10
    study = rows["CXR1"]
    assert (study.reference, study.indication, study.codes) == (trees.FINDINGS[1], "with cough.", ("normal",))
    assert (study.source, study.license) == ("openi", openi.LICENSE)
    assert [(Path(i.path).name, i.view) for i in study.images] == [
        ("CXR1_IM-0001-1001.png", "frontal"),
        ("CXR1_IM-0001-2001.png", "lateral"),
    ]


def test_more_to_train_on_changes_nothing_of_the_test_split(root):
    few, many = (OpenI(split={"sft": n, "test": 3}, root=root).items()[0] for n in (1, 7))
    assert {i.id for i in few if i.split == "test"} == {i.id for i in many if i.split == "test"}


def test_names_of_the_two_editions_are_one_key():
    assert image_key("CXR1_1_IM-0001-3001.png") == image_key("1_IM-0001-3001.dcm.png") == "1_IM-0001-3001"
    assert image_key("CXR2_IM-0652-1001-0002") == "2_IM-0652-1001-0002"
    assert image_key("another.png") == "another"


def test_the_images_of_the_kaggle_edition_are_found(root):
    folder = root / "images/images_normalized"
    folder.mkdir(parents=True)
    for path in (root / "NLMCXR_png").iterdir():
        path.rename(folder / f"{path.stem.removeprefix('CXR')}.dcm.png")
    (root / "NLMCXR_png").rmdir()
    assert len(OpenI(split=SPLIT, root=root).items()[0]) == 10


def test_the_reports_may_be_packed(root):
    with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as tar:
        for path in (root / "ecgen-radiology").iterdir():
            info = tarfile.TarInfo(f"ecgen-radiology/{path.name}")
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    loose, _ = OpenI(split=SPLIT, root=root).items()
    shutil.rmtree(root / "ecgen-radiology")
    assert OpenI(split=SPLIT, root=root).items()[0] == loose


def test_reports_and_images_may_be_elsewhere(root, tmp_path):
    elsewhere = {"archive": tmp_path / "xml", "images": tmp_path / "png"}
    (root / "ecgen-radiology").rename(elsewhere["archive"])
    (root / "NLMCXR_png").rename(elsewhere["images"])
    assert len(OpenI(split=SPLIT, root=root, **elsewhere).items()[0]) == 10


def test_what_is_missing_is_dropped_with_its_reason(root):
    images = root / "NLMCXR_png"
    for name in ("CXR1_IM-0001-1001", "CXR1_IM-0001-2001", "CXR2_IM-0002-1001"):
        (images / f"{name}.png").unlink()
    (images / "CXR3_IM-0003-1001.png").write_bytes((images / "CXR3_IM-0003-1001.png").read_bytes()[:-20])
    (root / "ecgen-radiology/4.xml").write_text(
        trees.openi_xml(4, findings="XXXX.", images=["CXR4_IM-0004-1001", "CXR4_IM-0004-2001"])
    )
    items, dropped = (dataset := OpenI(split={"test": 7}, root=root)).items()
    assert dropped == {
        "no_findings_section": 2,
        "image_missing": 1,
        "no_image_of_the_views": 1,
        "findings_empty_after_cleaning": 1,
    }
    with pytest.raises(DropStudyError, match="image_unreadable"):
        dataset.study(next(item for item in items if item.id == "CXR3"), Path("unused"))


@pytest.mark.parametrize(("gone", "named"), [("ecgen-radiology", "ecgen-radiology or"), ("NLMCXR_png", "NLMCXR_png")])
def test_a_missing_part_is_named(root, gone, named):
    shutil.rmtree(root / gone)
    with pytest.raises(UserError, match=named):
        OpenI(split=SPLIT, root=root).items()


def test_without_a_table_of_views_the_headers_stand_in(root, monkeypatch):
    (root / openi_files.VIEWS_NAME).unlink()
    monkeypatch.setattr(openi, "find_packaged", lambda name: root / name)
    monkeypatch.setattr(
        openi, "read_views", lambda path: {"CXR1_IM-0001-1001": "frontal", "CXR1_IM-0001-2001": "lateral"}
    )
    items, dropped = OpenI(split={"test": 1}, root=root).items()
    assert [item.id for item in items] == ["CXR1"]
    assert dropped["no_image_of_the_views"] == 9


def test_without_any_views_the_table_is_asked_for(root, monkeypatch):
    (root / openi_files.VIEWS_NAME).unlink()

    def not_installed(name):
        raise UserError("no", "package", "here")

    monkeypatch.setattr(openi, "find_packaged", not_installed)
    with pytest.raises(UserError, match=r"indiana_projections\.csv"):
        OpenI(split=SPLIT, root=root).items()


def test_more_than_there_is_is_refused(root):
    with pytest.raises(UserError, match="asks for 11 studies"):
        OpenI(split={"test": 11}, root=root).items()


def test_a_link_out_of_the_folder_is_not_followed(root, tmp_path):
    path = root / "NLMCXR_png/CXR1_IM-0001-1001.png"
    path.rename(tmp_path / "outside.png")
    path.symlink_to(tmp_path / "outside.png")
    items, dropped = OpenI(split={"test": 9}, root=root).items()
    assert (len(items), dropped["image_outside_the_folder"]) == (9, 1)
