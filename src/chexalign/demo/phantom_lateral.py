"""The lateral view."""

from __future__ import annotations

import numpy as np

from chexalign.demo.phantom_body import Body


def lateral_rib(body: Body, index: int, start: float, stop: float, points: int = 12) -> list:
    angle = np.radians(np.linspace(start, stop, points))
    top = body.lung_top - 0.045 + body.rib_spacing * index
    drop = body.rib_drop * (0.055 + 0.028 * index if index < 6 else 0.21)
    y = top + 0.5 * drop * (1.0 - np.cos(angle))
    x = 0.30 * np.cos(angle)
    return list(zip(x.tolist(), y.tolist(), strict=True))
