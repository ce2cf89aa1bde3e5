"""Findings of bones, aorta, diaphragm and chest wall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import arc, curve, step
from chexalign.demo.phantom_frontal import clavicle_curve, rib_curve
from chexalign.demo.phantom_lateral import lateral_rib
from chexalign.demo.phantom_scene import FRONTAL, Painter, Scene

Array = np.ndarray
Random = np.random.Generator


def aortic_calcium(scene: Scene, f: Finding, rng: Random) -> None:
    """A bright rim on the aortic arch, broken into pieces, that grows with severity."""
    if f.heading == "calcinosis" and not f.has("aorta", "aorta, thoracic", "blood vessels"):
        return
    x, y = scene.marks["arch"]
    r = scene.body.knob * (0.98 if scene.view == FRONTAL else 1.5)
    span = 55 + 45 * f.severity
    middle = -15 if scene.view == FRONTAL else -70
    lines = [(arc(x, y, r, middle - span, middle - span * 0.1), 0.009, 1.0)]
    lines += [(arc(x, y, r, middle + span * 0.1, middle + span), 0.009, 1.0)]
    scene.film.metal += (0.55 + 0.2 * f.severity) * scene.film.strokes(lines)


def fracture(scene: Scene, f: Finding, rng: Random) -> None:
    """A step and callus on ribs, a bent clavicle, a wedged vertebra, as the site says."""
    if f.has("thoracic vertebrae", "lumbar vertebrae", "spine"):
        _wedge(scene, f, rng)
    elif f.has("clavicle"):
        for side in f.sides_or(rng):
            _callus(scene, _clavicle_point(scene, side), 0.026, f.severity)
    elif f.has("humerus", "shoulder"):
        for side in f.sides_or(rng):
            _callus(scene, scene.marks[f"arm {side}"], 0.035, f.severity)
    elif f.has("sternum"):
        _callus(scene, scene.marks["sternum top"], 0.02, f.severity)
    elif f.heading == "fractures, bone" or f.has("ribs", "thorax"):
        _rib_calluses(scene, f, rng)


def _clavicle_point(scene: Scene, side: str) -> tuple[float, float]:
    return clavicle_curve(scene.body, side)[3] if scene.view == FRONTAL else scene.marks["sternum top"]


def _callus(scene: Scene, point: tuple[float, float], size: float, severity: float) -> None:
    film = scene.film
    x, y = point
    film.glow(film.bones, x, y, 0.75 * size, 0.45 * size, 0.13 + 0.09 * severity)
    film.glow(film.bones, x + 0.5 * size, y + 0.35 * size, 0.35 * size, 0.3 * size, 0.09)


def _rib_calluses(scene: Scene, f: Finding, rng: Random) -> None:
    first = int(rng.integers(4, 7))
    angle = float(rng.uniform(30, 58)) if not f.has("anterior") else float(rng.uniform(105, 130))
    for side in f.sides_or(rng):
        for k in range(4 if f.has("multiple") else 2):
            if scene.view == FRONTAL:
                point = rib_curve(scene.body, first + k, side, angle, angle + 5, 2)[0]
            else:
                point = lateral_rib(scene.body, first + k, angle, angle + 5, 2)[0]
            _callus(scene, point, 0.024, f.severity)


def _vertebra(scene: Scene, f: Finding, rng: Random) -> tuple[float, float, float]:
    xs, ys = scene.spine
    height = 0.86 if f.has("lumbar vertebrae") else float(rng.uniform(0.5, 0.72))
    k = int(np.searchsorted(ys, height).clip(0, len(ys) - 1))
    return float(xs[k]), height, 0.038


def _wedge(scene: Scene, f: Finding, rng: Random) -> None:
    film = scene.film
    for k in range(2 if f.has("multiple") else 1):
        x, y, half = _vertebra(scene, f, rng)
        y += 0.09 * k
        film.bones += (0.16 + 0.10 * f.severity) * film.strokes(
            [
                ([(x - half, y - 0.008), (x, y - 0.002), (x + half, y - 0.010)], 0.013, 1.0),
                ([(x - half, y + 0.012), (x + half, y + 0.014)], 0.010, 1.0),
            ]
        )


def deformity(scene: Scene, f: Finding, rng: Random) -> None:
    """A bone out of shape: as a healed fracture of the same site, and of ribs when no site is named."""
    fracture(scene, f if f.has("lung", "hilum", "mediastinum") else replace(f, words=f.words | {"ribs"}), rng)


def sclerosis(scene: Scene, f: Finding, rng: Random) -> None:
    """One bone denser than its neighbors."""
    film = scene.film
    if f.has("humerus", "shoulder", "clavicle"):
        for side in f.sides_or(rng):
            x, y = scene.marks[f"arm {side}"]
            film.glow(film.bones, x, y, 0.03, 0.03, 0.25 * f.severity)
        return
    x, y, half = _vertebra(scene, f, rng)
    film.glow(film.bones, x, y, 0.8 * half, 0.017, 0.30 * f.severity)


def shoulder_wear(scene: Scene, f: Finding, rng: Random) -> None:
    """A bright, narrowed shoulder joint."""
    if f.heading == "arthritis" and not f.has("shoulder", "humerus"):
        return
    film = scene.film
    for side in f.sides_or(rng, both=True):
        x, y = scene.marks[f"arm {side}"]
        film.glow(film.bones, x - 0.035 * SIGN[side], y + 0.01, 0.013, 0.040, 0.16 + 0.20 * f.severity)
        film.glow(film.bones, x - 0.02 * SIGN[side], y + 0.055, 0.020, 0.010, 0.15 * f.severity)


def hernia(scene: Scene, f: Finding, rng: Random) -> None:
    """A round shadow behind the heart, above the diaphragm, with an air bubble over a fluid level."""
    film = scene.film
    x, y = scene.marks["hiatus"]
    r = 0.040 + 0.032 * f.severity
    y -= 0.55 * r
    film.disk(film.tissue, x, y, 1.15 * r, r, 0.115)
    window = film.patch(x, y, 1.2 * r)
    r2 = film.radius2(window, x, y, 0.85 * r, 0.72 * r)
    air = step(1.0 - r2, 0.4) * step(y + 0.12 * r - film.y[window[0]], 0.012)
    film.tissue[window] -= 0.21 * air
    film.vessels[window] += 0.03 * np.exp(-(((r2 - 1.25) / 0.3) ** 2))


def eventration(scene: Scene, f: Finding, rng: Random) -> None:
    """A local hump of one dome."""
    film, body = scene.film, scene.body
    for side in f.sides or (RIGHT,):
        if scene.view == FRONTAL:
            x = body.center + SIGN[side] * (0.40 * body.lung_width)
            y = float(body.floor(x))
        else:
            x, y = -0.12, body.dome[side]
        r = 0.075 + 0.025 * f.severity
        window = film.patch(x, y, 1.6 * r)
        hump = step(1.0 - film.radius2(window, x, y + 0.01, r, 0.05 + 0.035 * f.severity), 0.25)
        film.fill(0.97 * hump, scene.airless[window], window)
        film.vessels[window] *= 1.0 - 0.9 * hump


def epicardial_fat(scene: Scene, f: Finding, rng: Random) -> None:
    """A soft wedge that fills the angle between heart and diaphragm."""
    film, body = scene.film, scene.body
    hx = scene.marks["heart"][0]
    for side in f.sides or (LEFT,):
        if scene.view == FRONTAL:
            x = hx + (0.185 if side == LEFT else -0.175) * body.heart
            y = float(body.floor(x))
        else:
            x, y = hx - 0.11, body.dome[side]
        window = film.patch(x, y, 0.16)
        r2 = film.radius2(window, x, y, 0.062, 0.050)
        film.fill(0.75 * f.severity**0.5 * np.exp(-0.5 * r2 * r2) * scene.lung[side][window], 0.55, window)


def nipple(scene: Scene, f: Finding, rng: Random) -> None:
    """A faint round spot low on each side."""
    film = scene.film
    for side in f.sides_or(rng, both=True):
        x, y = scene.marks[f"breast {side}"]
        film.disk(film.tissue, x, y + 0.05, 0.017, 0.017, 0.13)


def mastectomy(scene: Scene, f: Finding, rng: Random) -> None:
    """One lower side darker for want of a breast."""
    film = scene.film
    for side in f.sides_or(rng):
        x, y = scene.marks[f"breast {side}"]
        film.glow(film.tissue, x, y, 0.09, 0.09, -0.09)


def free_air(scene: Scene, f: Finding, rng: Random) -> None:
    """A dark crescent under the right dome."""
    film, body = scene.film, scene.body
    floor = body.floor(film.x) if scene.view == FRONTAL else body.dome[RIGHT] + 0.3 * film.x**2
    depth = film.y - floor
    band = step(depth - 0.012, 0.012) * step(0.022 + 0.02 * f.severity - depth, 0.012)
    side = (
        step(-(film.x - body.center) - 0.06, 0.05) * step(0.30 + film.x, 0.05)
        if scene.view == FRONTAL
        else step(0.2 - np.abs(film.x), 0.1)
    )
    film.tissue -= 0.45 * band * side


def skin_gas(scene: Scene, f: Finding, rng: Random) -> None:
    """Dark streaks in the soft tissue of chest wall and neck."""
    film = scene.film
    for side in f.sides_or(rng):
        x, y = scene.marks[f"arm {side}"]
        lines = []
        for _ in range(9):
            px, py = x + rng.normal(0, 0.04), y + rng.uniform(-0.02, 0.35)
            lines.append(([(px, py), (px + rng.normal(0, 0.02), py + 0.05)], 0.010, 1.0))
        film.tissue -= 0.16 * film.strokes(lines)


def azygos(scene: Scene, f: Finding, rng: Random) -> None:
    """The fine curved line of an azygos fissure, high on the right."""
    if not f.has("azygos lobe"):
        return
    film, body = scene.film, scene.body
    x, y = body.center - 0.06, body.lung_top
    line = curve((x - 0.075, y + 0.015), (x - 0.085, y + 0.10), (x - 0.01, y + 0.17))
    film.vessels += 0.22 * film.strokes([(line, 0.009, 1.0)])
    film.disk(film.tissue, x - 0.012, y + 0.172, 0.016, 0.020, 0.20)


BONE_PAINTERS: dict[str, Painter] = {
    "atherosclerosis": aortic_calcium,
    "calcinosis": aortic_calcium,
    "fractures, bone": fracture,
    "deformity": deformity,
    "sclerosis": sclerosis,
    "shoulder": shoulder_wear,
    "humerus": shoulder_wear,
    "arthritis": shoulder_wear,
    "hernia, hiatal": hernia,
    "hernia, diaphragmatic": hernia,
    "diaphragmatic eventration": eventration,
    "epicardial fat": epicardial_fat,
    "adipose tissue": epicardial_fat,
    "nipple shadow": nipple,
    "mastectomy": mastectomy,
    "pneumoperitoneum": free_air,
    "subcutaneous emphysema": skin_gas,
    "lung": azygos,
}
