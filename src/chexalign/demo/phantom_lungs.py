"""Findings that take the place of air in a lung: opacities, collapse, edema, scars, meshes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import curve
from chexalign.demo.phantom_pleura import pleural_thickening
from chexalign.demo.phantom_scene import PLACES, Painter, Place, Scene, places, region
from chexalign.demo.phantom_spots import nodule, spots

Random = np.random.Generator


def _cloud(
    scene: Scene, f: Finding, rng: Random, *, level: float, strength: float, fallback: str, fluff: float
) -> None:
    """Patches of lung whose air is partly replaced, with an uneven edge."""
    film = scene.film
    widespread = f.has("diffuse", "multilobar", "scattered") or (f.has("multiple") and not f.zones)
    if widespread:
        spots = [
            (s, replace(PLACES["lower lobe"], height=h, spread=0.085))
            for s in f.sides or tuple(SIGN)
            for h in (0.38, 0.62, 0.86)
        ]
    else:
        spots = list(places(f, rng, fallback))
    grow = 0.62 + 0.42 * f.severity
    for side, place in spots:
        x, y = scene.at(side, place)
        spread = place.spread * grow
        window = film.patch(x, y, 3.0 * spread)
        mask = np.zeros_like(film.tissue[window])
        for _ in range(5):
            dx, dy = rng.normal(0.0, 0.55 * spread, 2)
            r2 = film.radius2(window, x + dx, y + dy, spread * rng.uniform(0.5, 0.9), spread * rng.uniform(0.4, 0.7))
            mask += 0.75 * np.exp(-0.5 * r2)
        mask = np.minimum(mask, 1.0)
        ragged = 1.0 + fluff * film.texture("mid", rng)[window] + 0.25 * fluff * film.texture("fine", rng)[window]
        amount = np.clip(strength * (0.45 + 0.55 * f.severity) * mask * ragged, 0.0, 0.97)
        amount *= scene.lung[side][window]
        film.fill(amount, level * scene.airless[window], window)
        # Vessels are seen against air alone; ribs only pale.
        film.vessels[window] *= 1.0 - 0.8 * amount
        film.bones[window] *= 1.0 - 0.35 * amount


def reticular(scene: Scene, f: Finding, rng: Random, strength: float = 1.0) -> None:
    """A mesh of fine lines over the region."""
    film = scene.film
    unveiled = 0.2 + 0.8 * np.maximum(scene.open_lung[RIGHT], scene.open_lung[LEFT])
    mask = region(scene, f) * unveiled * (strength * f.severity)
    net = np.maximum(film.texture("net", rng), 0.8 * film.texture("net", rng))
    film.vessels += 0.15 * mask * net
    film.fill(0.16 * mask, 0.65)


def _streaks(scene: Scene, f: Finding, rng: Random, *, fallback: str, flat: float, strength: float) -> None:
    """A few short dense lines: plates of collapsed lung or scars. `flat` in 0..1 keeps them level."""
    film = scene.film
    lines, cores = [], []
    spots = list(places(f, rng, fallback))
    for side, place in spots:
        x, y = scene.at(side, place)
        size = place.spread * (0.75 + 0.45 * f.severity)
        base = rng.normal(0.0, 0.12 + (1.0 - flat) * 0.7) - 0.15 * SIGN[side]
        for k in range(2 + round(1.5 * f.severity)):
            tilt = base + rng.normal(0.0, 0.14)
            cx, cy = x + rng.normal(0.0, 0.3 * size), y + (k - 1) * 0.4 * size + rng.normal(0.0, 0.15 * size)
            half = size * rng.uniform(0.7, 1.1)
            dx, dy = half * math.cos(tilt), half * math.sin(tilt)
            sag = half * rng.normal(0.10, 0.12)
            points = [(cx - dx, cy - dy), (cx, cy - sag), (cx + dx, cy + dy)]
            width, value = 0.007 + 0.007 * f.severity * rng.uniform(0.6, 1.2), rng.uniform(0.7, 1.0)
            lines.append((curve(*points, n=9), 2.3 * width, 0.40 * value))
            cores.append((curve(*points, n=9), width, value))
    inside = np.maximum(scene.lung[RIGHT], scene.lung[LEFT])
    film.vessels += strength * (0.5 + 0.5 * f.severity) * film.strokes(lines + cores) * inside


def opacity(scene: Scene, f: Finding, rng: Random) -> None:
    """A hazy, patchy, streaky, round or interstitial opacity, as the qualifiers say."""
    if f.has("interstitial", "reticular"):
        reticular(scene, f, rng)
    elif f.has("round"):
        nodule(scene, f, rng)
    elif f.has("streaky"):
        _streaks(scene, f, rng, fallback="base", flat=0.8, strength=0.26)
        _cloud(scene, f, rng, level=0.85, strength=0.40, fallback="base", fluff=0.3)
    else:
        _cloud(scene, f, rng, level=0.92, strength=0.74, fallback="lower lobe", fluff=0.24)


def infiltrate(scene: Scene, f: Finding, rng: Random) -> None:
    """Patchy alveolar filling, more uneven than an opacity."""
    if f.has("interstitial"):
        reticular(scene, f, rng)
    else:
        _cloud(scene, f, rng, level=0.95, strength=0.82, fallback="lower lobe", fluff=0.34)


def consolidation(scene: Scene, f: Finding, rng: Random) -> None:
    """Dense filling of a zone that leaves its bronchi dark."""
    _cloud(scene, f, rng, level=1.02, strength=1.05, fallback="lower lobe", fluff=0.12)
    film = scene.film
    lines = []
    for side, place in places(f, f.rng(scene.body.seed), "lower lobe"):
        x, y = scene.at(side, place)
        hx, hy = scene.at(side, PLACES["hilum"])
        for turn in (-0.35, 0.05, 0.4):
            away = math.atan2(y - hy, x - hx) + turn
            reach = 0.8 * place.spread
            lines.append(
                ([(x - 0.02 * math.cos(away), y), (x + reach * math.cos(away), y + reach * math.sin(away))], 0.010, 0.9)
            )
    film.vessels -= 0.12 * film.strokes(lines) * np.maximum(scene.lung[RIGHT], scene.lung[LEFT])


def atelectasis(scene: Scene, f: Finding, rng: Random) -> None:
    """Level bands of collapsed lung with some haze below them."""
    _streaks(scene, f, rng, fallback="base", flat=1.0, strength=0.34)
    if f.has("lower lobe", "middle lobe", "upper lobe", "retrocardiac") or f.severity > 1.0:
        _cloud(scene, f, f.rng(scene.body.seed), level=0.92, strength=0.60, fallback="base", fluff=0.2)


def scar(scene: Scene, f: Finding, rng: Random) -> None:
    """Thin irregular lines, and a pleural cap when the scar is apical."""
    _streaks(scene, f, rng, fallback="base", flat=0.15, strength=0.28)
    if f.has("apex", "pleura"):
        pleural_thickening(scene, f, rng)


def edema(scene: Scene, f: Finding, rng: Random) -> None:
    """Haze around both hila, thick septa, Kerley lines at the bases."""
    film = scene.film
    lines = []
    for side in f.sides or (RIGHT, LEFT):
        x, y = scene.at(side, replace(PLACES["hilum"], lateral=0.25))
        window = film.patch(x, y, 0.40)
        haze = np.exp(-0.5 * film.radius2(window, x, y, 0.095, 0.15))
        ragged = 1.0 + 0.25 * film.texture("mid", rng)[window]
        film.fill(np.clip(0.62 * f.severity * haze * ragged, 0.0, 0.9) * scene.lung[side][window], 0.66, window)
        film.vessels[window] += 0.10 * f.severity * film.texture("net", rng)[window] * scene.open_lung[side][window]
        for k in range(6):
            bx, by = scene.at(side, Place(0.74 + 0.045 * k, 0.97, 0.9))
            lines.append(([(bx, by), (bx - SIGN[side] * 0.05, by - 0.004)], 0.006, 1.0))
    film.vessels += 0.16 * f.severity * film.strokes(lines)


def markings(scene: Scene, f: Finding, rng: Random) -> None:
    """Bronchovascular or interstitial markings, coarser than normal."""
    reticular(scene, f, rng, 0.62)
    if not f.has("interstitial"):
        scene.film.vessels *= 1.0 + 0.45 * f.severity * region(scene, f)


def fibrosis(scene: Scene, f: Finding, rng: Random) -> None:
    """A coarse mesh with streaks."""
    reticular(scene, f, rng, 1.15)
    _streaks(scene, f, rng, fallback="base", flat=0.2, strength=0.22)


def bronchiectasis(scene: Scene, f: Finding, rng: Random) -> None:
    """Paired lines and small rings of widened bronchi."""
    film = scene.film
    for side, place in spots(replace(f, words=f.words | {"multiple"}), rng, 7):
        x, y = scene.at(side, place)
        film.disk(film.vessels, x, y, 0.016, 0.016, 0.16)
        film.disk(film.vessels, x, y, 0.009, 0.009, -0.16)
    reticular(scene, f, rng, 0.4)


def veil(scene: Scene, f: Finding, rng: Random) -> None:
    """Haze over a border that the code calls obscured."""
    if f.has("obscured"):
        _cloud(scene, f, rng, level=0.90, strength=0.70, fallback="base", fluff=0.15)


def distortion(scene: Scene, f: Finding, rng: Random) -> None:
    """Drawn-in lines where the code puts a deformity in the lung, not in a bone."""
    if f.has("lung", "hilum", "mediastinum") and not f.has("ribs", "clavicle"):
        _streaks(scene, f, rng, fallback="hilum", flat=0.2, strength=0.28)


def density(scene: Scene, f: Finding, rng: Random) -> None:
    """An unexplained density: round ones as nodules, the rest as faint patches."""
    if f.has("round", "small", "multiple") or not f.has("lung"):
        nodule(scene, f, rng)
    else:
        _cloud(scene, f, rng, level=0.92, strength=0.72, fallback="lower lobe", fluff=0.2)


LUNG_PAINTERS: dict[str, Painter] = {
    "cystic fibrosis": bronchiectasis,
    "bronchiectasis": bronchiectasis,
    "opacity": opacity,
    "infiltrate": infiltrate,
    "airspace disease": infiltrate,
    "consolidation": consolidation,
    "pneumonia": consolidation,
    "density": density,
    "pulmonary atelectasis": atelectasis,
    "cicatrix": scar,
    "fibrosis": fibrosis,
    "pulmonary fibrosis": fibrosis,
    "pulmonary edema": edema,
    "heart failure": edema,
    "markings": markings,
    "bronchitis": markings,
    "bronchiolitis": markings,
    "lung": veil,
    "heart": veil,
    "aorta": veil,
    "diaphragm": veil,
    "deformity": distortion,
}
