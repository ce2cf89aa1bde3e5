"""The film: a square of densities in units of the image width, and the few brushes everything is drawn with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from chexalign.demo.phantom_body import Body

Array = np.ndarray
Stroke = tuple[Sequence[tuple[float, float]], float, float]


@lru_cache(maxsize=8)
def grid(size_px: int) -> tuple[Array, Array]:
    """Pixel centers as x [1, n] from -0.5 to 0.5 and y [n, 1] from 0 to 1."""
    line = ((np.arange(size_px) + 0.5) / size_px).astype(np.float32)
    return (line - 0.5)[None, :], line[:, None]


@lru_cache(maxsize=4)
def textures(size_px: int) -> dict[str, Array]:
    """Periodic noise fields [2n, 2n] of unit variance, made once per size, and a net of thin ridges in 0..1."""
    rng = np.random.default_rng(20240229)
    scale = size_px / 128

    def smooth(sigma: float) -> Array:
        field = gaussian_filter(rng.standard_normal((2 * size_px, 2 * size_px)), sigma * scale, mode="wrap")
        unit: Array = ((field - field.mean()) / field.std()).astype(np.float32)
        return unit

    grain = smooth(0.45)
    fine, mid, coarse = smooth(1.1), smooth(2.6), smooth(8.0)
    # Zero crossings of band-limited noise form a mesh, which is what thickened septa look like.
    net = np.exp(-((smooth(1.3) / 0.33) ** 2)) * np.clip(0.85 + 0.25 * smooth(6.0), 0.35, 1.3)
    return {"grain": grain, "fine": fine, "mid": mid, "coarse": coarse, "net": net.astype(np.float32)}


def step(value: Array, width: float) -> Array:
    """0 below, 1 above zero, linear over `width`."""
    out: Array = np.clip(value * (1.0 / width) + 0.5, 0.0, 1.0)
    return out


class Film:
    """Layers that add up to a radiograph, each float32 [n, n]; 0 is air, about 0.75 soft tissue, 1 metal.

    `tissue` holds body, heart and fluid; `vessels` and `bones` lie over it, so that a filled lung still shows its
    ribs; `metal` replaces what is under it.
    """

    def __init__(self, size_px: int):
        self.n = size_px
        self.x, self.y = grid(size_px)
        self.px = 1.0 / size_px
        self.soft = 1.5 / size_px
        self.tissue, self.vessels, self.bones, self.metal = (np.zeros((size_px, size_px), np.float32) for _ in range(4))

    def texture(self, kind: str, rng: np.random.Generator) -> Array:
        """A random window [n, n] of one of the noise fields."""
        i, j = (int(k) for k in rng.integers(0, self.n, 2))
        window = textures(self.n)[kind][i : i + self.n, j : j + self.n]
        return window[:, ::-1] if rng.random() < 0.5 else window

    def patch(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """The rows and columns within `reach` of a point, empty when it lies off the film."""
        left, right = (int(np.clip((x + 0.5 + s * reach) * self.n + (s > 0), 0, self.n)) for s in (-1, 1))
        top, bottom = (int(np.clip((y + s * reach) * self.n + (s > 0), 0, self.n)) for s in (-1, 1))
        return slice(top, bottom), slice(left, right)

    def radius2(
        self, window: tuple[slice, slice], x: float, y: float, rx: float, ry: float, angle: float = 0.0
    ) -> Array:
        """Squared elliptical radius over a window: 1 on the ellipse; `angle` in radians turns x toward y."""
        dx, dy = self.x[:, window[1]] - x, self.y[window[0]] - y
        c, s = float(np.cos(angle)), float(np.sin(angle))
        return ((dx * c + dy * s) / rx) ** 2 + ((dy * c - dx * s) / ry) ** 2

    def disk(self, layer: Array, x: float, y: float, rx: float, ry: float, amount: float, angle: float = 0.0) -> None:
        """Add an ellipse with the shading of a solid body: dense in the middle, thin at a visible edge."""
        window = self.patch(x, y, max(rx, ry) + 2 * self.px)
        r2 = self.radius2(window, x, y, rx, ry, angle)
        edge = step(1.0 - r2, 4.0 * self.soft / max(min(rx, ry), self.px))
        layer[window] += amount * edge * (0.55 + 0.45 * np.sqrt(np.maximum(1.0 - r2, 0.0)))

    def glow(self, layer: Array, x: float, y: float, rx: float, ry: float, amount: float, angle: float = 0.0) -> None:
        """Add a Gaussian blob with standard deviations `rx`, `ry`."""
        window = self.patch(x, y, 2.6 * max(rx, ry) + self.px)
        layer[window] += amount * np.exp(-0.5 * self.radius2(window, x, y, rx, ry, angle))

    def fill(self, mask: Array, level: float | Array, where: tuple[slice, slice] | None = None) -> None:
        """Bring tissue up to `level` in proportion to `mask`: fluid or cells take the place of air."""
        tissue = self.tissue if where is None else self.tissue[where]
        tissue += mask * np.maximum(level - tissue, 0.0)

    def strokes(
        self, lines: Iterable[Stroke], *, shapes: Iterable[tuple[Sequence[tuple[float, float]], float]] = ()
    ) -> Array:
        """Antialiased lines (points, width, value in 0..1) and filled polygons as a layer; later ones cover earlier.

        Drawn at four times the size and averaged down, so that a line of half a pixel is half as bright.
        """
        zoom = 4 if self.n <= 160 else 2
        image = Image.new("L", (self.n * zoom, self.n * zoom))
        draw = ImageDraw.Draw(image)
        scale = self.n * zoom
        for points, value in shapes:
            draw.polygon([((x + 0.5) * scale, y * scale) for x, y in points], fill=round(255 * value))
        for points, width, value in lines:
            flat = [((x + 0.5) * scale, y * scale) for x, y in points]
            draw.line(flat, fill=round(255 * value), width=max(1, round(width * scale)))
        small = image.reduce(zoom)
        return np.asarray(small, dtype=np.float32) * (1 / 255)

    def placed(self, image: Array, roll: float, zoom: float, slide: tuple[float, float]) -> Array:
        """The image turned by `roll` radians about its center, enlarged and moved, as patients stand."""
        c, s = np.cos(roll) / zoom, np.sin(roll) / zoom
        half = 0.5 * self.n
        dx, dy = half + slide[0] * self.n, half + slide[1] * self.n
        matrix = (c, s, half - c * dx - s * dy, -s, c, half + s * dx - c * dy)
        turned = Image.fromarray(image).transform(
            (self.n, self.n), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        return np.asarray(turned)

    def develop(self, body: Body, rng: np.random.Generator) -> Array:
        """The film as uint8 [n, n], bright where dense, with the patient's pose, exposure and grain."""
        d = self.tissue + self.vessels + self.bones
        d = np.maximum(d, 0.0) * body.gain
        d = np.where(d > 0.7, 0.7 + 0.30 * np.tanh((d - 0.7) * (1 / 0.36)), d)
        d += np.minimum(self.metal, 1.0) * np.maximum(0.99 - d, 0.0)
        d = np.maximum(self.placed(d, body.roll, body.zoom, body.slide), 0.0) ** body.gamma
        d = d + body.noise * (0.5 + d) * self.texture("grain", rng)
        out: Array = (np.clip(d, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
        return out


def arc(x: float, y: float, r: float, start: float, stop: float, n: int = 10) -> list[tuple[float, float]]:
    """Points on a circle from one angle to another, in degrees."""
    angles = np.radians(np.linspace(start, stop, n))
    return [(x + r * float(np.cos(a)), y + r * float(np.sin(a))) for a in angles]


def curve(*points: tuple[float, float], n: int = 14) -> list[tuple[float, float]]:
    """A smooth line (Bezier) that starts at the first point, ends at the last and is pulled by the rest."""
    t = np.linspace(0.0, 1.0, n)[:, None]
    control = [np.tile(np.array(p), (n, 1)) for p in points]
    while len(control) > 1:
        control = [a + (b - a) * t for a, b in pairwise(control)]
    return [(float(x), float(y)) for x, y in control[0]]
