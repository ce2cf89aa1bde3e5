"""How far copies of an image are from it, and different images from each other, by the hashes of `data check`.

    python bench/image_copies.py --real DIR --write results/data.json

Phantoms are drawn for all usable OpenI reports with 128 x 128 pixels; they share a template, and so are more alike than
radiographs of two patients. DIR has real radiographs (PNG or JPEG), each of another exam. Of the copies of the first
phantoms and of all real images, and of all pairs of different ones, the share of compared signs that differ is taken.
Then 100,000 random hashes are looked up among 100,000 others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from chexalign.audit.near import Signatures, differing, near_pairs, signatures
from chexalign.audit.phash import signature
from chexalign.data import openi
from chexalign.demo.openi_phantom import phantom_png, phantom_seed
from results_file import figure, merge

SEED, LOOKED_UP, REPEATS, COPIED, SIDE_PX = 0, 100_000, 5, 100, 128
Change = Callable[[Image.Image], Image.Image]


def by_value(change: Callable[[int], float]) -> Change:
    return lambda image: image.point([max(0, min(255, int(change(value)))) for value in range(256)])


def jpeg(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(BytesIO(buffer.getvalue())).convert("L")

    return change


def scaled(width: float, height: float | None = None) -> Change:
    return lambda image: image.resize(
        (round(image.width * width), round(image.height * (height or width))), Image.Resampling.BICUBIC
    )


def together(image: Image.Image) -> Image.Image:
    return jpeg(75)(by_value(lambda value: 1.1 * value + 5)(scaled(0.6)(image)))


def cut(image: Image.Image) -> Image.Image:
    w, h = image.width // 50, image.height // 50
    return image.crop((w, h, image.width - w, image.height - h))


def marked(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.paste(255, (0, 0, image.width // 6, image.height // 12))
    return copy


COPIES: dict[str, Change] = {
    **{f"jpeg {quality}": jpeg(quality) for quality in (20, 50, 90)},
    "half size": scaled(0.5),
    "three quarters as high": scaled(1, 0.75),
    "5% brighter": by_value(lambda value: 1.05 * value),
    "15% brighter": by_value(lambda value: 1.15 * value),
    "20 brighter": by_value(lambda value: value + 20),
    "30% darker": by_value(lambda value: 0.7 * value),
    "gamma 0.8": by_value(lambda value: 255 * (value / 255) ** 0.8),
    "gamma 1.3": by_value(lambda value: 255 * (value / 255) ** 1.3),
    "equalized": ImageOps.equalize,
    "60% size, 10% brighter, jpeg 75": together,
}
INVERTED: dict[str, Change] = {"inverted": ImageOps.invert, "inverted, jpeg 50": lambda i: jpeg(50)(ImageOps.invert(i))}
CLIPPED: dict[str, Change] = {"30% brighter": by_value(lambda value: 1.3 * value)}
CHANGED: dict[str, Change] = {
    "2% cut off": cut,
    "2% border": lambda image: ImageOps.expand(image, image.width // 50),
    "white mark": marked,
    "mirrored": ImageOps.mirror,
}


def hashed(images: list[Image.Image]) -> Signatures:
    found = [signature(np.asarray(image)) for image in images]
    assert all(found)
    return signatures(*zip(*((s.coarse, s.signs, s.strong) for s in found if s), strict=True))


def apart(hashes: Signatures) -> np.ndarray:
    """The share of differing signs of every pair of different images."""
    n, shares = len(hashes), []
    for i in range(n - 1):
        others = np.arange(i + 1, n)
        shares.append(differing(hashes, hashes, np.full(len(others), i), others))
    return np.concatenate(shares)


def copied(images: list[Image.Image], changes: dict[str, Change]) -> Iterator[tuple[str, list[float]]]:
    """For each change, the share of differing signs between each image and its changed copy."""
    originals, same = hashed(images), np.arange(len(images))
    for name, change in changes.items():
        copies = hashed([change(image) for image in images])
        yield name, differing(originals, copies.inverted() if name in INVERTED else copies, same, same).tolist()


def draw(report: openi.OpenIReport, view: Literal["frontal", "lateral"] = "frontal") -> Image.Image:
    data = phantom_png(report.codes, view=view, seed=phantom_seed(report.id, 0), size_px=SIDE_PX)
    return Image.open(BytesIO(data)).convert("L")


def lookup_seconds() -> Iterator[float]:
    rng = np.random.default_rng(SEED)

    def hashes() -> Signatures:
        words = rng.integers(0, 2**64, (LOOKED_UP, 33), dtype=np.uint64)
        return Signatures(words[:, 0], words[:, 1:17], words[:, 17:])

    for _ in range(REPEATS):
        left, right = hashes(), hashes()
        start = time.perf_counter()
        near_pairs(left, right)
        yield time.perf_counter() - start


def measured(
    real: list[Image.Image], phantoms: list[Image.Image], laterals: list[Image.Image]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures, and the least and the most of each change."""
    each: dict[str, list[float]] = {}
    for images in (real, phantoms[:COPIED], laterals):
        for name, shares in copied(images, COPIES | INVERTED | CLIPPED | CHANGED):
            each.setdefault(name, []).extend(shares)

    def told(values: Any, unit: str = "share") -> dict[str, Any]:
        checked = "tests/property/test_near.py: the lookup finds the pairs that comparing all with all finds"
        return figure([float(value) for value in values], unit=unit, target=None, checked=checked)

    groups = {"copies": COPIES, "inverted": INVERTED, "clipped": CLIPPED, "changed": CHANGED}
    figures = {f"data.near.{name}": told([s for n in changes for s in each[n]]) for name, changes in groups.items()}
    figures["data.near.phantoms"] = told(apart(hashed(phantoms)))
    figures["data.near.real"] = told(apart(hashed(real)))
    figures["data.near.lookup_seconds"] = told(lookup_seconds(), "s")
    return figures, {name: {"least": min(shares), "most": max(shares)} for name, shares in each.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    reports, _ = openi.usable(openi.read_reports(openi.find_packaged(openi.ARCHIVE_NAME), {}))
    with ProcessPoolExecutor() as pool:
        phantoms = list(pool.map(draw, reports, chunksize=50))
    laterals = [draw(report, "lateral") for report in reports[:COPIED]]
    paths = sorted(path for path in args.real.iterdir() if path.suffix in (".png", ".jpg"))
    real = [Image.open(path).convert("L") for path in paths]
    figures, each = measured(real, phantoms, laterals)
    if args.write:
        merge(args.write, figures, seeds=[SEED], images={"real": len(real), "phantoms": len(phantoms)}, changes=each)
    print(json.dumps({"figures": figures, "changes": each}, indent=2))


if __name__ == "__main__":
    main()
