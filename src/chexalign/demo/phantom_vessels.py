"""Hila and the vessels that branch from them, in either view."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chexalign.demo.phantom_body import Body
from chexalign.demo.phantom_film import Film, Stroke

Array = np.ndarray
Hilum = tuple[float, tuple[float, float], float, int]


def draw_vessels(film: Film, body: Body, rng: np.random.Generator, air: Array, hila: Iterable[Hilum]) -> None:
    """Add vessels where there is `air`, for each hilum (direction -1 or 1 along x, point, size, number of branches)."""
    lines = []
    soft = np.zeros_like(film.tissue)
    for sign, (hx, hy), size, count in hila:
        film.glow(soft, hx, hy, 0.022 * size, 0.040 * size, 0.15 * size, 0.25 * sign)
        film.glow(soft, hx + sign * 0.012, hy + 0.045, 0.014 * size, 0.04, 0.08 * size, -0.3 * sign)
        for angle in np.linspace(-80, 80, count) + rng.normal(0, 9, count):
            turn = math.radians(angle)
            # Branches leave along the height of the hilum, not from one point.
            lines += _branch(body, rng, (hx, hy + 0.035 * size * math.sin(turn)), sign, turn, size)
    film.vessels += (soft + (0.165 + 0.06 * body.vessel_blur) * film.strokes(lines)) * air
    film.vessels += 0.012 * film.texture("fine", rng) * air
    if body.mesh:
        film.vessels += 0.15 * body.mesh * film.texture("net", rng) * air
        film.tissue += 0.05 * body.mesh * air


def _branch(
    body: Body, rng: np.random.Generator, start: tuple[float, float], sign: float, angle: float, size: float
) -> list[Stroke]:
    """One vessel as short strokes that taper, with the twigs it gives off."""
    up = angle < 0
    caliber = (body.upper_vessels if up else body.lower_vessels) * (0.9 + 0.1 * size)
    reach = (0.20 + 0.09 * abs(math.sin(angle))) * rng.uniform(0.65, 1.1)
    bend = rng.normal(0, 0.45) + (0.30 if up else 0.12)
    t = np.linspace(0.0, 1.0, 8)
    heading = angle + bend * t
    x = start[0] + sign * np.cumsum(np.cos(heading)) * reach / 8
    y = start[1] + np.cumsum(np.sin(heading)) * reach / 8
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    out: list[Stroke] = []
    for k in range(7):
        fade = 1.0 - k / 8
        out.append((points[k : k + 2], 0.0150 * caliber * fade**1.3 + 0.002, min(1.0, (0.35 + 0.6 * fade) * caliber)))
    for k, turn in ((2, 0.6), (4, -0.55), (5, 0.5)):
        a = float(heading[k]) + turn * rng.uniform(0.7, 1.3)
        length = 0.075 * rng.uniform(0.7, 1.2)
        tip = (points[k][0] + sign * length * math.cos(a), points[k][1] + length * math.sin(a))
        mid = (0.5 * (points[k][0] + tip[0]), 0.5 * (points[k][1] + tip[1]) - 0.004)
        out.append(((points[k], mid), 0.0065 * caliber, 0.52 * min(caliber, 1.35)))
        out.append(((mid, tip), 0.0040 * caliber, 0.40 * min(caliber, 1.35)))
    return out
