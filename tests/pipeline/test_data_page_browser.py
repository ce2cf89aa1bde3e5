"""The page of `data stats` in a real browser: it paints, and nothing complains."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.cli import main
from tests.prepared import clean, question, write_tables

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from browser import CHROMIUM

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser found"),
]


def test_the_page_paints(tmp_path, capsys, one_browser):
    rows = clean(tmp_path / "data")
    asked = [question(i, "test" if row.split == "test" else "train", row.images) for i, row in enumerate(rows)]
    root = write_tables(tmp_path / "data", rows, {"made-up": asked})
    page, shot = tmp_path / "page.html", tmp_path / "page.png"
    assert main.main(["data", "stats", str(root), "--out", str(page)]) == 0
    one_browser.open(page.as_uri(), width=1200, height=3000)
    one_browser.picture(shot)
    assert one_browser.complaints == []
    pixels = np.asarray(Image.open(shot).convert("L"))
    for top in range(0, 3000, 1000):
        assert 0.01 < (pixels[top : top + 1000] < 200).mean() < 0.6
    assert (pixels[:, 1170:] >= 250).all(), "something sticks out on the right"
