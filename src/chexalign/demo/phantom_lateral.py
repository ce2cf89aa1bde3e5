"""The lateral view of a patient who faces left: the same measurements as in front, seen from the side."""

from __future__ import annotations

import numpy as np

from chexalign.demo.phantom_body import SIGN, Body
from chexalign.demo.phantom_codes import LEFT, RIGHT
from chexalign.demo.phantom_film import Film, curve, step
from chexalign.demo.phantom_scene import Scene
from chexalign.demo.phantom_vessels import draw_vessels

Array = np.ndarray


def lateral_scene(body: Body, size_px: int) -> Scene:
    """The patient seen from the left side, sternum on the left of the image and spine on the right."""
    film = Film(size_px)
    rng = np.random.default_rng([body.seed & (2**64 - 1), 4])
    lung = _lungs(film, body)
    heart, center = _heart(film, body)
    deep = 0.5 * (lung[RIGHT] + lung[LEFT])
    _soft_tissue(film, body, rng)
    airless = film.tissue + 0.08
    film.tissue -= (0.37 * body.air) * deep * (1.0 - 0.55 * center)
    film.tissue += 0.07 * heart + 0.03 * center
    airless += 0.07 * heart + 0.03 * center
    _great_vessels(film, body, 1.0 - center)
    _abdomen(film, body, lung, rng)
    _spine(film, body)
    _cage(film, body, deep)
    hx, hy = _hilum(body)
    size = 0.5 * (body.hilum[RIGHT] + body.hilum[LEFT])
    draw_vessels(
        film,
        body,
        rng,
        0.66 * deep * (1.0 - 0.5 * center),
        [(1.0, (hx, hy), size, 5), (-1.0, (hx, hy), 0.75 * size, 4)],
    )
    rows = film.y[:, 0]
    both = np.maximum(lung[RIGHT], lung[LEFT])
    open_lung = dict.fromkeys(SIGN, both * (1.0 - center))
    return Scene(film, body, "lateral", lung, open_lung, (spine_axis(body, rows), rows), _marks(body), airless)


def spine_axis(body: Body, y: Array | float) -> Array:
    """Where the middle of the vertebral bodies runs, bowed backward by kyphosis."""
    bow = 0.06 + 0.15 * body.kyphosis
    return 0.105 + 0.03 * (body.depth - 1.0) + bow * np.sin(np.pi * (y + 0.08) / 1.16) + 0.012 * body.turn


def front(body: Body, y: Array | float) -> Array:
    """The inner side of the sternum and anterior ribs."""
    t = np.clip((y - body.lung_top) / 0.55, 0.0, 1.0)
    return spine_axis(body, 0.45) - 0.075 - body.depth * (0.21 + 0.27 * np.sqrt(t * (1.6 - 0.6 * t)))


def back(body: Body, y: Array | float) -> Array:
    """The posterior wall of the lungs, behind the vertebral bodies."""
    return spine_axis(body, y) + 0.075 * body.depth


def lateral_floor(body: Body, x: Array, side: str) -> Array:
    """Height of one dome: highest in front of the middle, deep at the posterior sulcus."""
    u = (x + 0.07) / 0.34
    return body.dome[side] + 0.01 + body.curve * (0.45 * np.minimum(u, 0.0) ** 2 + 1.55 * np.maximum(u, 0.0) ** 2)


def _lungs(film: Film, body: Body) -> dict[str, Array]:
    x, y, soft = film.x, film.y, film.soft
    rows = y[:, 0]
    near_top = np.exp(-np.maximum(rows - body.lung_top, 0.0) / 0.05)
    first = front(body, rows) + 0.08 * near_top
    last = back(body, rows) - 0.09 * near_top
    outline = step(x - first[:, None], 2 * soft) * step(last[:, None] - x, 2 * soft)
    outline = outline * step(y - body.lung_top - 0.01, 5 * soft)
    return {side: outline * step(lateral_floor(body, x, side) - y, 1.6 * soft) for side in SIGN}


def _heart_center(body: Body) -> tuple[float, float]:
    return float(front(body, 0.6)) + 0.155 * body.heart**0.6 - 0.012, 0.5 * (body.dome[RIGHT] + body.dome[LEFT]) - 0.100


def _heart(film: Film, body: Body) -> tuple[Array, Array]:
    hx, hy = _heart_center(body)
    everywhere = (slice(None), slice(None))
    a, b = 0.158 * body.heart, 0.118 * body.heart
    r2 = film.radius2(everywhere, hx, hy, a, b, -0.75)
    atrium = film.radius2(everywhere, hx + 0.075 * body.heart, hy - 0.045, 0.085 * body.heart, 0.10 * body.heart)
    r2 = np.minimum(r2, atrium)
    return np.sqrt(np.sqrt(np.maximum(1.0 - r2, 0.0))), step(1.0 - r2, 3.5 * film.soft / b)


def _soft_tissue(film: Film, body: Body, rng: np.random.Generator) -> None:
    x, y = film.x, film.y
    rows = y[:, 0]
    skin = 0.045 + 0.050 * body.habitus
    bust = 0.060 * body.breasts * np.exp(-(((rows - 0.61) / 0.13) ** 2))
    chest = front(body, rows) - skin - bust
    throat = -0.10 - 0.05 * body.habitus - 1.1 * np.maximum(rows - 0.06, 0.0) - 6.0 * np.maximum(rows - 0.12, 0.0) ** 2
    over_sternum = front(body, rows) - 0.028 + 1.5 * np.maximum(0.14 - rows, 0.0)
    first = np.minimum(np.maximum(chest, throat), over_sternum)[:, None]
    nape = 0.20 + 0.05 * body.habitus + 1.1 * np.maximum(rows - 0.02, 0.0)
    last = np.minimum(back(body, rows) + 0.055 + 0.06 * body.habitus, nape)[:, None]
    inside = step(x - first, 3 * film.soft) * step(last - x, 3 * film.soft)
    u = (2 * x - first - last) / np.maximum(last - first, 0.1)
    film.tissue += 0.025 + inside * (0.20 + (0.39 + 0.06 * body.habitus) * np.sqrt(np.maximum(1.0 - u**8, 0.0)))
    arms = step(0.20 + 0.10 * body.habitus - rows, 0.22)[:, None]
    film.tissue += 0.20 * arms * inside * np.exp(-(((x - 0.06) / 0.17) ** 2))
    film.tissue += 0.018 * film.texture("coarse", rng) * inside


def _great_vessels(film: Film, body: Body, clear: Array) -> None:
    """Aortic arch and descending aorta, plainer when unfolded; trachea and left bronchus dark before them."""
    ax, ay = _marks(body)["arch"]
    open_ = body.unfold
    r = 0.055 + 0.02 * open_ + 0.5 * (body.knob - 0.03)
    path = [(ax - r - 0.02, ay + 0.30), (ax - r - 0.005, ay + 0.06), (ax - 0.7 * r, ay - 0.10), (ax, ay - 0.16)]
    path += [(ax + r, ay - 0.10), (ax + 1.35 * r + 0.02 * open_, ay + 0.12), (ax + 1.5 * r + 0.03 * open_, ay + 0.56)]
    path = curve(*path, n=24)
    wide = 0.052 + 0.020 * open_
    film.tissue += (0.045 + 0.055 * open_) * clear * film.strokes([(path, wide, 0.8), (path, 0.72 * wide, 1.0)])
    carina = _marks(body)["carina"]
    trunk = [(carina[0] - 0.055, -0.01), (carina[0] - 0.025, 0.20), carina]
    film.tissue -= 0.13 * film.strokes(
        [(trunk, 0.034, 1.0), ([carina, (carina[0] + 0.004, carina[1] + 0.03)], 0.024, 0.9)]
    )
    if body.mediastinum > 1.2:
        film.glow(film.tissue, ax - 0.09, ay + 0.06, 0.06, 0.10, 0.16 * (body.mediastinum - 1.0))


def _abdomen(film: Film, body: Body, lung: dict[str, Array], rng: np.random.Generator) -> None:
    x, y = film.x, film.y
    high = np.minimum(lateral_floor(body, x, RIGHT), lateral_floor(body, x, LEFT))
    inside = step(x - front(body, 0.8), 0.04) * step(back(body, 0.85) - x, 0.05)
    film.tissue += step(y - high, 2 * film.soft) * inside * (0.10 + 0.35 * np.clip(y - high, 0.0, 0.2))
    if body.gas > 0.15:
        sx, sy = _marks(body)["stomach"]
        film.glow(film.tissue, sx, sy, 0.035 + 0.02 * body.gas, 0.016 + 0.008 * body.gas, -0.17, 0.2)


def _spine(film: Film, body: Body) -> None:
    """Vertebral bodies as a chain of rimmed blocks, with beaks on the disks when degenerate."""
    rows = film.y[:, 0]
    axis = spine_axis(body, rows)
    half = 0.030 + 0.010 * rows
    u = (film.x - axis[:, None]) / half[:, None]
    # Blocks lean with the spine: each row's phase shifts by how far it is from the axis.
    lean = np.gradient(axis, rows)[:, None] * u * half[:, None]
    phase = ((film.y + lean) / 0.053 - 0.55 * film.y**2) % 1.0
    plate = np.exp(-(((phase - 0.10) / 0.08) ** 2)) + np.exp(-(((phase - 0.78) / 0.08) ** 2))
    disk = np.exp(-(((phase - 0.94) / 0.09) ** 2)) + np.exp(-(((phase + 0.06) / 0.09) ** 2))
    solid = 0.60 + (0.30 + 0.5 * body.degenerate) * plate - 0.50 * disk
    rim = 0.30 * np.exp(-(((np.abs(u) - 0.88) / 0.15) ** 2))
    shape = step(1.0 - np.abs(u), 2.2 * film.soft / 0.036)
    beak = np.exp(-(((u + 1.15) / 0.28) ** 2)) * (plate + disk) * body.degenerate
    arch = 0.35 * np.exp(-(((u - 1.7) / 0.35) ** 2)) * np.exp(-(((phase - 0.5) / 0.25) ** 2))
    film.bones += body.bone * 0.165 * (shape * (solid + rim) + arch) + 0.22 * beak


def lateral_rib(
    body: Body, index: int, start: float, stop: float, points: int = 12, far: bool = False
) -> list[tuple[float, float]]:
    """Points along rib `index` from angle `start` (0 at the spine) to `stop` (180 at the sternum)."""
    angle = np.radians(np.linspace(start, stop, points))
    top = body.lung_top - 0.045 + body.rib_spacing * index + (0.016 if far else 0.0)
    drop = body.rib_drop * (0.055 + 0.028 * index if index < 6 else 0.21)
    y = top + 0.5 * drop * (1.0 - np.cos(angle)) + 0.030 * np.sin(angle)
    rear, fore = back(body, y) + (0.012 if far else 0.0), front(body, y)
    x = 0.5 * (rear + fore) + 0.5 * (rear - fore) * np.cos(angle)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _cage(film: Film, body: Body, deep: Array) -> None:
    lines = []
    for i in range(2, 12):
        for far in (True, False):
            rib = lateral_rib(body, i, 0, 150 - 5 * max(i - 6, 0), far=far)
            lines += [(rib, 0.017, 0.8 if far else 1.0), (rib, 0.009, 0.5 if far else 0.65)]
    film.bones += 0.060 * body.bone * film.strokes(lines) * (0.4 + 0.6 * deep)
    ys = np.linspace(body.lung_top + 0.06, 0.62, 9)
    xs = front(body, ys) - 0.010
    sternum = list(zip(xs.tolist(), ys.tolist(), strict=True))
    film.bones += 0.14 * body.bone * film.strokes([(sternum, 0.024, 1.0), (sternum, 0.012, 0.65)])
    blade = [(0.20, 0.10), (0.27, 0.22), (0.30, 0.36)]
    film.bones += 0.08 * body.bone * film.strokes([(blade, 0.020, 1.0), (blade, 0.012, 0.6)])
    film.disk(film.bones, 0.05, body.lung_top - 0.02, 0.055, 0.055, 0.10 * body.bone)


def _hilum(body: Body) -> tuple[float, float]:
    return 0.5 * (float(front(body, 0.43)) + float(back(body, 0.43))) + 0.02, 0.435


def _marks(body: Body) -> dict[str, tuple[float, float]]:
    hx = _hilum(body)[0]
    high, low = body.lung_top + 0.08, 0.62
    marks = {
        "arch": (hx - 0.005, 0.285 - 0.02 * body.unfold),
        "carina": (hx - 0.005 + 0.5 * body.trachea_shift, 0.355),
        "cava": (hx - 0.045, 0.43),
        "heart": _heart_center(body),
        "hiatus": (hx + 0.085, body.dome[LEFT] + 0.03),
        "stomach": (hx - 0.03, body.dome[LEFT] + 0.06),
        "liver": (hx - 0.12, body.dome[RIGHT] + 0.14),
        "sternum top": (float(front(body, high)) - 0.010, high),
        "sternum bottom": (float(front(body, low)) - 0.010, low),
    }
    for side in SIGN:
        marks[f"pocket {side}"] = (float(front(body, 0.24)) + 0.005, 0.24)
        marks[f"breast {side}"] = (float(front(body, 0.60)) - 0.045, 0.60)
        marks[f"arm {side}"] = (0.05, body.lung_top - 0.01)
    return marks
