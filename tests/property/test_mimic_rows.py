"""Whatever stands in MIMIC-CXR's tables and reports: no crash, and every exam is used or counted with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.mimic_cxr import MimicCXR
from chexalign.data.mimic_tables import METADATA_NAMES, SPLIT_NAMES, read_exams, with_priors
from chexalign.errors import UserError
from tests import trees

CELL = st.sampled_from(
    ["", "nan", "PA", "AP", "LATERAL", "LL", "pa ", "-1", "83000.5", "1e9", "../..", "a\x00b", "é", '"']
)
IDS = st.sampled_from(["10000001", "10000002", "19000001", "", "x", "../1", "1"])
ROW = st.tuples(CELL, IDS, IDS, CELL, CELL, CELL, CELL)
COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    "ViewPosition",
    "StudyDate",
    "StudyTime",
    "ViewCodeSequence_CodeMeaning",
)


@given(rows=st.lists(ROW, max_size=12))
def test_every_row_is_an_image_or_malformed(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = trees.write_csv(Path(folder) / METADATA_NAMES[1], COLUMNS, rows)
        exams, malformed = read_exams(path)
    assert sum(len(exam.images) for exam in exams) + malformed == len(rows)
    assert len({exam.study for exam in exams}) == len(exams)
    for before, exam in zip(exams, with_priors(exams), strict=True):
        assert (before.study, before.images) == (exam.study, exam.images)
        assert exam.prior is None or exam.prior[0] != exam.study


@given(
    texts=st.lists(st.text("FINDGS:IMPRESO \n.ab_\x00é", max_size=60), min_size=2, max_size=4),
    splits=st.lists(st.sampled_from(["train", "validate", "test", "val", ""]), min_size=4, max_size=4),
    jpeg=st.lists(st.sampled_from([b"", b"\xff\xd8", b"no image", None]), min_size=4, max_size=4),
    prior=st.booleans(),
)
def test_every_exam_becomes_a_study_or_has_a_reason(texts, splits, jpeg, prior):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        metadata = []
        for n, text in enumerate(texts):
            metadata += trees.mimic_exam(50 + n, 10000001, {f"d{n}": "PA"}, date=21800101 + n)
            report = root / f"mimic-cxr-reports/files/p10/p10000001/s{50 + n}.txt"
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(text)
            image = root / f"files/p10/p10000001/s{50 + n}/d{n}.jpg"
            trees.write_image(image)
            if n and (data := jpeg[n]) is not None:
                image.write_bytes(data)
        trees.write_csv(root / METADATA_NAMES[0], trees.METADATA, metadata)
        told = [[f"d{n}", 50 + n, 10000001, splits[n]] for n in range(len(texts))]
        trees.write_csv(root / SPLIT_NAMES[0], ("dicom_id", "study_id", "subject_id", "split"), told)
        dataset = MimicCXR(split={"prefer": 2}, root=root, prior=prior)
        try:
            items, dropped = dataset.items()
        except UserError:
            return  # nothing of the split can be used
        assert len(items) + sum(dropped.values()) == len(texts)
        for item in items:
            with contextlib.suppress(DropStudyError):
                study = dataset.study(item, root)
                assert study.reference == " ".join(study.reference.split())
