"""The page of `data stats` in a real browser: it paints, and nothing complains."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from chexalign.cli import main
from tests.pipeline.test_report_browser import CHROMIUM, browser
from tests.prepared import clean, question, write_tables

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser found"),
]


def test_the_page_paints(tmp_path, capsys):
    rows = clean(tmp_path / "data")
    asked = [question(i, "test" if row.split == "test" else "train", row.images) for i, row in enumerate(rows)]
    root = write_tables(tmp_path / "data", rows, {"made-up": asked})
    page, shot = tmp_path / "page.html", tmp_path / "page.png"
    assert main.main(["data", "stats", str(root), "--out", str(page)]) == 0
    with browser() as shown:
        shown.open(page.as_uri(), width=1200, height=3000)
        shown.picture(shot)
        assert shown.complaints == []
    pixels = np.asarray(Image.open(shot).convert("L"))
    for top in range(0, 3000, 1000):
        assert 0.01 < (pixels[top : top + 1000] < 200).mean() < 0.6
    assert (pixels[:, 1170:] >= 250).all(), "something sticks out on the right"
