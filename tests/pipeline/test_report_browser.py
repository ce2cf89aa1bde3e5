"""The report in a real browser: it paints, its script runs, and nothing complains."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCH = Path(__file__).parents[2] / "bench"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)
MAX_BYTES = 3_000_000
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0"),
)

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser found ({', '.join(BROWSERS)})"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        patch.setattr(sys, "argv", ["report_sample.py", str(path)])
        runpy.run_path(str(BENCH / "report_sample.py"), run_name="__main__")
    return path


def browse(report, folder, *flags):
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def complaints(stderr):
    return [line for line in stderr.splitlines() if "CONSOLE" in line]


def test_the_page_paints(report, tmp_path):
    picture = tmp_path / "report.png"
    done = browse(report, tmp_path, "--window-size=1200,3000", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert complaints(done.stderr) == []
    assert pixels.shape == (3000, 1200)
    for top in range(0, 3000, 1000):
        assert 0.01 < (pixels[top : top + 1000] < 200).mean() < 0.5
    assert (pixels[:, 1170:] >= 250).all(), "something sticks out on the right"


def test_the_script_shows_one_case_at_a_time(report, tmp_path):
    done = browse(report, tmp_path, "--dump-dom")
    assert complaints(done.stderr) == []
    assert 'data-ready="yes"' in done.stdout
    cases = re.findall(r'<article class="([^"]+)"', done.stdout)
    assert cases == ["case"] + ["case off"] * 11
    assert ">1 of 12<" in done.stdout


def test_a_complaint_would_be_seen(report, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace("<main>", '<main><img src="https://example.invalid/x.png">'))
    assert complaints(browse(broken, tmp_path, "--dump-dom").stderr), "the page's policy must refuse the network"


def test_the_file_is_small_and_needs_no_other(report):
    text = report.read_text()
    assert len(text.encode()) < MAX_BYTES
    assert re.findall(r'(?:src|href|action)="(?!data:|#)', text) == []
    assert not re.search(r"@import|url\((?!#)", text)
