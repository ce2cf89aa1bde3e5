"""A drawn patient that findings are painted on: the film, the lungs' masks and where a place in a lung lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from chexalign.demo.phantom_body import SIGN, Body
from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding
from chexalign.demo.phantom_film import Film

Array = np.ndarray
View = Literal["frontal", "lateral"]
FRONTAL: View = "frontal"


@dataclass(frozen=True)
class Place:
    """A place in a lung as fractions: `height` from apex 0 to diaphragm 1, `lateral` from mediastinum 0 to ribs 1,
    `depth` from sternum 0 to back 1; `spread` is the size of the zone around it in image widths."""

    height: float
    lateral: float
    depth: float
    spread: float = 0.08


PLACES = {
    "apex": Place(0.13, 0.50, 0.55, 0.045),
    "upper lobe": Place(0.30, 0.52, 0.42, 0.085),
    "middle lobe": Place(0.76, 0.32, 0.25, 0.070),
    "lingula": Place(0.76, 0.35, 0.25, 0.065),
    "lower lobe": Place(0.80, 0.50, 0.76, 0.080),
    "base": Place(0.91, 0.48, 0.66, 0.065),
    "hilum": Place(0.50, 0.08, 0.52, 0.045),
    "costophrenic angle": Place(0.97, 0.88, 0.92, 0.035),
    "retrocardiac": Place(0.84, -0.30, 0.72, 0.065),
    "paratracheal": Place(0.22, -0.02, 0.50, 0.035),
    "mediastinum": Place(0.40, -0.10, 0.40, 0.040),
}
ANYWHERE = Place(0.58, 0.52, 0.55, 0.10)


@dataclass
class Scene:
    """One view of one patient, drawn without findings.

    `lung` maps each side to its mask [n, n] in 0..1, heart included; `open_lung` leaves out what the heart and
    mediastinum cover. In the lateral view both sides share one mask. `spine` is its axis as x and y per row, and
    `marks` names points: arch, carina, cava, heart, hiatus, stomach, liver, sternum, and pocket, breast, arm by side.
    `airless` is how dense each pixel's tissue would be with no air in the lungs.
    """

    film: Film
    body: Body
    view: View
    lung: dict[str, Array]
    open_lung: dict[str, Array]
    spine: tuple[Array, Array]
    marks: dict[str, tuple[float, float]]
    airless: Array

    def at(self, side: str, place: Place) -> tuple[float, float]:
        """Where a place in a lung falls on the film, as x and y in image widths."""
        n = self.film.n
        body = self.body
        if self.view != FRONTAL:
            lung = self.lung[side]
            top, dome = self._rows(lung, slice(int(0.3 * n), int(0.55 * n)))
            first, last = self._columns(lung, 0.5 * (top + dome), 0.0)
            column = int((first + (last - first) * (0.06 + 0.86 * place.depth) + 0.5) * n)
            floor = self._rows(lung, slice(max(column - 1, 0), column + 2))[1]
            y = top + (floor - top) * place.height
            first, last = self._columns(lung, y, 0.0)
            return first + (last - first) * (0.06 + 0.88 * place.depth), y
        sign = SIGN[side]
        guess = body.center + sign * (0.10 + (body.lung_width - 0.10) * max(place.lateral, 0.0))
        floor = float(body.floor(guess))
        y = body.lung_top + 0.015 + (floor - body.lung_top - 0.02) * place.height
        first, last = self._columns(self.open_lung[side], y, sign)
        inner, outer = (first, last) if sign > 0 else (last, first)
        return inner + (outer - inner) * place.lateral, y

    def _columns(self, mask: Array, y: float, sign: float) -> tuple[float, float]:
        n = self.film.n
        hit = np.flatnonzero(mask[int(np.clip(y * n, 0, n - 1))] > 0.5)
        if hit.size < 2:
            return (0.08, self.body.lung_width) if sign > 0 else (-self.body.lung_width, -0.08)
        return float(hit[0] + 0.5) / n - 0.5, float(hit[-1] + 0.5) / n - 0.5

    def _rows(self, mask: Array, columns: slice) -> tuple[float, float]:
        n = self.film.n
        hit = np.flatnonzero(mask[:, columns].max(axis=1) > 0.5)
        return (float(hit[0]) / n, float(hit[-1]) / n) if hit.size > 1 else (0.1, 0.8)


Painter = Callable[[Scene, Finding, np.random.Generator], None]


def places(f: Finding, rng: np.random.Generator, fallback: str | None = None) -> Iterator[tuple[str, Place]]:
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


def region(scene: Scene, f: Finding) -> Array:
    """A soft mask [n, n] of the lungs a widespread pattern covers: the named sides and zones, else everything."""
    film = scene.film
    sides = f.sides or (RIGHT, LEFT)
    zones = [z for z in f.zones if z != "mediastinum"]
    mask: Array = np.zeros_like(film.tissue)
    if not zones:
        for side in sides:
            mask = np.maximum(mask, scene.lung[side])
    for side in sides:
        for zone in zones:
            place = PLACES[zone]
            x, y = scene.at(side, place)
            r2 = film.radius2((slice(None), slice(None)), x, y, 2.2 * place.spread, 1.5 * place.spread)
            mask = np.maximum(mask, np.exp(-0.5 * r2 * r2) * scene.lung[side])
    return mask
