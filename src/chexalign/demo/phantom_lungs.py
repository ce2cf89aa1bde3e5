"""Findings of the lungs and the pleura, painted on a scene: fluid, cells, collapse, air, nodules and scars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from chexalign.demo.phantom_body import SIGN
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import step
from chexalign.demo.phantom_scene import ANYWHERE, FRONTAL, PLACES, Place, Scene

Array = np.ndarray
Random = np.random.Generator
Painter = Callable[[Scene, Finding, Random], None]


def places(f: Finding, rng: Random, fallback: str | None = None) -> Iterator[tuple[str, Place]]:
    """Where the finding sits: each named side with each named zone that exists there, jittered."""
    zones = [zone for zone in f.zones if zone != "mediastinum"]
    for side in f.sides_or(rng):
        here = [
            z for z in zones if not (z == "lingula" and side == RIGHT) and not (z == "middle lobe" and side == LEFT)
        ]
        names: list[str | None] = list(here) if here else [fallback]
        for name in names:
            place = PLACES[name] if name else replace(ANYWHERE, height=0.25 + 0.6 * rng.random())
            depth = place.depth
            if f.has("posterior"):
                depth = max(depth, 0.82)
            if f.has("anterior"):
                depth = min(depth, 0.16)
            h, w, d = rng.normal(0.0, 1.0, 3).clip(-1.6, 1.6)
            wide = 0.10 if name in (None, "upper lobe", "lower lobe", "base", "middle lobe", "lingula") else 0.03
            yield side, Place(place.height + 0.025 * h, place.lateral + wide * w, depth + 0.03 * d, place.spread)


def _cloud(
    scene: Scene, f: Finding, rng: Random, *, level: float, strength: float, fallback: str, fluff: float
) -> None:
    """Patches of lung whose air is partly replaced, with an uneven edge."""
    film = scene.film
    widespread = f.has("diffuse", "multilobar", "scattered") or (f.has("multiple") and not f.zones)
    if widespread:
        spots = [(s, replace(PLACES["lower lobe"], height=h, spread=0.085)) for s in SIGN for h in (0.38, 0.62, 0.86)]
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
            mask = np.maximum(mask, np.exp(-0.5 * r2))
        ragged = 1.0 + fluff * film.texture("mid", rng)[window] + 0.5 * fluff * film.texture("fine", rng)[window]
        amount = np.clip(strength * (0.45 + 0.55 * f.severity) * mask * ragged, 0.0, 0.97)
        film.fill(amount * scene.lung[side][window], level, window)


def _region(scene: Scene, f: Finding, rng: Random) -> Array:
    """A soft mask [n, n] of the lungs a widespread pattern covers: the named sides and zones, else everything."""
    film = scene.film
    sides = f.sides or (RIGHT, LEFT)
    zones = [z for z in f.zones if z != "mediastinum"]
    if not zones:
        return np.maximum.reduce([scene.lung[s] for s in sides])
    mask = np.zeros_like(film.tissue)
    for side in sides:
        for zone in zones:
            place = PLACES[zone]
            x, y = scene.at(side, place)
            r2 = film.radius2((slice(None), slice(None)), x, y, 2.2 * place.spread, 1.5 * place.spread)
            mask = np.maximum(mask, np.exp(-0.5 * r2 * r2) * scene.lung[side])
    return mask


def _reticular(scene: Scene, f: Finding, rng: Random, strength: float = 1.0) -> None:
    """A mesh of fine lines over the region."""
    mask = _region(scene, f, rng) * (strength * f.severity)
    film = scene.film
    film.vessels += 0.22 * mask * film.texture("net", rng)
    film.fill(0.16 * mask, 0.65)


def _streaks(scene: Scene, f: Finding, rng: Random, *, fallback: str, flat: float, strength: float) -> None:
    """A few short dense lines: plates of collapsed lung or scars. `flat` in 0..1 keeps them level."""
    film = scene.film
    lines = []
    spots = list(places(f, rng, fallback))
    for side, place in spots:
        x, y = scene.at(side, place)
        size = place.spread * (0.75 + 0.45 * f.severity)
        for k in range(2 + round(1.5 * f.severity)):
            tilt = rng.normal(0.0, 0.20 + (1.0 - flat) * 0.7) - 0.15 * SIGN[side]
            cx, cy = x + rng.normal(0.0, 0.3 * size), y + (k - 1) * 0.4 * size + rng.normal(0.0, 0.15 * size)
            half = size * rng.uniform(0.7, 1.1)
            dx, dy = half * math.cos(tilt), half * math.sin(tilt)
            sag = 0.12 * half
            points = [(cx - dx, cy - dy), (cx, cy - sag), (cx + dx, cy + dy)]
            lines.append((points, 0.007 + 0.005 * f.severity * rng.uniform(0.6, 1.2), rng.uniform(0.7, 1.0)))
    inside = np.maximum(scene.lung[RIGHT], scene.lung[LEFT])
    film.vessels += strength * (0.5 + 0.5 * f.severity) * film.strokes(lines) * inside


def opacity(scene: Scene, f: Finding, rng: Random) -> None:
    """A hazy, patchy, streaky, round or interstitial opacity, as the qualifiers say."""
    if f.has("interstitial", "reticular"):
        _reticular(scene, f, rng)
    elif f.has("round"):
        nodule(scene, f, rng)
    elif f.has("streaky"):
        _streaks(scene, f, rng, fallback="base", flat=0.6, strength=0.26)
        _cloud(scene, f, rng, level=0.55, strength=0.35, fallback="base", fluff=0.3)
    else:
        _cloud(scene, f, rng, level=0.66, strength=0.72, fallback="lower lobe", fluff=0.30)


def infiltrate(scene: Scene, f: Finding, rng: Random) -> None:
    """Patchy alveolar filling, more uneven than an opacity."""
    if f.has("interstitial"):
        _reticular(scene, f, rng)
    else:
        _cloud(scene, f, rng, level=0.68, strength=0.80, fallback="lower lobe", fluff=0.45)


def consolidation(scene: Scene, f: Finding, rng: Random) -> None:
    """Dense filling of a zone that leaves its bronchi dark."""
    _cloud(scene, f, rng, level=0.76, strength=1.05, fallback="lower lobe", fluff=0.16)
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
        _cloud(scene, f, f.rng(scene.body.seed), level=0.66, strength=0.55, fallback="base", fluff=0.2)


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
        film.vessels[window] += 0.10 * f.severity * film.texture("net", rng)[window] * scene.lung[side][window]
        for k in range(6):
            bx, by = scene.at(side, Place(0.74 + 0.045 * k, 0.97, 0.9))
            lines.append(([(bx, by), (bx - SIGN[side] * 0.05, by - 0.004)], 0.006, 1.0))
    film.vessels += 0.16 * f.severity * film.strokes(lines)


def markings(scene: Scene, f: Finding, rng: Random) -> None:
    """Bronchovascular or interstitial markings, coarser than normal."""
    _reticular(scene, f, rng, 0.62)
    if not f.has("interstitial"):
        scene.film.vessels *= 1.0 + 0.45 * f.severity * _region(scene, f, rng)


def fibrosis(scene: Scene, f: Finding, rng: Random) -> None:
    """A coarse mesh with streaks."""
    _reticular(scene, f, rng, 1.15)
    _streaks(scene, f, rng, fallback="base", flat=0.2, strength=0.22)


def _spots(f: Finding, rng: Random, n_many: int) -> Iterator[tuple[str, Place]]:
    """One place, or several over the lungs when the code says multiple, scattered or diffuse."""
    if not f.has("multiple", "scattered", "diffuse"):
        yield from places(f, rng)
        return
    count = int(rng.integers(3, n_many + 1))
    for k in range(count):
        side = (f.sides or (RIGHT, LEFT))[k % len(f.sides or (RIGHT, LEFT))]
        for spot_side, place in places(replace(f, sides=(side,)), rng):
            yield spot_side, replace(place, lateral=float(rng.uniform(0.15, 0.85)))
            break


def nodule(scene: Scene, f: Finding, rng: Random) -> None:
    """A round soft-tissue spot under 3 cm."""
    film = scene.film
    for side, place in _spots(f, rng, 6):
        x, y = scene.at(side, place)
        r = 0.017 + 0.010 * f.severity + 0.003 * rng.random()
        film.disk(film.tissue, x, y, r, r * rng.uniform(0.85, 1.1), 0.20 + 0.05 * f.severity)


def mass(scene: Scene, f: Finding, rng: Random) -> None:
    """A round lesion of 3 cm or more with a lobulated edge."""
    film = scene.film
    for side, place in _spots(f, rng, 3):
        x, y = scene.at(side, place)
        r = 0.045 + 0.022 * f.severity
        for _ in range(3):
            dx, dy = rng.normal(0.0, 0.22 * r, 2)
            film.disk(film.tissue, x + dx, y + dy, r, r * rng.uniform(0.8, 1.0), 0.125, rng.uniform(0, 3))


def granuloma(scene: Scene, f: Finding, rng: Random) -> None:
    """A small dense spot of calcium; at the hilum, a cluster of calcified nodes."""
    film = scene.film
    if f.has("hilum", "lymph nodes", "mediastinum", "paratracheal"):
        calcified_nodes(scene, f, rng)
        return
    for side, place in _spots(f, rng, 6):
        x, y = scene.at(side, place)
        r = 0.0085 + 0.0045 * f.severity
        film.disk(film.metal, x, y, r, r * rng.uniform(0.8, 1.1), 0.62 + 0.12 * min(f.severity, 1.2))


def calcified_nodes(scene: Scene, f: Finding, rng: Random) -> None:
    """Dense irregular grains in the lymph nodes of a hilum or beside the trachea."""
    film = scene.film
    name = "paratracheal" if f.has("paratracheal", "mediastinum") and not f.has("hilum") else "hilum"
    for side in f.sides_or(rng):
        x, y = scene.at(side, PLACES[name])
        for _ in range(4 + round(2 * f.severity)):
            dx, dy = rng.normal(0.0, 0.014, 1)[0], rng.normal(0.0, 0.022, 1)[0]
            r = rng.uniform(0.007, 0.012)
            film.disk(film.metal, x + dx, y + dy, r, r * 0.85, 0.55)


def granulomatous_disease(scene: Scene, f: Finding, rng: Random) -> None:
    """Old healed infection: a few granulomas and calcified nodes."""
    granuloma(scene, replace(f, words=f.words | {"scattered"}), rng)
    calcified_nodes(scene, f, rng)


def calcification(scene: Scene, f: Finding, rng: Random) -> None:
    """Calcium in a lung or its nodes (that of the aorta is drawn with the aorta)."""
    if f.has("aorta", "aorta, thoracic", "blood vessels", "abdomen", "heart", "mitral valve", "aortic valve"):
        return
    if f.has("pleura", "diaphragm"):
        pleural_thickening(scene, replace(f, zones=f.zones or ("base",)), rng)
    granuloma(scene, f, rng)


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
            surface = bottom + 0.02 - 0.7 * rise * (0.25 + 0.95 * u**2)
            haze = 0.05
        depth = film.y - surface
        mask = scene.lung[side] * (0.96 * step(depth, 0.028) + haze * step(depth + 0.10, 0.2))
        if scene.view == FRONTAL:  # Fluid and dome are equally dense, so the line between them goes.
            wall = step(body.outer(film.y) - sign * (film.x - body.center), 0.03) * step(
                sign * (film.x - body.center), 0.02
            )
            mask = np.maximum(mask, 0.96 * step(depth, 0.028) * wall * step(bottom + 0.10 - film.y, 0.10))
        film.fill(np.clip(mask, 0.0, 0.97), 0.72)
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
        width = 0.014 + 0.014 * f.severity
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
        film.fill(0.85 * np.clip(mask - inner, 0.0, 1.0) * zone, 0.68)


def pneumothorax(scene: Scene, f: Finding, rng: Random) -> None:
    """Air between lung and ribs: a fine pleural line, nothing but black beyond it."""
    film, body = scene.film, scene.body
    for side in f.sides_or(rng):
        gap = 0.022 + 0.085 * f.severity
        if scene.view == FRONTAL:
            sign = SIGN[side]
            rows = film.y[:, 0]
            fall = np.exp(-np.maximum(rows - body.lung_top, 0.0) / (0.16 + 0.45 * f.severity))
            edge = body.outer(rows) - gap * (0.20 * min(f.severity, 1.0) + 0.95 * fall)
            edge *= step(rows - body.lung_top - 0.75 * gap, 0.05) ** 0.5
            beyond = step(sign * (film.x - body.center) - edge[:, None], 1.6 * film.soft) * scene.lung[side]
        else:
            edge = body.lung_top + 1.0 * gap + 0.35 * film.x**2
            beyond = step(edge - film.y, 1.6 * film.soft) * scene.lung[side]
        line = np.clip(4.0 * beyond * (1.0 - beyond), 0.0, 1.0) * step(scene.lung[side] - 0.7, 0.5)
        film.vessels *= 1.0 - beyond
        film.tissue -= beyond * np.maximum(film.tissue - 0.08, 0.0) * 0.75
        film.bones += 0.20 * line
        film.fill(0.10 * f.severity * scene.lung[side] * (1.0 - beyond), 0.6)


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
        film.tissue[window] -= 0.10 * inside * (film.tissue[window] > 0.15)
        film.vessels[window] += 0.10 * np.exp(-(((r2 - 1.0) / 0.22) ** 2))


def cavity(scene: Scene, f: Finding, rng: Random) -> None:
    """A thick-walled ring with air inside."""
    film = scene.film
    for side, place in places(f, rng, "upper lobe"):
        x, y = scene.at(side, place)
        r = 0.042 + 0.012 * f.severity
        film.disk(film.tissue, x, y, r, r, 0.22)
        film.disk(film.tissue, x, y, 0.55 * r, 0.5 * r, -0.24)


def emphysema(scene: Scene, f: Finding, rng: Random) -> None:
    """Dark upper lungs with few vessels; bullae when severe."""
    film = scene.film
    high = step(0.42 - film.y, 0.35)
    for side in f.sides or (RIGHT, LEFT):
        film.tissue -= 0.06 * f.severity * high * scene.open_lung[side]
        film.vessels *= 1.0 - min(0.5 * f.severity, 0.8) * high * scene.lung[side]
    if f.severity > 1.2 or f.heading in ("bullous emphysema", "blister"):
        bulla(scene, replace(f, sides=f.sides or (RIGHT, LEFT)), rng)


def hyperlucent(scene: Scene, f: Finding, rng: Random) -> None:
    """Lung darker than it should be, over a zone or a whole side."""
    film = scene.film
    mask = _region(scene, f if f.sides else replace(f, sides=f.sides_or(rng)), rng) * min(f.severity, 1.2)
    film.tissue -= 0.09 * mask * (film.tissue > 0.14)
    film.vessels *= 1.0 - 0.5 * np.minimum(mask, 1.0)


def bronchiectasis(scene: Scene, f: Finding, rng: Random) -> None:
    """Paired lines and small rings of widened bronchi."""
    film = scene.film
    for side, place in _spots(replace(f, words=f.words | {"multiple"}), rng, 7):
        x, y = scene.at(side, place)
        film.disk(film.vessels, x, y, 0.016, 0.016, 0.16)
        film.disk(film.vessels, x, y, 0.009, 0.009, -0.16)
    _reticular(scene, f, rng, 0.4)


def density(scene: Scene, f: Finding, rng: Random) -> None:
    """An unexplained density: round ones as nodules, the rest as faint patches."""
    if f.has("round", "small", "multiple") or not f.has("lung"):
        nodule(scene, f, rng)
    else:
        _cloud(scene, f, rng, level=0.64, strength=0.70, fallback="lower lobe", fluff=0.2)


def hydropneumothorax(scene: Scene, f: Finding, rng: Random) -> None:
    """Air above, fluid below, on one side."""
    pneumothorax(scene, f, f.rng(scene.body.seed))
    effusion(scene, f, rng)


LUNG_PAINTERS: dict[str, Painter] = {
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
    "cystic fibrosis": bronchiectasis,
    "bronchiectasis": bronchiectasis,
    "nodule": nodule,
    "mass": mass,
    "calcified granuloma": granuloma,
    "granuloma": granuloma,
    "granulomatous disease": granulomatous_disease,
    "tuberculosis": granulomatous_disease,
    "calcinosis": calcification,
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
    "cavitation": cavity,
    "lung, hyperlucent": hyperlucent,
    "lucency": hyperlucent,
}
