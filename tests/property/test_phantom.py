"""Phantoms, for any codes: the image is valid, and depends on the set of codes alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.demo.phantom import render
from chexalign.demo.phantom_body import RESHAPING_RULES
from chexalign.demo.phantom_bones import BONE_PAINTERS
from chexalign.demo.phantom_codes import ZONES
from chexalign.demo.phantom_devices import DEVICE_PAINTERS
from chexalign.demo.phantom_lungs import LUNG_PAINTERS
from chexalign.demo.phantom_pleura import PLEURA_PAINTERS
from chexalign.demo.phantom_spots import SPOT_PAINTERS

TABLES = (RESHAPING_RULES, LUNG_PAINTERS, PLEURA_PAINTERS, SPOT_PAINTERS, BONE_PAINTERS, DEVICE_PAINTERS)
HEADINGS = sorted({heading for table in TABLES for heading in table})
QUALIFIERS = [
    *ZONES,
    *("right", "left", "bilateral", "lung", "pleura", "aorta", "ribs", "thorax", "abdomen", "breast", "neck", "heart"),
    *("mild", "moderate", "severe", "large", "small", "borderline", "multiple", "scattered", "diffuse", "round"),
    *("interstitial", "streaky", "posterior", "anterior", "degenerative", "elevated", "flattened", "tortuous"),
    *("lymph nodes", "thoracic vertebrae", "lumbar vertebrae", "cervical vertebrae", "clavicle", "humerus", "shoulder"),
    *("hyperdistention", "hypoinflation", "azygos lobe", "trachea, carina", "aortic valve", "sternum", "enlarged"),
]

known = st.builds(
    lambda heading, words: "/".join([heading, *words]),
    st.sampled_from(HEADINGS),
    st.lists(st.sampled_from(QUALIFIERS), max_size=4),
)
codes = st.lists(st.one_of(known, st.text(max_size=20)), max_size=6)
views = st.sampled_from(["frontal", "lateral"])
seeds = st.integers(min_value=0, max_value=2**63 - 1)


@settings(max_examples=120, deadline=None)
@given(codes=codes, view=views, seed=seeds)
def test_any_codes_give_a_valid_image(codes, view, seed):
    image = render(codes, view=view, seed=seed, size_px=64)
    assert image.shape == (64, 64)
    assert image.dtype == np.uint8
    assert image.std() > 10


@settings(max_examples=30, deadline=None)
@given(codes=codes, view=views, seed=seeds, order=st.randoms(use_true_random=False))
def test_the_set_of_codes_decides(codes, view, seed, order):
    shuffled = [*codes, *codes[:1]]
    order.shuffle(shuffled)
    first = render(codes, view=view, seed=seed, size_px=48)
    assert np.array_equal(first, render(shuffled, view=view, seed=seed, size_px=48))
