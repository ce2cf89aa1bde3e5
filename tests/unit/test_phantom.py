"""Phantoms: what a code changes, where, by how much, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from chexalign.demo.phantom import render
from chexalign.demo.phantom_codes import DEFAULT_SEVERITY, parse_code, parse_codes
from chexalign.errors import UserError

SEEDS = (0, 7, 23)

# A hand-picked code for every kind of painter and reshaping rule.
VISIBLE = [
    "Cardiomegaly/mild",
    "Cardiac Shadow/enlarged",
    "Opacity/lung/upper lobe/left",
    "Opacity/lung/bilateral/interstitial/diffuse",
    "Opacity/lung/base/right/streaky",
    "Airspace Disease/lung/base/left",
    "Infiltrate/lung/lower lobe/right/patchy",
    "Consolidation/lung/lower lobe/left",
    "Pneumonia/upper lobe/right",
    "Density/lung/middle lobe/right/round",
    "Pulmonary Atelectasis/base/bilateral",
    "Pleural Effusion/left/small",
    "Costophrenic Angle/right/blunted",
    "Thickening/pleura/apex/bilateral",
    "Pneumothorax/apex/right/small",
    "Pulmonary Edema/interstitial",
    "Pulmonary Congestion/mild",
    "Heart Failure",
    "Markings/bronchovascular",
    "Pulmonary Fibrosis",
    "Lung Diseases, Interstitial",
    "Emphysema",
    "Pulmonary Emphysema/severe",
    "Bullous Emphysema",
    "Pulmonary Disease, Chronic Obstructive",
    "Lung, Hyperlucent/apex",
    "Lucency/lung/right",
    "Lung/hyperdistention/mild",
    "Lung/hypoinflation",
    "Lung/hilum/prominent",
    "Lung/azygos lobe",
    "Nodule/lung/lower lobe/left",
    "Mass/lung/middle lobe/right",
    "Granuloma/lung/left",
    "Calcified Granuloma/lung/base/left/small",
    "Granulomatous Disease",
    "Calcinosis/lung/hilum/lymph nodes/right",
    "Calcinosis/aorta",
    "Atherosclerosis/aorta",
    "Cicatrix/lung/apex/bilateral",
    "Aorta/tortuous",
    "Aorta, Thoracic/tortuous/mild",
    "Mediastinum/enlarged",
    "Diaphragm/right/elevated",
    "Diaphragm/bilateral/flattened",
    "Diaphragmatic Eventration/right",
    "Hernia, Hiatal/small",
    "Epicardial Fat/prominent",
    "Scoliosis/mild",
    "Kyphosis",
    "Thoracic Vertebrae/degenerative",
    "Spine/degenerative/mild",
    "Spondylosis/thoracic vertebrae",
    "Osteophyte/thoracic vertebrae/multiple",
    "Arthritis/shoulder",
    "Shoulder/degenerative",
    "Bone Diseases, Metabolic",
    "Deformity/thoracic vertebrae",
    "Deformity/ribs/right",
    "Fractures, Bone/ribs/left/healed",
    "Fractures, Bone/clavicle/right",
    "Spinal Fusion/cervical vertebrae",
    "Catheters, Indwelling/right",
    "Implanted Medical Device/left",
    "Medical Device/left",
    "Tube, Inserted/trachea, carina",
    "Surgical Instruments/mediastinum",
    "Surgical Instruments/abdomen/right",
    "Foreign Bodies/left",
    "Stents/coronary vessels",
    "Pulmonary Artery/enlarged",
    "Technical Quality of Image Unsatisfactory",
]

SIDED = [
    "Opacity/lung/base/{}",
    "Consolidation/lung/upper lobe/{}",
    "Pleural Effusion/{}",
    "Pneumothorax/{}/large",
    "Nodule/lung/lower lobe/{}",
    "Mass/lung/upper lobe/{}",
    "Pulmonary Atelectasis/base/{}",
    "Calcified Granuloma/lung/base/{}",
    "Costophrenic Angle/{}/blunted",
    "Fractures, Bone/ribs/{}/healed",
    "Foreign Bodies/{}",
]

GRADED = [
    "Cardiomegaly/{}",
    "Pleural Effusion/right/{}",
    "Opacity/lung/lower lobe/left/{}",
    "Consolidation/lung/lower lobe/right/{}",
    "Pneumothorax/left/{}",
    "Pulmonary Edema/{}",
    "Pulmonary Congestion/{}",
    "Lung/hyperdistention/{}",
    "Scoliosis/right/{}",
    "Hernia, Hiatal/{}",
    "Mass/lung/right/upper lobe/{}",
    "Thoracic Vertebrae/degenerative/{}",
]


def change(codes: list[str], view: str = "frontal", seed: int = 0) -> np.ndarray:
    """Absolute difference from the same patient without findings, as float [n, n]."""
    with_findings = render(codes, view=view, seed=seed).astype(float)
    return np.abs(with_findings - render(["normal"], view=view, seed=seed))


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_same_arguments_same_pixels(view):
    codes = ["Cardiomegaly", "Opacity/lung/left"]
    assert np.array_equal(render(codes, view=view, seed=5), render(codes, view=view, seed=5))


def test_order_and_repeats_of_codes_do_not_matter():
    a, b = "Cardiomegaly/mild", "Nodule/lung/right"
    image = render([a, b], view="frontal", seed=1)
    assert np.array_equal(image, render([b, a, b], view="frontal", seed=1))


def test_views_and_seeds_differ():
    first = render(["normal"], view="frontal", seed=1).astype(float)
    assert np.abs(first - render(["normal"], view="frontal", seed=2)).mean() > 3
    assert np.abs(first - render(["normal"], view="lateral", seed=1)).mean() > 10


@pytest.mark.parametrize("codes", [[], ["normal"], ["No Indexing"], ["normal", "No Indexing"]])
def test_normal_has_no_findings(codes):
    assert change(codes).max() == 0


def test_unknown_headings_are_ignored():
    assert change(["Cholelithiasis", "Purple Elbow/left/severe", "", "///"]).max() == 0
    plain = render(["Cardiomegaly"], view="lateral", seed=3)
    assert np.array_equal(plain, render(["Cardiomegaly", "Purple Elbow"], view="lateral", seed=3))


@pytest.mark.parametrize("code", VISIBLE)
def test_each_finding_shows_in_the_frontal_view(code):
    seen = [change([code], seed=seed) for seed in SEEDS]
    assert all(d.max() >= 12 for d in seen)
    assert all((d >= 6).sum() >= 5 for d in seen)


@pytest.mark.parametrize("code", VISIBLE)
def test_each_finding_draws_in_the_lateral_view(code):
    image = render([code], view="lateral", seed=4)
    assert image.shape == (128, 128)
    assert image.std() > 20


@pytest.mark.parametrize("pattern", SIDED)
@pytest.mark.parametrize("seed", SEEDS)
def test_sided_findings_stay_on_their_side(pattern, seed):
    right, left = (change([pattern.format(side)], seed=seed) for side in ("right", "left"))
    assert right[:, :64].sum() > 4 * right[:, 64:].sum()
    assert left[:, 64:].sum() > 4 * left[:, :64].sum()


def test_a_raised_dome_lifts_its_own_side_more_than_the_heart():
    right, left = change(["Diaphragm/right/elevated"]), change(["Diaphragm/left/elevated"])
    assert right[:, :64].sum() > 1.8 * right[:, 64:].sum()
    assert left[:, 64:].sum() > 1.2 * left[:, :64].sum()


@pytest.mark.parametrize("heading", ["Pleural Effusion", "Opacity/lung/base"])
def test_bilateral_findings_show_on_both_sides(heading):
    d = change([f"{heading}/bilateral"])
    assert min(d[:, :64].sum(), d[:, 64:].sum()) > 0.25 * max(d[:, :64].sum(), d[:, 64:].sum())


@pytest.mark.parametrize("pattern", GRADED)
def test_severity_is_monotone(pattern):
    total = [sum(change([pattern.format(w)], seed=s).sum() for s in SEEDS) for w in ("mild", "moderate", "severe")]
    assert total[0] < total[1] < total[2]


def test_zones_lie_at_their_height():
    def center(zone: str) -> float:
        d = change([f"Consolidation/lung/{zone}/right"])
        return float((d.sum(axis=1) * np.arange(128)).sum() / d.sum())

    assert center("apex") < center("upper lobe") < center("lower lobe") < center("base")


def test_depth_shows_in_the_lateral_view():
    def center(word: str) -> float:
        d = change([f"Mass/lung/right/lower lobe/{word}"], view="lateral")
        return float((d.sum(axis=0) * np.arange(128)).sum() / d.sum())

    assert center("anterior") + 15 < center("posterior")


@pytest.mark.parametrize("size_px", [32, 64, 160, 224])
def test_sizes(size_px):
    image = render(["Pleural Effusion/left"], view="frontal", seed=0, size_px=size_px)
    assert image.shape == (size_px, size_px)
    assert image.dtype == np.uint8


def test_mistakes_are_told():
    with pytest.raises(UserError, match="two views"):
        render(["normal"], view="oblique", seed=0)
    with pytest.raises(UserError, match="size_px=8"):
        render(["normal"], view="frontal", seed=0, size_px=8)


def test_codes_are_read():
    f = parse_code("Opacity / Lung/lower lobe/Left/patchy")
    assert (f.heading, f.sides, f.zones, f.severity) == ("opacity", ("left",), ("lower lobe",), DEFAULT_SEVERITY)
    assert parse_code("Opacity/lung/lingula").sides == ("left",)
    assert parse_code("Mass/lung/middle lobe").sides == ("right",)
    assert parse_code("Pleural Effusion/bilateral/large").sides == ("right", "left")
    assert len(parse_codes(["Nodule/lung", "nodule/Lung", "Mass"])) == 2
