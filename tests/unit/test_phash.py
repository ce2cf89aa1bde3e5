"""Copies of an image have near hashes, images of two patients have not: on phantoms, and on real radiographs."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.audit.near import THRESHOLD, differing, near_pairs, signatures
from chexalign.audit.phash import signature
from chexalign.demo.phantom import render

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "images"
is_there = pytest.mark.skipif(not REAL.is_dir(), reason="the real radiographs are not beside the repository")

PHANTOMS = 40


def hashed(images):
    found = [signature(np.asarray(image)) for image in images]
    return signatures(*zip(*((s.coarse, s.signs, s.strong) for s in found), strict=True))


def jpeg(image, quality=60):
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(BytesIO(buffer.getvalue())).convert("L")


def copies(image):
    """Re-encoded, smaller, of other proportions, a little brighter, and all at once."""
    w, h = image.size
    brighter = image.point(lambda value: min(255, round(value * 1.08) + 4))
    small = image.resize((round(w * 0.7), round(h * 0.7)))
    return [jpeg(image), small, image.resize((h, h)), brighter, jpeg(small.point(lambda value: value * 0.9))]


@pytest.fixture(scope="module")
def phantoms():
    """Normal studies, which differ in anatomy alone, in both views."""
    views = ("frontal", "lateral")
    return [Image.fromarray(render(["normal"], view=views[i % 2], seed=i, size_px=128)) for i in range(PHANTOMS)]


@pytest.fixture(scope="module")
def radiographs():
    return [Image.open(path).convert("L") for path in sorted(REAL.iterdir()) if path.suffix in (".png", ".jpg")]


def assert_copies_alone_are_near(images):
    hashes = hashed(images)
    assert near_pairs(hashes, hashes) == [(i, i, 0.0) for i in range(len(images))]
    for kind in zip(*map(copies, images), strict=True):
        assert [(i, j) for i, j, _ in sorted(near_pairs(hashes, hashed(kind)))] == [(i, i) for i in range(len(images))]


def test_of_phantoms_only_copies_are_near(phantoms):
    assert_copies_alone_are_near(phantoms)


def assert_inverted_copies_alone_are_near(images):
    hashes = hashed(images)
    inverted = hashed([jpeg(image.point(lambda value: 255 - value)) for image in images]).inverted()
    assert [(i, j) for i, j, _ in sorted(near_pairs(hashes, inverted))] == [(i, i) for i in range(len(images))]
    assert near_pairs(hashes, hashes.inverted()) == []


def test_inverted_copies_of_phantoms_are_near_when_they_are_inverted_again(phantoms):
    assert_inverted_copies_alone_are_near(phantoms)


@is_there
def test_inverted_copies_of_radiographs_are_near_when_they_are_inverted_again(radiographs):
    assert_inverted_copies_alone_are_near(radiographs)


@is_there
def test_of_real_radiographs_only_copies_are_near(radiographs):
    assert len(radiographs) > 20
    assert_copies_alone_are_near(radiographs)


@is_there
def test_real_radiographs_are_far_from_the_threshold(radiographs):
    hashes = hashed(radiographs)
    i, j = np.array(list(combinations(range(len(radiographs)), 2))).T
    assert differing(hashes, hashes, i, j).min() > 10 * THRESHOLD


def test_sixty_four_bits_alone_do_not_tell_phantoms_apart():
    images = [Image.fromarray(render(["normal"], view="frontal", seed=i, size_px=128)) for i in range(PHANTOMS)]
    coarse = hashed(images).coarse
    apart = [int(np.bitwise_count(a ^ b)) for a, b in combinations(coarse, 2)]
    assert min(apart) <= 4, "this is why there are more"


def test_the_hash_does_not_depend_on_how_an_image_is_stored(phantoms):
    image = phantoms[0]
    buffer = BytesIO()
    image.save(buffer, "PNG")
    assert signature(np.asarray(Image.open(BytesIO(buffer.getvalue())))) == signature(np.asarray(image))


@pytest.mark.parametrize("gray", [0, 7, 255])
def test_an_image_of_one_gray_has_no_hash(gray):
    assert signature(np.full((50, 40), gray, np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3000, 40), (5, 5)])
def test_odd_shapes_have_a_hash_or_none(shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = signature(values)
    assert found is None or (len(found.coarse), len(found.signs), len(found.strong)) == (8, 128, 128)


def test_images_with_little_in_them_are_not_called_copies():
    """Two images that are flat but for a step have few strong signs, and those say little."""
    steps = [np.zeros((64, 64), np.uint8) for _ in range(2)]
    steps[0][:, 20:], steps[1][20:, :] = 200, 200
    hashes = hashed([Image.fromarray(step) for step in steps])
    assert near_pairs(hashes.take(np.array([0])), hashes.take(np.array([1]))) == []
