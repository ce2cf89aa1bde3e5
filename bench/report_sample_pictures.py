"""Takes the pictures of docs/img from the sample report, whose texts are written by hand and whose numbers are made up.

python bench/report_sample_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from browser import Page, browser
from chexalign.present.data import ReportData
from chexalign.present.html import write_report
from report_sample import sample_report
from report_sample_mining import mining_sample

FOLDER = Path(__file__).parent.parent / "docs" / "img"
WIDTH_PX = 1280
_COLORS = 256  # of the palette, red and green among them: half of the bytes
# Name of the picture: where the page is, its height, and what is scrolled into view.
VIEWS = {
    "report-summary": ("", 780, "#holds"),
    "report-cases": ("#study=sample-06&arm=dpo_label", 690, "#browser"),
    "report-judges": ("", 640, "#judges"),
}
MINING_VIEWS = {"report-mining": ("#mined=mined&question=sample-q02", 800, "#mined-browser")}


def main() -> None:
    """Writes every picture."""
    with browser() as page:
        for data, views in ((sample_report(), VIEWS), (mining_sample(), MINING_VIEWS)):
            take(page, data, views)


def take(page: Page, data: ReportData, views: dict[str, tuple[str, int, str]]) -> None:
    """Writes the pictures of one report."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "report.html"
        write_report(data, path)
        for picture, (place, height, target) in views.items():
            page.open("about:blank")
            page.open(path.as_uri() + place, width=WIDTH_PX, height=height)
            page.run(f"document.querySelector('{target}').scrollIntoView({{behavior: 'instant'}})")
            page.wait("[...document.images].every((image) => image.complete)")
            out = FOLDER / f"{picture}.png"
            page.picture(out)
            with Image.open(out) as opened:
                opened.convert("RGB").quantize(_COLORS, Image.Quantize.MAXCOVERAGE).save(out, optimize=True)


if __name__ == "__main__":
    main()
