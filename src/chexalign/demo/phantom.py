"""Synthetic chest radiographs drawn from MeSH codes: a stand-in with a right answer, not a likeness of a patient.

The phantom exists so that the whole job runs, learns and can be tested where no image may be shipped. A model that
reads phantoms has learned to read phantoms; nothing here says how it would read a radiograph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chexalign.demo.phantom_body import draw_body, reshape
from chexalign.demo.phantom_bones import BONE_PAINTERS
from chexalign.demo.phantom_codes import parse_codes
from chexalign.demo.phantom_devices import DEVICE_PAINTERS
from chexalign.demo.phantom_frontal import frontal_scene
from chexalign.demo.phantom_lateral import lateral_scene
from chexalign.demo.phantom_lungs import LUNG_PAINTERS
from chexalign.demo.phantom_pleura import PLEURA_PAINTERS
from chexalign.demo.phantom_scene import View
from chexalign.demo.phantom_spots import SPOT_PAINTERS
from chexalign.errors import UserError

_MIN_SIZE_PX = 32
_PAINTERS = (LUNG_PAINTERS, PLEURA_PAINTERS, SPOT_PAINTERS, BONE_PAINTERS, DEVICE_PAINTERS)


def render(codes: Sequence[str], *, view: View, seed: int, size_px: int = 128) -> np.ndarray:
    """A radiograph, uint8 [size_px, size_px], bright where dense, of a patient with the findings the codes name.

    Depends on the codes (their order and repeats aside), view, seed and size alone. The seed fixes the patient:
    both views and every list of codes with one seed share build, exposure and grain. In the frontal view the
    patient's right is on the left of the image; in the lateral view the patient faces left. Codes are OpenI
    `MeSH/major` strings (`Opacity/lung/base/left/mild`); unknown headings draw nothing. `bench/phantom.py` times it.

    Raises: UserError for an unknown view or a size under 32 px.
    """
    if view not in ("frontal", "lateral"):
        raise UserError(f"view={view!r}", "A phantom has two views.", "Pass view='frontal' or view='lateral'.")
    if size_px < _MIN_SIZE_PX:
        raise UserError(
            f"size_px={size_px}",
            f"Ribs and vessels cannot be drawn under {_MIN_SIZE_PX} px.",
            "Render at 128 px and scale the image down.",
        )
    findings = parse_codes(codes)
    body = draw_body(seed)
    for finding in findings:
        reshape(body, finding)
    scene = frontal_scene(body, size_px) if view == "frontal" else lateral_scene(body, size_px)
    for finding in findings:
        for painters in _PAINTERS:
            if finding.heading in painters:
                painters[finding.heading](scene, finding, finding.rng(seed))
    grain = np.random.default_rng([seed & (2**64 - 1), 3, view == "frontal"])
    return scene.film.develop(body, grain)
