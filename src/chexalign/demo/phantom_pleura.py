"""Fluid and air where they should not be: effusion, pneumothorax, thick pleura, bullae, emphysema."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import step
from chexalign.demo.phantom_scene import FRONTAL, PLACES, Painter, Scene, places, region

Array = np.ndarray
Random = np.random.Generator


def effusion(scene: Scene, f: Finding, rng: Random) -> None:
    """Fluid that fills the angle, rises along the ribs and hides the diaphragm, with a curved upper edge."""
    film, body = scene.film, scene.body
    rise = 0.045 + 0.115 * f.severity**1.35
    for side in f.sides_or(rng):
        if scene.view == FRONTAL:
            sign = SIGN[side]
            u = np.clip(sign * (film.x - body.center) / body.lung_width, 0.0, 1.05)
            angle = float(body.floor(body.center + sign * 0.95 * body.lung_width))
            low = min(angle, float(body.floor(body.center + sign * 0.5 * body.lung_width)) + 0.05)
            bottom = angle
            surface = low - rise * (0.42 + 0.75 * u**4)
            haze = 0.16 * f.severity
        else:
            bottom = scene.at(side, PLACES["costophrenic angle"])[1]
            u = np.clip((film.x + 0.35) / 0.7, 0.0, 1.0)
            surface = bottom + 0.02 - 1.05 * rise * (0.25 + 0.95 * u**2)
            haze = 0.05
        depth = film.y - surface
        mask = scene.lung[side] * (0.96 * step(depth, 0.028) + haze * step(depth + 0.10, 0.2))
        if scene.view == FRONTAL:  # Fluid and dome are equally dense, so the line between them goes.
            wall = step(body.outer(film.y) - sign * (film.x - body.center), 0.03) * step(
                sign * (film.x - body.center), 0.02
            )
            mask = np.maximum(mask, 0.96 * step(depth, 0.028) * wall * step(bottom + 0.10 - film.y, 0.10))
        one_lung = 1.0 if scene.view == FRONTAL or len(f.sides) == 2 else 0.75
        mask = np.clip(mask, 0.0, 0.97) * one_lung
        film.fill(mask, scene.airless)
        film.bones *= 1.0 - 0.5 * mask
        film.vessels *= 1.0 - 0.9 * step(depth, 0.028) * scene.lung[side]


def blunted_angle(scene: Scene, f: Finding, rng: Random) -> None:
    """The sharp angle between ribs and diaphragm is filled."""
    film = scene.film
    for side in f.sides_or(rng):
        x, y = scene.at(side, PLACES["costophrenic angle"])
        size = 0.042 + 0.022 * f.severity
        window = film.patch(x, y, 2.5 * size)
        r2 = film.radius2(window, x + 0.01 * SIGN[side] * (scene.view == FRONTAL), y + 0.01, size, size)
        film.fill(np.exp(-0.5 * r2 * r2) * 0.95 * scene.lung[side][window], 0.70, window)


def pleural_thickening(scene: Scene, f: Finding, rng: Random) -> None:
    """A dense rim inside the ribs: a cap at the apex, a band along the wall elsewhere."""
    film, body = scene.film, scene.body
    for side in f.sides_or(rng, both=f.has("apex")):
        mask = scene.lung[side]
        width = 0.018 + 0.022 * f.severity
        shift = max(1, round(width * film.n))
        inner = mask.copy()
        if f.has("apex", "upper lobe"):
            inner[shift:] = np.minimum(inner[shift:], mask[:-shift])
            inner[:shift] = 0.0
            zone = step(body.lung_top + 0.11 - film.y, 0.06)
        else:
            out = -SIGN[side] if scene.view == FRONTAL else -1.0
            inner = np.minimum(inner, np.roll(mask, round(out) * shift, axis=1))
            zone = step(film.y - 0.42, 0.15) * step(SIGN[side] * (film.x - body.center) - 0.15, 0.05)
            if scene.view != FRONTAL:
                zone = step(film.y - 0.42, 0.15) * step(film.x - 0.1, 0.05)
        film.fill(0.85 * np.clip(mask - inner, 0.0, 1.0) * zone, 0.74)


def pneumothorax(scene: Scene, f: Finding, rng: Random) -> None:
    """Air between lung and ribs: a fine pleural line, nothing but black beyond it."""
    film, body = scene.film, scene.body
    for side in f.sides_or(rng):
        gap = 0.022 + 0.085 * f.severity
        if scene.view == FRONTAL:
            sign = SIGN[side]
            rows = film.y[:, 0]
            reach = 0.13 if f.has("apex") else 0.16 + 0.45 * f.severity
            fall = np.exp(-np.maximum(rows - body.lung_top, 0.0) / reach)
            edge = body.outer(rows) - gap * ((0.0 if f.has("apex") else 0.20 * min(f.severity, 1.0)) + 0.95 * fall)
            edge *= step(rows - body.lung_top - 0.75 * gap, 0.05) ** 0.5
            beyond = step(sign * (film.x - body.center) - edge[:, None], 1.6 * film.soft) * scene.lung[side]
        else:
            edge = body.lung_top + 1.0 * gap + 0.35 * film.x**2
            beyond = step(edge - film.y, 1.6 * film.soft) * scene.lung[side]
        line = np.clip(4.0 * beyond * (1.0 - beyond), 0.0, 1.0) * step(scene.lung[side] - 0.7, 0.5)
        film.vessels *= 1.0 - beyond
        film.tissue -= beyond * np.maximum(film.tissue - 0.08, 0.0) * 0.6
        film.bones += 0.20 * line
        film.fill(0.10 * f.severity * scene.lung[side] * (1.0 - beyond), 0.6)


def hydropneumothorax(scene: Scene, f: Finding, rng: Random) -> None:
    """Air above, fluid below, on one side."""
    pneumothorax(scene, f, f.rng(scene.body.seed))
    effusion(scene, f, rng)


def bulla(scene: Scene, f: Finding, rng: Random) -> None:
    """Thin-walled pockets of air without vessels."""
    film = scene.film
    f = f if f.zones else replace(f, zones=("upper lobe",))
    for side, place in list(places(f, rng)) + list(places(f, rng)):
        x, y = scene.at(side, place)
        r = 0.032 + 0.020 * f.severity
        window = film.patch(x, y, 1.5 * r)
        r2 = film.radius2(window, x, y, r, r * 0.9)
        inside = step(1.0 - r2, 0.3)
        film.vessels[window] *= 1.0 - inside
        film.tissue[window] -= (
            0.30 * inside * np.maximum(film.tissue[window] - 0.10, 0.0) * scene.open_lung[side][window]
        )
        film.vessels[window] += 0.045 * np.exp(-(((r2 - 1.0) / 0.25) ** 2)) * scene.open_lung[side][window]


def emphysema(scene: Scene, f: Finding, rng: Random) -> None:
    """Dark upper lungs with few vessels; bullae when severe."""
    film = scene.film
    high = step(0.42 - film.y, 0.35)
    for side in f.sides or (RIGHT, LEFT):
        film.tissue -= 0.22 * f.severity * high * np.maximum(film.tissue - 0.10, 0.0) * scene.open_lung[side]
        film.vessels *= 1.0 - min(0.5 * f.severity, 0.8) * high * scene.lung[side]
    if f.severity > 1.2 or f.heading in ("bullous emphysema", "blister"):
        bulla(scene, replace(f, sides=f.sides or (RIGHT, LEFT)), rng)


def hyperlucent(scene: Scene, f: Finding, rng: Random) -> None:
    """Lung darker than it should be, over a zone or a whole side."""
    film = scene.film
    mask = region(scene, f if f.sides else replace(f, sides=f.sides_or(rng))) * min(f.severity, 1.2)
    film.tissue -= 0.62 * np.minimum(mask, 1.2) * np.maximum(film.tissue - 0.08, 0.0)
    film.vessels *= 1.0 - 0.5 * np.minimum(mask, 1.0)


PLEURA_PAINTERS: dict[str, Painter] = {
    "pleural effusion": effusion,
    "hemothorax": effusion,
    "costophrenic angle": blunted_angle,
    "sulcus": blunted_angle,
    "pleura": blunted_angle,
    "thickening": pleural_thickening,
    "pneumothorax": pneumothorax,
    "hydropneumothorax": hydropneumothorax,
    "hemopneumothorax": hydropneumothorax,
    "emphysema": emphysema,
    "pulmonary emphysema": emphysema,
    "bullous emphysema": emphysema,
    "blister": bulla,
    "cysts": bulla,
    "lung, hyperlucent": hyperlucent,
    "lucency": hyperlucent,
}
