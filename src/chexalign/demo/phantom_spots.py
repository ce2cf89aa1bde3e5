"""Round and dense findings of the lungs: nodules, masses, granulomas, calcified nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import step
from chexalign.demo.phantom_pleura import pleural_thickening
from chexalign.demo.phantom_scene import PLACES, Painter, Place, Scene, places

Array = np.ndarray
Random = np.random.Generator


def spots(f: Finding, rng: Random, n_many: int) -> Iterator[tuple[str, Place]]:
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
    for side, place in spots(f, rng, 6):
        x, y = scene.at(side, place)
        r = 0.017 + 0.010 * f.severity + 0.003 * rng.random()
        film.disk(film.tissue, x, y, r, r * rng.uniform(0.85, 1.1), 0.25 + 0.05 * f.severity)


def mass(scene: Scene, f: Finding, rng: Random) -> None:
    """A round lesion of 3 cm or more with a lobulated edge."""
    film = scene.film
    for side, place in spots(f, rng, 3):
        x, y = scene.at(side, place)
        r = 0.045 + 0.022 * f.severity
        window = film.patch(x, y, 1.6 * r)
        r2 = film.radius2(window, x, y, r, 0.9 * r)
        for dx, dy in rng.normal(0.0, 0.28 * r, (3, 2)):
            r2 = np.minimum(r2, film.radius2(window, x + dx, y + dy, 0.85 * r, 0.75 * r))
        film.tissue[window] += 0.235 * step(1.0 - r2, 0.45)


def granuloma(scene: Scene, f: Finding, rng: Random) -> None:
    """A small dense spot of calcium; at the hilum, a cluster of calcified nodes."""
    film = scene.film
    if f.has("hilum", "lymph nodes", "mediastinum", "paratracheal"):
        calcified_nodes(scene, f, rng)
        return
    for side, place in spots(f, rng, 6):
        x, y = scene.at(side, place)
        r = 0.0095 + 0.0055 * f.severity
        film.disk(film.metal, x, y, r, r * rng.uniform(0.8, 1.1), 0.72 + 0.12 * min(f.severity, 1.2))


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
    if f.has("aorta", "aorta, thoracic", "blood vessels"):
        return
    if f.has("abdomen", "heart", "mitral valve", "aortic valve"):
        x, y = scene.marks["liver" if f.has("abdomen") else "heart"]
        scene.film.disk(scene.film.metal, x, y, 0.014, 0.012, 0.7)
        return
    if f.has("pleura", "diaphragm"):
        pleural_thickening(scene, replace(f, zones=f.zones or ("base",)), rng)
    granuloma(scene, f, rng)


def cavity(scene: Scene, f: Finding, rng: Random) -> None:
    """A thick-walled ring with air inside."""
    film = scene.film
    for side, place in places(f, rng, "upper lobe"):
        x, y = scene.at(side, place)
        r = 0.042 + 0.012 * f.severity
        film.disk(film.tissue, x, y, r, r, 0.22)
        film.disk(film.tissue, x, y, 0.55 * r, 0.5 * r, -0.24)


SPOT_PAINTERS: dict[str, Painter] = {
    "nodule": nodule,
    "mass": mass,
    "calcified granuloma": granuloma,
    "granuloma": granuloma,
    "granulomatous disease": granulomatous_disease,
    "tuberculosis": granulomatous_disease,
    "calcinosis": calcification,
    "cavitation": cavity,
}
