"""What people are given to wear: pacemakers, lines, tubes, wires, clips, rods."""

from __future__ import annotations

import math

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, Finding
from chexalign.demo.phantom_film import arc, curve
from chexalign.demo.phantom_scene import FRONTAL, PLACES, Painter, Scene

Array = np.ndarray
Random = np.random.Generator

_METAL = 0.95


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
    ventricle = curve(start, (0.6 * x + 0.4 * above[0], y - 0.10), above, cava, (cava[0], apex[1]), apex)
    atrium = curve(
        start, (0.5 * x + 0.5 * above[0], y - 0.085), above, (cava[0], cava[1] + 0.14), (cava[0] + 0.03, cava[1] + 0.06)
    )
    film.metal += 0.85 * film.strokes([(ventricle, 0.0095, 1.0), (atrium, 0.0085, 1.0)])


def _valve(scene: Scene, f: Finding) -> None:
    x, y = scene.marks["heart"]
    dx, dy = (-0.03, -0.05) if f.has("aortic valve") else (0.01, 0.02)
    ring = arc(x + dx, y + dy, 0.024, 0, 360, 16)
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
        path = curve(start, (0.75 * x + 0.25 * above[0], y - 0.17), above, above, cava, (cava[0], cava[1] + 0.03))
        lines.append((path, 0.010, 1.0))
        film.metal += 0.80 * film.strokes(lines)


def tube(scene: Scene, f: Finding, rng: Random) -> None:
    """A breathing tube, a chest drain, or a feeding tube that crosses the diaphragm."""
    film = scene.film
    carina, stomach = scene.marks["carina"], scene.marks["stomach"]
    if f.has("abdomen", "esophagus"):
        path = curve((carina[0], -0.01), (carina[0] + 0.01, 0.4), (carina[0], stomach[1]), stomach, n=20)
    elif f.has("thorax", "lung", "pleura") and not f.has("trachea", "trachea, carina"):
        side = f.sides_or(rng)[0]
        low, high = scene.at(side, PLACES["base"]), scene.at(side, PLACES["apex"])
        path = curve((low[0] + SIGN[side] * 0.20, low[1]), (low[0] + SIGN[side] * 0.04, low[1] - 0.10), high)
    else:
        path = [(carina[0], -0.01), (carina[0] + 0.003, carina[1] - 0.07)]
    film.metal += 0.85 * film.strokes([(path, 0.018, 1.0), (path, 0.005, 0.55)])


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
            film.metal += _METAL * film.strokes([(arc(x, y, 0.020, 0, 360, 14), 0.010, 1.0)])
        elif kind == 1:
            film.disk(film.metal, x, y, 0.016, 0.016, 1.0)
        else:
            film.metal += film.strokes([([(x - 0.03, y), (x + 0.03, y + 0.012)], 0.014, 1.0)])


def stent(scene: Scene, f: Finding, rng: Random) -> None:
    """A short bright mesh tube in a coronary vessel, the aorta or the belly."""
    film = scene.film
    x, y = scene.marks["arch"] if f.has("aorta") else scene.marks["liver" if f.has("abdomen") else "heart"]
    size = 0.055 if f.has("aorta") else 0.030
    x, y = x + 0.01, y + (0.03 if f.has("aorta") else -0.035)
    film.metal += 0.85 * film.strokes(
        [([(x, y), (x + 0.6 * size, y + size)], 0.016, 1.0), ([(x, y), (x + 0.6 * size, y + size)], 0.006, 0.4)]
    )


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


def contrast(scene: Scene, f: Finding, rng: Random) -> None:
    """Swallowed contrast in the stomach."""
    x, y = scene.marks["stomach"]
    scene.film.glow(scene.film.metal, x, y, 0.05, 0.03, 0.8)


def implants(scene: Scene, f: Finding, rng: Random) -> None:
    """Round dense shadows of both breasts."""
    film = scene.film
    for side in f.sides_or(rng, both=True):
        x, y = scene.marks[f"breast {side}"]
        film.disk(film.tissue, x, y, 0.10, 0.09, 0.12)


DEVICE_PAINTERS: dict[str, Painter] = {
    "implanted medical device": device,
    "medical device": device,
    "catheters, indwelling": catheter,
    "tube, inserted": tube,
    "surgical instruments": surgical,
    "sutures": surgical,
    "foreign bodies": foreign_body,
    "spinal fusion": fusion,
    "stents": stent,
    "breast implants": implants,
    "contrast media": contrast,
}
