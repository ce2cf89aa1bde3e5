"""Findings outside the lungs, painted on a scene: aorta, bones, hernia, and everything people are given to wear."""

from __future__ import annotations

import math

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import step
from chexalign.demo.phantom_frontal import clavicle_curve, rib_curve
from chexalign.demo.phantom_lateral import lateral_rib
from chexalign.demo.phantom_lungs import Painter, nodule
from chexalign.demo.phantom_scene import FRONTAL, PLACES, Scene

Array = np.ndarray
Random = np.random.Generator
_METAL = 0.95


def _arc(x: float, y: float, r: float, start: float, stop: float, n: int = 10) -> list[tuple[float, float]]:
    angles = np.radians(np.linspace(start, stop, n))
    return [(x + r * math.cos(a), y + r * math.sin(a)) for a in angles]


def _curve(*points: tuple[float, float], n: int = 14) -> list[tuple[float, float]]:
    """A smooth line (Bezier) that starts at the first point, ends at the last and is pulled by the rest."""
    t = np.linspace(0.0, 1.0, n)[:, None]
    control = [np.tile(np.array(p), (n, 1)) for p in points]
    while len(control) > 1:
        control = [a + (b - a) * t for a, b in zip(control, control[1:], strict=False)]
    return [(float(x), float(y)) for x, y in control[0]]


def aortic_calcium(scene: Scene, f: Finding, rng: Random) -> None:
    """A bright rim on the aortic arch, broken into pieces, that grows with severity."""
    if f.heading == "calcinosis" and not f.has("aorta", "aorta, thoracic", "blood vessels"):
        return
    x, y = scene.marks["arch"]
    r = scene.body.knob * (0.98 if scene.view == FRONTAL else 1.5)
    span = 55 + 45 * f.severity
    middle = -15 if scene.view == FRONTAL else -70
    lines = [(_arc(x, y, r, middle - span, middle - span * 0.1), 0.009, 1.0)]
    lines += [(_arc(x, y, r, middle + span * 0.1, middle + span), 0.009, 1.0)]
    scene.film.metal += (0.55 + 0.2 * f.severity) * scene.film.strokes(lines)


def device(scene: Scene, f: Finding, rng: Random) -> None:
    """A pacemaker with leads, or the valve, joint or plate the qualifiers name."""
    if f.has("aortic valve", "mitral valve"):
        _valve(scene, f)
    elif f.has("humerus", "shoulder"):
        _prosthesis(scene, f, rng)
    elif f.has("cervical vertebrae", "thoracic vertebrae", "spine"):
        fusion(scene, f, rng)
    elif f.has("abdomen", "breast"):
        foreign_body(scene, f, rng)
    else:
        _pacemaker(scene, f, rng)


def _pacemaker(scene: Scene, f: Finding, rng: Random) -> None:
    film = scene.film
    side = f.sides[0] if f.sides else LEFT
    x, y = scene.marks[f"pocket {side}"]
    cava, heart = scene.marks["cava"], scene.marks["heart"]
    film.disk(film.metal, x, y, 0.050, 0.038, _METAL, 0.2 * SIGN[side])
    film.disk(film.metal, x, y - 0.028, 0.026, 0.020, 0.7)
    frontal = scene.view == FRONTAL
    apex = (heart[0] + (0.085 if frontal else -0.06), heart[1] + 0.065)
    above = (cava[0], cava[1] - 0.20)
    start = (x, y - 0.035)
    ventricle = _curve(start, (0.6 * x + 0.4 * above[0], y - 0.10), above, cava, (cava[0], apex[1]), apex)
    atrium = _curve(
        start, (0.5 * x + 0.5 * above[0], y - 0.085), above, (cava[0], cava[1] + 0.14), (cava[0] + 0.03, cava[1] + 0.06)
    )
    film.metal += 0.85 * film.strokes([(ventricle, 0.0095, 1.0), (atrium, 0.0085, 1.0)])


def _valve(scene: Scene, f: Finding) -> None:
    x, y = scene.marks["heart"]
    dx, dy = (-0.03, -0.05) if f.has("aortic valve") else (0.01, 0.02)
    ring = _arc(x + dx, y + dy, 0.024, 0, 360, 16)
    scene.film.metal += 0.9 * scene.film.strokes(
        [([(px, y + dy + 0.7 * (py - y - dy)) for px, py in ring], 0.009, 1.0)]
    )


def _prosthesis(scene: Scene, f: Finding, rng: Random) -> None:
    film = scene.film
    for side in f.sides_or(rng):
        x, y = scene.marks[f"arm {side}"]
        film.disk(film.metal, x, y, 0.045, 0.045, _METAL)
        film.metal += film.strokes([([(x, y), (x + SIGN[side] * 0.02, y + 0.16)], 0.022, _METAL)])


def catheter(scene: Scene, f: Finding, rng: Random) -> None:
    """A central line from neck or shoulder to the caval vein, with or without a port under the skin."""
    film = scene.film
    cava = scene.marks["cava"]
    for side in f.sides_or(rng):
        x, y = scene.marks[f"pocket {side}"]
        above = (cava[0], cava[1] - 0.22)
        lines = []
        if rng.random() < 0.55:
            film.disk(film.metal, x, y, 0.026, 0.026, 0.85)
            start = (x, y)
        else:
            start = (x + SIGN[side] * 0.12 * (scene.view == FRONTAL), y - 0.03)
        path = _curve(start, (0.75 * x + 0.25 * above[0], y - 0.17), above, above, cava, (cava[0], cava[1] + 0.03))
        lines.append((path, 0.010, 1.0))
        film.metal += 0.80 * film.strokes(lines)


def tube(scene: Scene, f: Finding, rng: Random) -> None:
    """A breathing tube, a chest drain, or a feeding tube that crosses the diaphragm."""
    film = scene.film
    carina, stomach = scene.marks["carina"], scene.marks["stomach"]
    if f.has("abdomen", "esophagus"):
        path = _curve((carina[0], -0.01), (carina[0] + 0.01, 0.4), (carina[0], stomach[1]), stomach, n=20)
    elif f.has("thorax", "lung", "pleura") and not f.has("trachea", "trachea, carina"):
        side = f.sides_or(rng)[0]
        low, high = scene.at(side, PLACES["base"]), scene.at(side, PLACES["apex"])
        path = _curve((low[0] + SIGN[side] * 0.20, low[1]), (low[0] + SIGN[side] * 0.04, low[1] - 0.10), high)
    else:
        path = [(carina[0], -0.01), (carina[0] + 0.003, carina[1] - 0.07)]
    film.metal += 0.72 * film.strokes([(path, 0.017, 1.0), (path, 0.006, 0.55)])


def surgical(scene: Scene, f: Finding, rng: Random) -> None:
    """Clips and wires where the qualifiers say: sternum, gallbladder bed, breast, hilum or neck."""
    if f.has("abdomen"):
        _clips(scene, scene.marks["liver" if f.sides != (LEFT,) else "stomach"], rng, 5, 0.03)
    elif f.has("breast", "shoulder"):
        for side in f.sides_or(rng):
            _clips(scene, scene.marks[f"breast {side}"], rng, 5, 0.04)
    elif f.has("neck", "cervical vertebrae"):
        _clips(scene, (scene.marks["carina"][0], 0.045), rng, 4, 0.03)
    elif f.has("lung", "hilum", "apex") or (f.sides and not f.has("mediastinum", "heart")):
        name = "hilum" if f.has("hilum") else f.zones[0] if f.zones else "upper lobe"
        for side in f.sides_or(rng):
            _clips(scene, scene.at(side, PLACES[name]), rng, 6, 0.03)
    else:
        _sternotomy(scene, rng)


def _clips(scene: Scene, center: tuple[float, float], rng: Random, count: int, spread: float) -> None:
    lines = []
    for dx, dy in rng.normal(0.0, spread, (count, 2)):
        angle = rng.uniform(0, math.pi)
        ax, ay = 0.012 * math.cos(angle), 0.012 * math.sin(angle)
        x, y = center[0] + dx, center[1] + 0.7 * dy
        lines.append(([(x - ax, y - ay), (x + ax, y + ay)], 0.0095, 1.0))
    scene.film.metal += 0.95 * scene.film.strokes(lines)


def _sternotomy(scene: Scene, rng: Random) -> None:
    top, bottom = scene.marks["sternum top"], scene.marks["sternum bottom"]
    wide = 0.016 if scene.view == FRONTAL else 0.007
    lines = []
    for k in range(6):
        t = k / 5
        x, y = top[0] + (bottom[0] - top[0]) * t, top[1] + (bottom[1] - top[1]) * t
        ring = [(x + wide * math.cos(a), y + 0.010 * math.sin(a)) for a in np.linspace(0.4, 6.6, 12)]
        lines.append((ring, 0.0075, 1.0))
    heart = scene.marks["heart"]
    for _ in range(4):
        x, y = heart[0] + rng.uniform(0.0, 0.06), heart[1] - rng.uniform(0.02, 0.15)
        lines.append(([(x, y), (x + 0.008, y + 0.014)], 0.009, 1.0))
    scene.film.metal += 0.92 * scene.film.strokes(lines)


def foreign_body(scene: Scene, f: Finding, rng: Random) -> None:
    """A few small metal things: a button, a pellet, a ring."""
    film = scene.film
    for side in f.sides_or(rng):
        x, y = (
            scene.marks[f"breast {side}"]
            if f.has("breast", "thorax") or not f.zones
            else scene.at(side, PLACES[f.zones[0]])
        )
        if f.has("abdomen"):
            x, y = scene.marks["stomach"]
        x, y = x + rng.normal(0, 0.03), y + rng.normal(0, 0.05)
        kind = rng.integers(0, 3)
        if kind == 0:
            film.metal += _METAL * film.strokes([(_arc(x, y, 0.020, 0, 360, 14), 0.010, 1.0)])
        elif kind == 1:
            film.disk(film.metal, x, y, 0.016, 0.016, 1.0)
        else:
            film.metal += film.strokes([([(x - 0.03, y), (x + 0.03, y + 0.012)], 0.014, 1.0)])


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
    film.glow(film.bones, point[0], point[1], 0.6 * size, 0.5 * size, 0.20 + 0.10 * severity)
    x, y = point
    film.bones -= 0.16 * film.strokes([([(x - 0.2 * size, y - size), (x + 0.3 * size, y + size)], 0.007, 1.0)])


def _rib_calluses(scene: Scene, f: Finding, rng: Random) -> None:
    first = int(rng.integers(4, 7))
    angle = float(rng.uniform(38, 72)) if not f.has("anterior") else float(rng.uniform(105, 130))
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
    fracture(
        scene, f if f.has("thoracic vertebrae", "lumbar vertebrae", "spine", "clavicle", "humerus", "ribs") else f, rng
    )


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


def fusion(scene: Scene, f: Finding, rng: Random) -> None:
    """Rods with paired screws along a stretch of the spine."""
    film = scene.film
    top, bottom = (
        (0.0, 0.10) if f.has("cervical vertebrae") else (0.70, 0.99) if f.has("lumbar vertebrae") else (0.38, 0.74)
    )
    xs, ys = scene.spine
    keep = (ys >= top) & (ys <= bottom)
    line_x, line_y = xs[keep][::4], ys[keep][::4]
    lines = []
    for offset in (-0.018, 0.018) if scene.view == FRONTAL else (0.022,):
        rod = [(float(x) + offset, float(y)) for x, y in zip(line_x, line_y, strict=True)]
        if len(rod) < 2:
            continue
        lines.append((rod, 0.008, 1.0))
        lines += [([(x - 0.012, y), (x + 0.010, y + 0.003)], 0.011, 1.0) for x, y in rod[:: max(1, len(rod) // 4)]]
    film.metal += 0.92 * film.strokes(lines)


def hernia(scene: Scene, f: Finding, rng: Random) -> None:
    """A round shadow behind the heart, above the diaphragm, with an air bubble over a fluid level."""
    film = scene.film
    x, y = scene.marks["hiatus"]
    r = 0.040 + 0.032 * f.severity
    y -= 0.55 * r
    film.disk(film.tissue, x, y, 1.15 * r, r, 0.13)
    window = film.patch(x, y, 1.2 * r)
    r2 = film.radius2(window, x, y, 0.85 * r, 0.72 * r)
    air = step(1.0 - r2, 0.4) * step(y + 0.12 * r - film.y[window[0]], 0.012)
    film.tissue[window] -= 0.21 * air
    film.vessels[window] += 0.05 * np.exp(-(((r2 - 1.25) / 0.3) ** 2))


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
        film.fill(0.95 * hump * scene.lung[side][window], 0.68, window)
        film.vessels[window] *= 1.0 - 0.9 * hump


def stent(scene: Scene, f: Finding, rng: Random) -> None:
    """A short bright mesh tube in a coronary vessel, the aorta or the belly."""
    film = scene.film
    x, y = scene.marks["arch"] if f.has("aorta") else scene.marks["liver" if f.has("abdomen") else "heart"]
    size = 0.055 if f.has("aorta") else 0.030
    x, y = x + 0.01, y + (0.03 if f.has("aorta") else -0.035)
    film.metal += 0.85 * film.strokes(
        [([(x, y), (x + 0.6 * size, y + size)], 0.016, 1.0), ([(x, y), (x + 0.6 * size, y + size)], 0.006, 0.4)]
    )


def epicardial_fat(scene: Scene, f: Finding, rng: Random) -> None:
    """A soft wedge that fills the angle between heart and diaphragm."""
    film, body = scene.film, scene.body
    hx, hy = scene.marks["heart"]
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


def implants(scene: Scene, f: Finding, rng: Random) -> None:
    """Round dense shadows of both breasts."""
    film = scene.film
    for side in f.sides_or(rng, both=True):
        x, y = scene.marks[f"breast {side}"]
        film.disk(film.tissue, x, y, 0.10, 0.09, 0.12)


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
    line = _curve((x - 0.075, y + 0.015), (x - 0.085, y + 0.10), (x - 0.01, y + 0.17))
    film.vessels += 0.22 * film.strokes([(line, 0.009, 1.0)])
    film.disk(film.tissue, x - 0.012, y + 0.172, 0.016, 0.020, 0.20)


def contrast(scene: Scene, f: Finding, rng: Random) -> None:
    """Swallowed contrast in the stomach."""
    x, y = scene.marks["stomach"]
    scene.film.glow(scene.film.metal, x, y, 0.05, 0.03, 0.8)


CHEST_PAINTERS: dict[str, Painter] = {
    "atherosclerosis": aortic_calcium,
    "calcinosis": aortic_calcium,
    "implanted medical device": device,
    "medical device": device,
    "catheters, indwelling": catheter,
    "tube, inserted": tube,
    "surgical instruments": surgical,
    "sutures": surgical,
    "foreign bodies": foreign_body,
    "fractures, bone": fracture,
    "deformity": deformity,
    "sclerosis": sclerosis,
    "shoulder": shoulder_wear,
    "humerus": shoulder_wear,
    "arthritis": shoulder_wear,
    "spinal fusion": fusion,
    "hernia, hiatal": hernia,
    "hernia, diaphragmatic": hernia,
    "diaphragmatic eventration": eventration,
    "stents": stent,
    "epicardial fat": epicardial_fat,
    "adipose tissue": epicardial_fat,
    "nipple shadow": nipple,
    "breast implants": implants,
    "mastectomy": mastectomy,
    "pneumoperitoneum": free_air,
    "subcutaneous emphysema": skin_gas,
    "lung": azygos,
    "contrast media": contrast,
    "expansile bone lesions": nodule,
}
