"""How large the report of 2,300 studies is, and how soon it paints and can be used in a headless Chromium.

    python bench/report_size.py [--write] [--cases 2300] [--repeats 5] [--keep report.html]

Texts are written by hand and varied by number; images are drawn, with grain that makes them as large as radiographs of
their size are in JPEG, two to a study. The file is read from disk, each time in a new browser.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from browser import browser
from chexalign.demo.phantom import render
from chexalign.present import collect_cases
from chexalign.present.case import Case, CaseImage
from chexalign.present.html import write_report
from chexalign.run_folder import RunFolder
from chexalign.types import ImageRef, Study
from report_sample import sample_report
from results_file import figure, merge

RESULTS = Path(__file__).parent.parent / "results" / "report.json"
SEED, MAX_MB, MAX_PAINT_S = 11, 60.0, 3.0
CHECKED, CHECKED_SIZE = "tests/pipeline/test_report_browser.py", "tests/unit/test_collect.py"
_SIDE_PX, _GRAIN, _DRAWN = 1024, 9.0, 24  # of the files that the report's images are made from


def draw(folder: Path) -> list[ImageRef]:
    """Files of large images, each another drawing with another grain."""
    rng, refs = np.random.default_rng(SEED), []
    for i in range(_DRAWN):
        view = ("frontal", "lateral")[i % 2]
        small = Image.fromarray(
            render(("Cardiomegaly/mild",) if i % 3 else ("normal",), view=view, seed=i, size_px=256)
        )  # type: ignore[arg-type]
        pixels = np.asarray(small.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC), dtype=float)
        grain = Image.fromarray(rng.normal(0, _GRAIN, (256, 256))).resize((_SIDE_PX, _SIDE_PX))
        Image.fromarray((pixels + np.asarray(grain)).clip(0, 255).astype(np.uint8)).save(
            folder / f"{i}.jpg", quality=92
        )
        refs.append(ImageRef(f"{i}.jpg", "0" * 64, view, _SIDE_PX, _SIDE_PX, synthetic=True))  # type: ignore[arg-type]
    return refs


def many_cases(cases: Sequence[Case], images: Sequence[Sequence[CaseImage]]) -> list[Case]:
    """As many cases as there are images, the sample's texts over and over, with long ones as of a large collection."""
    out = []
    for i, own in enumerate(images):
        case = cases[i % len(cases)]
        more = cases[(i * 7 + 3) % len(cases)]
        texts = {policy: f"{text} {more.texts[policy]}" for policy, text in case.texts.items()}
        reference = f"{case.reference} {more.reference}"
        named = {"study_id": f"study-{i:05}", "images": own, "texts": texts, "reference": reference}
        scores = {p: {m: v + (i * 37 % 101) / 1000 for m, v in row.items()} for p, row in case.scores.items()}
        out.append(dataclasses.replace(case, scores=scores, **named))
    return out


def make(path: Path, n_cases: int) -> tuple[float, float]:
    """Writes the report; the seconds that images took, and all the rest."""
    with tempfile.TemporaryDirectory() as name:
        run, sample = RunFolder(Path(name)), sample_report()
        refs = draw(run.root)
        pairs = [(refs[2 * i % _DRAWN], refs[(2 * i + 1) % _DRAWN]) for i in range(n_cases)]
        studies = [
            Study(f"study-{i:05}", "p", pair, None, "Clear.", None, (), "test", "drawn", "CC0")
            for i, pair in enumerate(pairs)
        ]
        start = time.perf_counter()
        images, _ = collect_cases.all_images(run, studies, threads=2)
        between = time.perf_counter()
        write_report(dataclasses.replace(sample, cases=many_cases(sample.cases, images)), path)
        return between - start, time.perf_counter() - between


def look(path: Path) -> dict[str, float]:
    """Seconds to the first paint, until the cases can be used, and for a turn of the page, in a new browser."""
    with browser() as page:
        page.open(path.as_uri())
        page.wait("performance.getEntriesByName('first-contentful-paint').length")
        paint = page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        loaded = page.run("performance.getEntriesByType('navigation')[0].loadEventEnd")
        start = time.perf_counter()
        for _ in range(20):
            page.press("j")
        turn = (time.perf_counter() - start) / 20
        order = page.run(
            "(() => { const t = performance.now(); document.querySelector('[data-order=improved]').click();"
            "return performance.now() - t; })()"
        )
        assert not page.complaints
        return {"first_paint_s": paint / 1000, "loaded_s": loaded / 1000, "turn_s": turn, "sort_s": order / 1000}


def main() -> None:
    """Makes, looks, tells."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--cases", type=int, default=2300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = args.keep or Path(name) / "report.html"
        images, rest = make(path, args.cases)
        megabytes = path.stat().st_size / 1e6
        seen = [look(path) for _ in range(args.repeats)]
    figures = {
        f"report.mb_{args.cases}": figure([megabytes], unit="MB", target=MAX_MB, checked=CHECKED_SIZE),
        "report.images_s": figure([images], unit="s", target=None, checked=CHECKED_SIZE),
        "report.write_s": figure([rest], unit="s", target=None, checked=CHECKED),
    }
    for key in seen[0]:
        target = MAX_PAINT_S if key == "first_paint_s" else None
        figures[f"report.{key}"] = figure([each[key] for each in seen], unit="seconds", target=target, checked=CHECKED)
    for key, row in figures.items():
        print(f"{key}: {row['value']} [{row['low']}, {row['high']}] {row['unit']}, n {row['n']}")
    if args.write:
        merge(RESULTS, figures, seeds=[SEED], cases=args.cases, images_per_case=2)


if __name__ == "__main__":
    main()
