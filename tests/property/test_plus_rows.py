"""Whatever stands in the table of CheXpert Plus: no crash, and every row is an image or counted with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.chexpert_plus import CheXpertPlus
from chexalign.data.chexpert_plus_table import TABLE_NAMES, read_plus
from chexalign.errors import UserError
from tests import trees

PATH = st.sampled_from(
    [
        *("train/patient00001/study1/view1_frontal.jpg", "train/patient00001/study2/view1_frontal.jpg"),
        *("train/patient00001/study1/view2_lateral.jpg", "valid/patient00001/study1/view1_frontal.jpg"),
        *("valid/patient00002/study1/view1_frontal.jpg", "train/../patient1/study1/view1_frontal.jpg"),
        *("", "nan", "/etc/passwd", "train/patient1/study1/view1_frontal", "a\x00b", "é/ü.jpg"),
    ]
)
CELL = st.sampled_from(
    [
        "",
        "\n",
        "nan",
        "Frontal",
        "Lateral",
        "PA",
        "AP",
        "patient00001",
        "1",
        "1e400",
        "-3",
        "train",
        "valid",
        'a "b',
        "Clear.",
    ]
)
COLUMNS = [name for name in trees.PLUS if name != "path_to_image"]


@given(rows=st.lists(st.tuples(PATH, st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, CELL))), max_size=10))
def test_every_row_is_an_image_or_has_a_reason(rows):
    with tempfile.TemporaryDirectory() as folder:
        whole = [dict.fromkeys(trees.PLUS, "") | cells | {"path_to_image": path} for path, cells in rows]
        studies, dropped = read_plus(trees.write_plus(Path(folder), whole))
    assert sum(len(study.images) for study in studies.values()) + sum(dropped.values()) == len(rows)
    for study in studies.values():
        assert study.images
        assert all(".." not in name and name.startswith(("train/", "valid/")) for name, _ in study.images)


@given(data=st.binary(max_size=60), header=st.booleans())
def test_a_file_of_any_bytes_is_read_or_told(data, header):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TABLE_NAMES[0]
        path.write_bytes((",".join(trees.PLUS).encode() + b"\n" if header else b"") + data)
        with contextlib.suppress(UserError):
            read_plus(path)


@given(rows=st.lists(st.tuples(PATH, st.sampled_from(["Clear.", "\n"])), min_size=1, max_size=6), prior=st.booleans())
def test_every_study_is_used_or_has_a_reason(rows, prior):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        base = trees.plus_row(1, 1, 1)
        whole = [
            base | {"path_to_image": path, "section_findings": text, "split": "", "deid_patient_id": ""}
            for path, text in rows
        ]
        studies, _ = read_plus(trees.write_plus(root, whole))
        trees.write_image(root / "PNG/train/patient00001/study1/view1_frontal.png")
        trees.write_image(root / "PNG/valid/patient00002/study1/view1_frontal.png").write_bytes(b"no image")
        dataset = CheXpertPlus(split={"sft": 1, "validation": 9}, root=root, prior=prior)
        try:
            items, dropped = dataset.items()
        except UserError:
            return  # nothing of a split can be used
        of_rows = ("malformed_row", "image_listed_twice", "id_of_another_study")
        assert len(items) + sum(n for reason, n in dropped.items() if reason not in of_rows) == len(studies)
        for item in items:
            with contextlib.suppress(DropStudyError):
                assert dataset.study(item, root / "images").id == item.id
