"""MIMIC-CXR in its official layout, odd values included, on small trees written here."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from chexalign.data.base import DropStudyError
from chexalign.data.mimic_cxr import LICENSE, MimicCXR
from chexalign.data.mimic_tables import read_exams, with_priors
from chexalign.errors import UserError
from tests import trees

ALL = {"sft": 8, "prefer": 100, "validation": 100, "test": 100}


@pytest.fixture
def root(tmp_path):
    return trees.mimic_tree(tmp_path / "mimic")


def studies(dataset: MimicCXR) -> tuple[list, dict[str, int]]:
    """The studies, and everything that was dropped on the way."""
    items, dropped = dataset.items()
    rows = []
    for item in items:
        try:
            rows.append(dataset.study(item, Path("unused")))
        except DropStudyError as e:
            dropped[str(e)] = dropped.get(str(e), 0) + 1
    return rows, dropped


def test_official_splits_become_ours_by_patient(root):
    rows, dropped = studies(MimicCXR(split=ALL, root=root))
    of = {name: {row.patient_id for row in rows if row.split == name} for name in ALL}
    assert all(of.values())
    assert sum(map(len, of.values())) == len(set().union(*of.values()))
    assert sum(row.split == "sft" for row in rows) == 8
    assert len(rows) + sum(dropped.values()) == 24
    assert dropped["no_findings_section"] > 0


def test_a_study_by_hand(root):
    dataset = MimicCXR(split=ALL, views=("frontal", "lateral"), root=root)
    study = next(row for row in studies(dataset)[0] if row.id == "s50000000")
    assert (study.patient_id, study.source, study.license) == ("10000000", "mimic-cxr", LICENSE)
    assert study.split in ("sft", "prefer")
    assert study.reference == trees.FINDINGS[0]
    assert (study.indication, study.impression, study.codes) == ("Cough.", "See above.", ())
    assert [image.view for image in study.images] == ["frontal", "lateral"]
    assert all(Path(image.path).is_absolute() and image.height_px == 24 for image in study.images)


def test_the_split_does_not_change(root):
    first, _ = MimicCXR(split=ALL, root=root).items()
    again, _ = MimicCXR(split=ALL, root=root).items()
    assert first == again


def test_counts_are_caps_and_the_rest_is_counted(root):
    items, dropped = MimicCXR(split={"prefer": 3, "test": 1}, root=root).items()
    assert sorted(item.split for item in items) == ["prefer"] * 3 + ["test"]
    assert len(items) + sum(dropped.values()) == 24
    assert list(dropped)[-1] == "beyond_the_split"


def test_with_a_cap_the_studies_that_are_taken_can_all_be_used(root):
    dataset = MimicCXR(split={"prefer": 9}, root=root)
    rows, _ = studies(dataset)
    assert len(rows) == 9


def test_the_dataset_works_in_another_process(root):
    dataset = MimicCXR(split={"test": 1}, root=root)
    items, _ = dataset.items()
    assert pickle.loads(pickle.dumps(dataset)).study(items[0], Path("unused")) == dataset.study(
        items[0], Path("unused")
    )


def test_the_newest_earlier_frontal_image_comes_last(root):
    rows, _ = studies(MimicCXR(split=ALL, views=("frontal", "lateral"), root=root, prior=True))
    later = [row for row in rows if row.id.endswith("1")]
    assert later
    for row in rows:
        roles = [image.role for image in row.images]
        assert roles == (["current", "current", "prior"] if row in later else ["current", "current"])
        if row in later:
            assert row.id[:-1] + "0/" in row.images[2].path


def metadata(path: Path, rows: list[list]) -> Path:
    return trees.write_csv(path / "mimic-cxr-2.0.0-metadata.csv.gz", trees.METADATA, rows)


def test_times_without_leading_zeros_are_ordered(tmp_path):
    times = {1: "93000.25", 2: "123000", 3: "5", 4: ""}
    rows = [row for n, time in times.items() for row in trees.mimic_exam(n, 11, {f"d{n}": "PA"}, time=time)]
    exams = {exam.study: exam.prior for exam in with_priors(read_exams(metadata(tmp_path, rows))[0])}
    assert exams == {"4": None, "3": ("4", "d4"), "1": ("3", "d3"), "2": ("1", "d1")}


def test_exams_of_one_moment_are_not_each_other_s_prior(tmp_path):
    rows = trees.mimic_exam(1, 11, {"a": "PA"}) + trees.mimic_exam(2, 11, {"b": "PA"})
    assert [exam.prior for exam in with_priors(read_exams(metadata(tmp_path, rows))[0])] == [None, None]


def test_an_earlier_exam_without_a_frontal_image_is_no_prior(tmp_path):
    rows = [
        *trees.mimic_exam(1, 11, {"a": "PA"}, date=21800101),
        *trees.mimic_exam(2, 11, {"b": "LATERAL"}, date=21800102),
        *trees.mimic_exam(3, 11, {"c": "AP"}, date=21800103),
    ]
    assert with_priors(read_exams(metadata(tmp_path, rows))[0])[2].prior == ("1", "a")


def test_views_that_are_missing_or_odd(tmp_path):
    rows = [
        *trees.mimic_exam(1, 11, {"z": "AP", "y": "PA", "x": "LL", "w": "SWIMMERS"}),
        *trees.mimic_exam(2, 11, {"v": ""}, coded="postero-anterior"),
        *trees.mimic_exam(3, 11, {"u": ""}),
    ]
    first, second, third = read_exams(metadata(tmp_path, rows))[0]
    assert first.images == (("y", "frontal"), ("z", "frontal"), ("x", "lateral"), ("w", "unknown"))
    assert second.images == (("v", "frontal"),)
    assert third.images == (("u", "unknown"),)


def test_ids_that_would_lead_out_of_the_tree_are_malformed(tmp_path):
    rows = [*trees.mimic_exam(1, 11, {"../../x": "PA"}), *trees.mimic_exam(2, 11, {"a": "PA"})]
    rows += [["b", "../1", "3", *rows[0][3:]]]
    exams, malformed = read_exams(metadata(tmp_path, rows))
    assert ([exam.study for exam in exams], malformed) == (["2"], 2)


def test_what_is_missing_is_dropped_with_its_reason(root):
    items, _ = MimicCXR(split={"prefer": 100}, root=root).items()
    exams = [(i.id, i.payload[1]) for i in items]
    texts = {i: root / f"mimic-cxr-reports/files/{exam.folder}/{i}.txt" for i, exam in exams}
    good = [(i, exam) for i, exam in exams if "FINDINGS" in texts[i].read_text()]
    image = [root / f"files/{exam.folder}/{i}/{exam.images[0][0]}.jpg" for i, exam in good]
    image[0].unlink()
    image[1].write_bytes(image[1].read_bytes()[:-2])
    image[2].write_bytes(b"no image")
    texts[good[3][0]].unlink()
    _, dropped = studies(MimicCXR(split={"prefer": 100}, root=root))
    assert {k: n for k, n in dropped.items() if k not in ("no_findings_section", "beyond_the_split")} == {
        "image_missing": 1,
        "image_unreadable": 2,
        "report_missing": 1,
    }


def test_a_damaged_prior_says_so(root):
    items, _ = (dataset := MimicCXR(split={"prefer": 100}, root=root, prior=True)).items()
    later = next(item for item in items if item.payload[1].prior)
    exam = later.payload[1]
    study, dicom = exam.prior
    (root / f"files/{exam.folder}/s{study}/{dicom}.jpg").write_bytes(b"")
    with pytest.raises(DropStudyError, match="prior_image_unreadable"):
        dataset.study(later, Path("unused"))


def test_reports_and_images_may_be_elsewhere(root, tmp_path):
    shutil.move(root / "mimic-cxr-reports", tmp_path / "reports")
    shutil.move(root / "files", tmp_path / "small")
    elsewhere = {"archive": tmp_path / "reports", "images": tmp_path / "small"}
    assert studies(MimicCXR(split=ALL, root=root, **elsewhere))[0]


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz or"),
        ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv.gz or"),
        ("mimic-cxr-reports", "mimic-cxr-reports/files/p10/p10000000/s50000000.txt"),
        ("files", "files/p10/p10000000/s50000000/02faf080-aaaaaaaa.jpg"),
    ],
)
def test_a_missing_part_is_named_with_what_is_there(root, gone, named):
    there = root / gone
    shutil.rmtree(there) if there.is_dir() else there.unlink()
    with pytest.raises(UserError, match=named) as caught:
        MimicCXR(split=ALL, root=root).items()
    assert "There is: " in caught.value.why


def test_no_root_and_a_wrong_root(tmp_path):
    with pytest.raises(UserError, match=r"data\.root is missing"):
        MimicCXR(split=ALL).items()
    with pytest.raises(UserError, match="is not a folder"):
        MimicCXR(split=ALL, root=tmp_path / "none").items()


def test_a_table_of_another_kind_is_refused(root):
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    trees.write_csv(path, ("dicom_id;study_id;split",), [["a;1;train"]])
    with pytest.raises(UserError, match="has no column study_id"):
        MimicCXR(split=ALL, root=root).items()
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="cannot be read"):
        MimicCXR(split=ALL, root=root).items()


def test_a_split_that_gets_nothing_is_an_error(root):
    with pytest.raises(UserError, match=r"data\.split\.prefer has no study"):
        MimicCXR(split={"sft": 1000, "prefer": 5}, root=root).items()


def test_links_out_of_the_folder_are_not_followed(root, tmp_path):
    outside = trees.write_image(tmp_path / "outside.jpg")
    text = tmp_path / "outside.txt"
    text.write_text(trees.report("Outside."))
    dataset = MimicCXR(split=ALL, root=root)
    items, _ = dataset.items()
    places, exam = items[0].payload
    image = places.image(exam, exam.study, exam.images[0][0])
    report = places.reports / exam.folder / f"s{exam.study}.txt"
    for path, target, reason in ((image, outside, "image_outside"), (report, text, "report_outside")):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(DropStudyError, match=f"{reason}_the_folder"):
            dataset.study(items[0], tmp_path)
        path.unlink()
        path.symlink_to(shutil.copy(target, root / f"inside{target.suffix}"))
        assert dataset.study(items[0], tmp_path).id == items[0].id
    image.unlink()
    image.symlink_to(outside)
    capped = MimicCXR(split={"prefer": 99, "sft": 1}, root=root).items()[1]
    assert capped.get("image_outside_the_folder", 0) <= 1  # asked for only where it decides which studies are taken


def test_a_patient_who_is_in_two_official_splits_stays_held_out(root):
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    import gzip

    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    first = lines[1].split(",")
    lines[1:3] = [line.rpartition(",")[0] + ",test" for line in lines[1:3]]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    items, dropped = MimicCXR(split=ALL, root=root).items()
    assert {item.split for item in items if item.payload[1].patient == first[2]} == {"test"}
    assert dropped["patient_in_another_split"] == 1


def test_an_image_that_is_listed_twice_is_one_image(tmp_path):
    rows = trees.mimic_exam(50, 10_000_001, {"a": "PA", "b": "LL"})
    path = trees.write_csv(tmp_path / "m.csv", trees.METADATA, [*rows, rows[0]])
    exams, malformed = read_exams(path)
    assert ([exam.images for exam in exams], malformed) == ([(("a", "frontal"), ("b", "lateral"))], 1)
