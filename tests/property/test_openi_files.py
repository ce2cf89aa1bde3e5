"""Whatever the files of OpenI hold: a UserError that names one, or every report is used or counted with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError
from chexalign.data.openi_png import OpenI
from chexalign.errors import UserError
from tests import trees

TEXT = st.sampled_from([None, "", " \n", "XXXX.", "Clear lungs.", "&lt;b&gt;", "&nbsp;", "a &amp;amp; b"])
NAME = st.sampled_from(["CXR1_IM-0001-1001", "CXR1_IM-0001-2001", "CXR2_IM-0002-1001", "", "../x", "none"])
REPORT = st.tuples(st.integers(1, 3), TEXT, st.lists(NAME, max_size=4))


@given(reports=st.lists(REPORT, max_size=5), views=st.lists(st.sampled_from(["Frontal", "Lateral", "", "nan"])))
def test_every_report_is_used_or_has_a_reason(reports, views):
    with tempfile.TemporaryDirectory() as folder:
        root = trees.openi_tree(Path(folder), studies=2)
        for path in (root / "ecgen-radiology").iterdir():
            path.unlink()
        for n, (number, text, images) in enumerate(reports):
            (root / f"ecgen-radiology/{n}.xml").write_text(trees.openi_xml(number, findings=text, images=images))
        rows = [[1, f"1_IM-000{n}-1001.dcm.png", view] for n, view in enumerate(views)]
        trees.write_csv(root / "indiana_projections.csv", ("uid", "filename", "projection"), rows)
        dataset = OpenI(split={"test": 0}, root=root)
        with contextlib.suppress(UserError):  # no report at all
            items, dropped = dataset.items()
            assert len(items) + sum(dropped.values()) == len(reports)
            dataset = OpenI(split={"test": dropped.get("beyond_the_split", 0)}, root=root)
            for item in dataset.items()[0]:
                assert dataset.study(item, root).reference


@given(at=st.floats(0, 1), new=st.sampled_from([b"", b"<", b"&x;", b"\x00", b"\xff", b'"']))
def test_damaged_xml_is_read_or_named(at, new):
    with tempfile.TemporaryDirectory() as folder:
        root = trees.openi_tree(Path(folder), studies=2)
        path = root / "ecgen-radiology/1.xml"
        data = path.read_bytes()
        place = int(at * len(data))
        path.write_bytes(data[:place] + new + (data[place:] if new else b""))
        dataset = OpenI(split={"test": 1}, root=root)
        try:
            items, _ = dataset.items()
        except UserError as e:
            told = str(e)
        else:
            told = ""
            for item in items:
                with contextlib.suppress(DropStudyError):
                    dataset.study(item, root)
        assert "lungs" not in told
        assert not told or "1.xml" in told or "asks for" in told
