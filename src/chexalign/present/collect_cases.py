"""Every evaluated study as a case of the report, with images small enough for one file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO

from chexalign.evaluate.reports import NO_FINDING, PolicyResults
from chexalign.judges.chexpert import LABELS, label_matrix
from chexalign.present.case import Case, CaseImage
from chexalign.run_folder import RunFolder
from chexalign.types import ImageRef, Study

# Longest side in pixels and JPEG quality, best first; the first is taken with which all images fit the budget.
_SETTINGS = ((256, 85), (256, 75), (256, 60), (256, 45), (192, 60), (192, 40), (128, 50), (96, 40), (64, 30))
_IMAGE_BYTES = 42_000_000  # of all images in base64, so that the report stays under 60 MB with its texts
_TRIED = 24  # images that tell how large all will be


def collect_cases(
    run: RunFolder, studies: Sequence[Study], results: Sequence[PolicyResults], judges: Sequence[str], *, threads: int
) -> tuple[list[Case], int]:
    """The cases in the order of the studies, which is that of the results; and how many images could not be read.

    Cost: about 2 ms per image of 256 pixels and thread, more for large files.
    """
    texts = {r.name: {p.study_id: p.text for p in run.predictions(r.name).iter_rows()} for r in results}
    reference = label_matrix([study.reference for study in studies])
    images, gone = all_images(run, studies, threads=threads)
    cases = [
        Case(
            study_id=study.id,
            images=images[i],
            indication=study.indication,
            reference=study.reference,
            reference_labels=findings(reference[i]),
            texts={r.name: texts[r.name][study.id] for r in results},
            labels={r.name: findings(r.labels[i]) for r in results},
            scores={r.name: {name: float(r.values[name][i]) for name in (*judges, "words")} for r in results},
        )
        for i, study in enumerate(studies)
    ]
    return cases, gone


def findings(row: Sequence[bool]) -> list[str]:
    """The names of the positive labels of one text, No Finding apart."""
    return sorted(label for i, label in enumerate(LABELS) if row[i] and i != NO_FINDING)


def fits(sizes: Sequence[int], n_images: int, budget: int) -> bool:
    """Whether `n_images` in base64 stay within the budget if they are as large as these few."""
    return sum(sizes) / max(1, len(sizes)) * n_images * 4 / 3 <= budget


def all_images(run: RunFolder, studies: Sequence[Study], *, threads: int) -> tuple[list[list[CaseImage]], int]:
    """The images of each study, and how many are missing; Pillow works outside the lock, so threads are enough."""
    flat = [(i, image) for i, study in enumerate(studies) for image in study.images]
    out: list[list[CaseImage]] = [[] for _ in studies]
    made = small_images(run, [image for _, image in flat], threads=threads, budget=_IMAGE_BYTES)
    for (i, _), small in zip(flat, made, strict=True):
        if small is not None:
            out[i].append(small)
    return out, len(flat) - sum(map(len, out))


def small_images(run: RunFolder, images: Sequence[ImageRef], *, threads: int, budget: int) -> list[CaseImage | None]:
    """Each image as a small JPEG, so that all of them fit `budget` bytes in base64; None for one that is missing."""
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        side, quality = _setting(run, images, pool, budget)
        made = pool.map(partial(_jpeg, run, side=side, quality=quality), images)
        return [
            None if jpeg is None else CaseImage(jpeg, image.view, image.synthetic)
            for image, jpeg in zip(images, made, strict=True)
        ]


def _setting(run: RunFolder, images: Sequence[ImageRef], pool: ThreadPoolExecutor, budget: int) -> tuple[int, int]:
    some = images[:: max(1, -(-len(images) // _TRIED))]
    for side, quality in _SETTINGS[:-1]:
        made = pool.map(partial(_jpeg, run, side=side, quality=quality), some)
        if fits([len(jpeg) for jpeg in made if jpeg is not None], len(images), budget):
            return side, quality
    return _SETTINGS[-1]


def _jpeg(run: RunFolder, image: ImageRef, *, side: int, quality: int) -> bytes | None:
    """The image in gray, no side longer than `side`; None for a file that is gone or damaged."""
    from PIL import Image

    try:
        with Image.open(run.image_path(image)) as opened:
            opened.draft("L", (2 * side, 2 * side))  # a large JPEG is decoded at a fraction of its size
            gray = opened.convert("L")
    except (OSError, ValueError, SyntaxError):
        return None
    gray.thumbnail((side, side))
    buffer = BytesIO()
    gray.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
