"""Takes the pictures of docs/img from the sample report, whose texts are written by hand and whose numbers are made up.

python bench/report_sample_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from browser import browser
from chexalign.present.html import write_report
from report_sample import sample_report

FOLDER = Path(__file__).parent.parent / "docs" / "img"
WIDTH_PX = 1280
_COLORS = 256  # of the palette, red and green among them: half of the bytes
# Name of the picture: where the page is, its height, and what is scrolled into view.
VIEWS = {
    "report-summary": ("", 780, "#holds"),
    "report-cases": ("#study=sample-06&arm=dpo_label", 690, "#browser"),
    "report-judges": ("", 640, "#judges"),
}


def main() -> None:
    """Writes every picture."""
    with tempfile.TemporaryDirectory() as name, browser() as page:
        path = Path(name) / "report.html"
        write_report(sample_report(), path)
        for picture, (place, height, target) in VIEWS.items():
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
