"""The frontal view of a patient: soft tissue, lungs, heart, spine, ribs, vessels, and nothing that is a finding."""

from __future__ import annotations

import numpy as np

from chexalign.demo.phantom_body import SIGN, Body
from chexalign.demo.phantom_codes import LEFT, RIGHT
from chexalign.demo.phantom_film import Film, step
from chexalign.demo.phantom_scene import FRONTAL, Scene
from chexalign.demo.phantom_vessels import draw_vessels

Array = np.ndarray


def frontal_scene(body: Body, size_px: int) -> Scene:
    """The patient seen from the front; the patient's right is on the left of the image."""
    film = Film(size_px)
    rng = np.random.default_rng([body.seed & (2**64 - 1), 2])
    heart, center = _silhouette(film, body)
    lung, deep = _lungs(film, body)
    open_lung = {side: mask * (1.0 - center) for side, mask in lung.items()}
    air = lung[RIGHT] + lung[LEFT]
    _soft_tissue(film, body, rng)
    airless = film.tissue + 0.10
    film.tissue -= (0.40 * body.air) * deep * (1.0 - 0.80 * center)
    chest = step(body.floor(film.x) + 0.03 - film.y, 0.08)
    central = chest * (0.085 * center + 0.075 * heart * center)
    film.tissue += central
    airless += central
    _abdomen(film, body, air, rng)
    _spine(film, body)
    _airway(film, body, 1.0 - 0.75 * heart)
    _ribs(film, body, air, center)
    _girdle(film, body)
    hila = [(sign, _hilum(body, side), body.hilum[side], 10) for side, sign in SIGN.items()]
    draw_vessels(film, body, rng, air * (1.0 - 0.8 * center), hila)
    if body.marker:
        _marker(film)
    rows = film.y[:, 0]
    return Scene(film, body, FRONTAL, lung, open_lung, (body.spine_x(rows), rows), _marks(body), airless)


def _marks(body: Body) -> dict[str, tuple[float, float]]:
    """Points that findings outside the lungs are hung on."""
    cx, (hx, hy) = body.center + 0.6 * body.turn, body.center_of_heart()
    marks = {
        "arch": (cx + 0.040 * body.mediastinum, 0.27 - 0.025 * body.unfold),
        "carina": (cx + 0.7 * body.trachea_shift, 0.345),
        "cava": (cx - 0.040, 0.43),
        "heart": (hx, hy),
        "hiatus": (cx + 0.035, body.dome[LEFT] + 0.01),
        "stomach": (cx + 0.15, body.dome[LEFT] + 0.08),
        "liver": (cx - 0.13, body.dome[RIGHT] + 0.15),
        "sternum top": (cx + body.turn, 0.20),
        "sternum bottom": (cx + body.turn, 0.62),
    }
    for side, sign in SIGN.items():
        marks[f"pocket {side}"] = (cx + sign * 0.27, body.lung_top + 0.125)
        marks[f"breast {side}"] = (cx + sign * 0.25, 0.60)
        marks[f"arm {side}"] = (cx + sign * 0.46, body.lung_top + 0.085)
    return marks


def _silhouette(film: Film, body: Body) -> tuple[Array, Array]:
    """The heart's thickness and the soft mask of everything central: heart, great vessels, mediastinum."""
    x, y, soft = film.x, film.y, film.soft
    hx, hy = body.center_of_heart()
    everywhere = (slice(None), slice(None))
    a, b = 0.178 * body.heart, 0.128 * body.heart
    left = film.radius2(everywhere, hx, hy, a, b, body.heart_tilt)
    right = film.radius2(everywhere, hx - 0.078, hy + 0.005, 0.070 * body.heart, 0.128 * body.heart**0.8, -0.08)
    heart2 = np.minimum(left, right)
    heart = np.sqrt(np.sqrt(np.maximum(1.0 - heart2, 0.0)))
    mask = step(1.0 - heart2, 2.2 * soft / b)

    rows = y[:, 0]
    middle = 0.5 * (body.center + body.spine_x(rows)) + body.turn * 0.6 + body.heart_shift * 0.5
    m = body.mediastinum
    upper = 0.5 + 0.5 * np.tanh((hy - 0.04 - rows) * 30)
    cava = middle - (0.046 * m + 0.012 * np.exp(-(((rows - 0.30) / 0.10) ** 2))) * upper
    cava -= 0.05 * np.exp(-(((rows - body.lung_top + 0.02) / 0.05) ** 2))
    knob_y = 0.27 - 0.025 * body.unfold
    arch = np.sqrt(np.maximum(1.0 - ((rows - knob_y) / (1.35 * body.knob)) ** 2, 0.0)) * body.knob
    trunk = np.exp(-(((rows - 0.40) / 0.045) ** 2))
    aorta = np.exp(-(((rows - 0.42) / 0.10) ** 2)) * body.unfold
    waist = np.exp(-(((rows - hy + 0.06) / 0.085) ** 2)) * body.heart
    edge = middle + (0.040 * m + 0.020 * trunk + 0.036 * aorta) * upper + 0.95 * arch + 0.058 * waist
    edge += 0.05 * np.exp(-(((rows - body.lung_top + 0.02) / 0.05) ** 2))
    cava -= 0.030 * waist + 0.016 * body.unfold * np.exp(-(((rows - 0.42) / 0.12) ** 2))
    column = step(x - cava[:, None], 1.6 * soft) * step(edge[:, None] - x, 1.6 * soft)
    return heart, np.maximum(mask, column)


def _lungs(film: Film, body: Body) -> tuple[dict[str, Array], Array]:
    """Each lung's mask, spine to ribs and apex to diaphragm, and how deep the air in it is."""
    x, y, soft = film.x - body.center, film.y, film.soft
    rows = y[:, 0]
    outer = body.outer(rows)[:, None]
    inner = 0.020 + 0.075 * np.exp(-np.maximum(rows - body.lung_top, 0.0) / 0.028)[:, None]
    roof = step(y - body.lung_top, 6 * soft)
    lung, deep = {}, np.zeros_like(film.tissue)
    for side, sign in SIGN.items():
        out = sign * x
        floor = body.floor(film.x)
        mask = step(outer - out, 1.8 * soft) * step(out - inner, 2 * soft) * step(floor - y, 1.6 * soft) * roof
        lung[side] = mask
        deep += mask
    reach = np.minimum((x / np.maximum(outer, 0.02)) ** 2, 1.0)
    thick = 0.62 + 0.38 * np.sqrt(1.0 - reach * reach)
    thick *= (0.80 + 0.20 * np.minimum((rows - body.lung_top) * 5.0, 1.0))[:, None]
    return lung, deep * thick


def _soft_tissue(film: Film, body: Body, rng: np.random.Generator) -> None:
    """Neck, shoulders, chest wall and breasts."""
    x, y = film.x - body.center, film.y
    rows = y[:, 0]
    wall = 0.045 + 0.075 * body.habitus
    flank = body.lung_width + wall + 0.03 * np.maximum(rows - 0.75, 0.0)
    neck = 0.105 + 0.05 * body.habitus + 0.20 * np.maximum(rows, 0.0)
    slope = neck + 0.55 * step(rows - 0.085, 0.13)
    arm = step(0.47 + 0.07 * body.habitus - rows, 0.30) ** 1.5
    half = np.minimum(slope, flank + 0.30 * arm)[:, None]
    out = np.abs(x)
    inside = step(half - out, 3 * film.soft)
    depth = np.sqrt(np.sqrt(np.maximum(1.0 - (out / half) ** 4, 0.0)))
    film.tissue += 0.025 + inside * (0.14 + (0.42 + 0.05 * body.habitus) * depth)
    film.tissue += 0.05 * film.texture("coarse", rng) * inside * 0.35
    if body.breasts:
        size = 0.115 * (0.8 + 0.35 * body.habitus)
        for sign in SIGN.values():
            bx, by = body.center + sign * (0.235 + 0.03 * body.habitus), 0.60 + 0.03 * body.breasts
            window = film.patch(bx, by, 1.5 * size)
            r2 = film.radius2(window, bx, by, 1.05 * size, size)
            low = np.clip((film.y[window[0]] - by + 0.9 * size) / (1.4 * size), 0.0, 1.0)
            film.tissue[window] += 0.075 * body.breasts * step(1.0 - r2, 0.45) * low


def _abdomen(film: Film, body: Body, air: Array, rng: np.random.Generator) -> None:
    """Liver and spleen under the domes, with stomach or bowel gas on the left."""
    x, y = film.x, film.y
    middle = body.center
    floor = body.floor(x)
    below = step(y - floor, 1.6 * film.soft) * step(body.lung_width + 0.02 - np.abs(x - middle), 0.05)
    film.tissue += below * (0.09 + 0.45 * np.clip(y - floor, 0.0, 0.22)) * (1.0 - air)
    size = body.gas
    if size > 0.15:
        gx, gy = middle + 0.13 + 0.06 * float(rng.random()), body.dome[LEFT] + 0.045 + 0.02 * size
        film.glow(film.tissue, gx, gy, 0.030 + 0.025 * size, 0.014 + 0.010 * size, -0.17, 0.15)
        film.glow(film.tissue, gx + 0.05, gy + 0.04, 0.02, 0.012, -0.08 * size)


def _spine(film: Film, body: Body) -> None:
    """Vertebral bodies with end plates, disk spaces, pedicles and spinous processes."""
    rows = film.y[:, 0]
    window = film.patch(body.center, 0.5, 0.6)[0], film.patch(body.center, 0.0, 0.11)[1]
    half = 0.030 + 0.010 * rows
    u = (film.x[:, window[1]] - body.spine_x(rows)[:, None]) / half[:, None]
    phase = (rows / 0.053 - 0.55 * rows**2) % 1.0
    plate = np.exp(-(((phase - 0.10) / 0.07) ** 2)) + np.exp(-(((phase - 0.80) / 0.07) ** 2))
    disk = np.exp(-(((phase - 0.95) / 0.08) ** 2)) + np.exp(-(((phase + 0.05) / 0.08) ** 2))
    body_row = (0.75 + (0.25 + 0.5 * body.degenerate) * plate - 0.45 * disk)[:, None]
    shape = step(1.0 - np.abs(u), 2.2 * film.soft / 0.036)
    pedicle = np.exp(-(((np.abs(u) - 0.62) / 0.20) ** 2)) * np.exp(-(((phase - 0.38) / 0.17) ** 2))[:, None]
    process = np.exp(-((u / 0.16) ** 2)) * np.exp(-(((phase - 0.62) / 0.22) ** 2))[:, None]
    dim = (1.0 - 0.35 * step(rows - 0.42, 0.2))[:, None]
    beak = np.exp(-(((np.abs(u) - 1.12) / 0.24) ** 2)) * (plate + disk)[:, None] * body.degenerate
    film.bones[:, window[1]] += body.bone * dim * shape * (0.145 * body_row + 0.06 * pedicle + 0.06 * process)
    film.bones[:, window[1]] += 0.24 * beak


def _airway(film: Film, body: Body, clear: Array) -> None:
    """Trachea and main bronchi, darker than the mediastinum around them."""
    cx, carina = body.center + body.turn + 0.5 * body.heart_shift, 0.345
    shift = body.trachea_shift + 0.008 * body.unfold * -1.0
    trunk = [(cx + 0.3 * shift, -0.01), (cx + shift - 0.004, 0.22), (cx + 0.7 * shift - 0.006, carina)]
    right = [trunk[2], (cx - 0.045, 0.40), (cx - 0.08, 0.44)]
    left = [trunk[2], (cx + 0.055, 0.41), (cx + 0.095, 0.43)]
    layer = film.strokes([(trunk, 0.040, 1.0), (right, 0.024, 0.75), (left, 0.020, 0.65)])
    film.tissue -= 0.16 * layer * clear


def rib_curve(
    body: Body, index: int, side: str, start: float, stop: float, points: int = 14
) -> list[tuple[float, float]]:
    """Points (x, y) along rib `index` (1 to 11) from angle `start` (0 at the spine) to `stop` (180 at the sternum)."""
    angle = np.radians(np.linspace(start, stop, points))
    top = body.lung_top - 0.045 + body.rib_spacing * index
    drop = body.rib_drop * (0.055 + 0.028 * index if index < 6 else 0.21)
    width = float(body.outer(top + 0.5 * drop)) + 0.004 + (0.03 if index == 1 else 0.0)
    lean = 0.014 * np.sin(2 * angle) - (0.022 if index > 1 else 0.0) * np.sin(angle)
    y = top + 0.5 * drop * (1.0 - np.cos(angle)) - lean
    bend = (float(body.spine_x(top)) - body.center) * (0.15 + 0.85 * np.cos(0.5 * angle) ** 4)
    x = body.center + bend + SIGN[side] * (0.02 + (width - 0.02) * np.sin(angle))
    x += body.turn * 1.5 * (1.0 - np.cos(angle)) * 0.5
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _ribs(film: Film, body: Body, air: Array, center: Array) -> None:
    """Posterior and anterior arcs of eleven pairs, each a bright rim around a paler band."""
    back, front = [], []
    for side in SIGN:
        for i in range(1, 12):
            rear = rib_curve(body, i, side, 4, 100)
            back += [(rear, 0.021, 1.0), (rear, 0.011, 0.62)]
            if i <= 9:
                fore = rib_curve(body, i, side, 84, 150 - 3 * max(i - 5, 0), 10)
                front += [(fore, 0.023, 1.0), (fore, 0.014, 0.70)]
    veil = 0.40 + 0.60 * air * (1.0 - 0.55 * center)
    rim = np.minimum(((film.x - body.center) / np.maximum(body.outer(film.y), 0.05)) ** 2, 1.1)
    layer = 0.090 * film.strokes(back) * (0.85 + 0.45 * rim * rim) + 0.062 * film.strokes(front)
    film.bones += body.bone * layer * veil


def clavicle_curve(body: Body, side: str) -> list[tuple[float, float]]:
    """Points from the sternal end of the clavicle to the shoulder."""
    sign, cx, top = SIGN[side], body.center + 1.6 * body.turn, body.lung_top
    shape = ((0.035, 0.085), (0.075, 0.075), (0.13, 0.072), (0.19, 0.062), (0.26, 0.038), (0.33, 0.012), (0.40, 0.000))
    return [(cx + sign * dx, top + dy) for dx, dy in shape]


def _girdle(film: Film, body: Body) -> None:
    """Clavicles, shoulder blades and the heads of the arms."""
    bones, shapes = [], []
    for side, sign in SIGN.items():
        line = clavicle_curve(body, side)
        bones += [(line, 0.026, 1.0), (line, 0.014, 0.72), (line[:2], 0.034, 0.9)]
        cx = body.center
        blade = [(0.33, 0.12), (0.315, 0.20), (0.335, 0.30), (0.375, 0.395), (0.40, 0.33), (0.43, 0.22), (0.46, 0.15)]
        points = [(cx + sign * dx, dy + body.lung_top - 0.05) for dx, dy in blade]
        shapes.append((points, 0.22))
        bones.append((points[:4], 0.008, 0.45))
        film.disk(film.bones, cx + sign * 0.50, body.lung_top + 0.075, 0.06, 0.065, 0.12 * body.bone)
    film.bones += 0.125 * body.bone * film.strokes(bones, shapes=shapes)


def _hilum(body: Body, side: str) -> tuple[float, float]:
    """The middle of a hilum; the left one is higher."""
    x = body.center + SIGN[side] * 0.082 + 0.5 * (body.turn + body.heart_shift)
    return x, 0.425 if side == LEFT else 0.445


def _marker(film: Film) -> None:
    """The letter that technicians put at the patient's left."""
    corner = ((0.415, 0.055), (0.415, 0.083), (0.435, 0.083))
    film.metal += 0.8 * film.strokes([(corner, 0.007, 1.0)])
