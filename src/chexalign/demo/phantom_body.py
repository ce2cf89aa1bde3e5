"""The patient behind a phantom: measurements drawn from a seed, then reshaped by findings that change anatomy.

Lengths are in units of the image width; x runs from the patient's right to left, y from head to feet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chexalign.demo.phantom_codes import LEFT, RIGHT, Finding

Array = np.ndarray
SIGN = {RIGHT: -1.0, LEFT: 1.0}


@dataclass
class Body:
    """One patient's measurements; both views of a study are drawn from the same one."""

    seed: int
    center: float = 0.0
    turn: float = 0.0
    depth: float = 1.0
    habitus: float = 0.5
    breasts: float = 0.0
    lung_width: float = 0.36
    lung_top: float = 0.09
    dome: dict[str, float] = field(default_factory=dict)
    curve: float = 0.085
    heart: float = 1.0
    heart_tilt: float = 0.62
    mediastinum: float = 1.0
    trachea_shift: float = 0.0
    heart_shift: float = 0.0
    knob: float = 0.030
    unfold: float = 0.0
    hilum: dict[str, float] = field(default_factory=dict)
    upper_vessels: float = 0.8
    lower_vessels: float = 1.0
    vessel_blur: float = 0.0
    mesh: float = 0.0
    scoliosis: float = 0.0
    kyphosis: float = 0.5
    degenerate: float = 0.0
    bone: float = 1.0
    rib_spacing: float = 0.060
    rib_drop: float = 1.0
    air: float = 1.0
    gas: float = 1.0
    gain: float = 1.0
    gamma: float = 1.0
    noise: float = 0.02
    marker: bool = True
    roll: float = 0.0
    zoom: float = 1.0
    slide: tuple[float, float] = (0.0, 0.0)

    def outer(self, y: Array | float) -> Array:
        """Distance of the lung's outer border from the midline at height y."""
        t = np.clip((y - self.lung_top) * (1 / 0.52), 0.0, 1.0)
        return 0.085 + (self.lung_width - 0.085) * (1.0 - (1.0 - t) ** 2.3) ** 0.62

    def spine_x(self, y: Array | float) -> Array:
        """Where the spine's axis runs at height y, bent by scoliosis."""
        return self.center + self.scoliosis * np.sin((y - 0.02) * 5.6)

    def floor(self, x: Array | float) -> Array:
        """Height of the diaphragm at x: two domes that fall steeply toward the costophrenic angles."""
        dx = x - self.center
        u = np.abs(dx) * (1.0 / self.lung_width) - 0.44
        bend = self.curve * (1.3 * u * u + 3.6 * np.maximum(u - 0.10, 0.0) ** 2)
        leftness = 0.5 + 0.5 * np.tanh(dx * 22.0)
        return self.dome[RIGHT] + (self.dome[LEFT] - self.dome[RIGHT]) * leftness + bend

    def center_of_heart(self) -> tuple[float, float]:
        """The middle of the left ventricle's ellipse in the frontal view."""
        x = self.center + self.turn + self.heart_shift + 0.035 + 0.06 * (self.heart - 1.0)
        return x, 0.5 * (self.dome[RIGHT] + self.dome[LEFT]) - 0.115 - 0.04 * (self.heart - 1.0)


def draw_body(seed: int) -> Body:
    """A healthy patient's measurements, the same for the same seed."""
    rng = np.random.default_rng([seed & (2**64 - 1), 1])
    unit = rng.standard_normal(25).clip(-2.0, 2.0)
    habitus = float(rng.beta(2.0, 2.2))
    dome = 0.735 + 0.026 * unit[0] - 0.02 * (habitus - 0.5)
    return Body(
        seed=seed,
        center=0.010 * unit[1],
        turn=0.010 * unit[2],
        habitus=habitus,
        depth=1.0 + 0.05 * unit[24] + 0.10 * (habitus - 0.5),
        breasts=float(rng.uniform(0.4, 1.2)) if rng.random() < 0.5 else 0.0,
        lung_width=0.372 - 0.035 * (habitus - 0.4) + 0.017 * unit[3],
        lung_top=0.085 + 0.016 * unit[4],
        dome={RIGHT: dome, LEFT: dome + 0.020 + 0.006 * unit[5]},
        curve=0.085 + 0.018 * unit[6],
        heart=1.0 + 0.045 * unit[7],
        heart_tilt=0.62 + 0.11 * unit[8],
        mediastinum=1.0 + 0.08 * unit[9],
        knob=0.030 + 0.003 * unit[10],
        hilum={RIGHT: 1.0 + 0.1 * unit[11], LEFT: 1.0 + 0.1 * unit[12]},
        upper_vessels=0.75 + 0.07 * unit[13],
        lower_vessels=1.0 + 0.08 * unit[14],
        scoliosis=0.002 * unit[15],
        kyphosis=0.5 + 0.12 * unit[16],
        bone=1.0 + 0.12 * unit[17],
        rib_spacing=0.060 + 0.002 * unit[18],
        rib_drop=1.0 + 0.10 * unit[19],
        air=1.0 - 0.20 * (habitus - 0.4) + 0.04 * unit[20],
        gas=float(rng.uniform(0.0, 1.0)),
        gain=1.0 + 0.055 * unit[21],
        gamma=1.02 + 0.12 * unit[22],
        noise=0.010 * float(rng.uniform(0.7, 1.4)),
        marker=bool(rng.random() < 0.7),
        roll=0.012 * unit[23],
        zoom=float(rng.uniform(1.03, 1.12)),
        slide=(float(rng.uniform(-0.012, 0.012)), float(rng.uniform(-0.012, 0.012))),
    )


def reshape(body: Body, f: Finding) -> None:
    """Change the measurements that a finding changes; headings that only add something to the film do nothing."""
    rule = RESHAPING_RULES.get(f.heading)
    if rule is not None:
        rule(body, f)


def _cardiomegaly(body: Body, f: Finding) -> None:
    body.heart = max(body.heart, body.heart * 0.35 + 0.65 + 0.07 + 0.21 * f.severity)


def _heart_failure(body: Body, f: Finding) -> None:
    _cardiomegaly(body, f)
    _congestion(body, f)


def _congestion(body: Body, f: Finding) -> None:
    body.upper_vessels = max(body.upper_vessels, 1.0 + 0.65 * f.severity)
    body.lower_vessels = max(body.lower_vessels, 1.05 + 0.35 * f.severity)
    body.vessel_blur = max(body.vessel_blur, 0.5 * f.severity)
    for side in SIGN:
        body.hilum[side] = max(body.hilum[side], 1.1 + 0.45 * f.severity)


def _edema(body: Body, f: Finding) -> None:
    _congestion(body, f)
    if f.has("interstitial"):
        body.mesh = max(body.mesh, 0.7 * f.severity)


def _lung(body: Body, f: Finding) -> None:
    if f.has("hyperdistention"):
        _hyperinflate(body, f)
    if f.has("interstitial"):
        _interstitial(body, f)
    if f.has("blood vessels"):
        _congestion(body, f)
    if f.has("hypoinflation"):
        lift = 0.05 + 0.055 * f.severity
        for side in body.dome:
            body.dome[side] -= lift
        body.heart *= 1.0 + 0.09 * f.severity
        body.lower_vessels += 0.35 * f.severity
        body.air *= 1.0 - 0.09 * f.severity
    if f.has("hilum") and f.has("prominent", "enlarged", "lymph nodes"):
        for side in f.sides or tuple(SIGN):
            body.hilum[side] += 0.75 * f.severity


def _hyperinflate(body: Body, f: Finding) -> None:
    for side in body.dome:
        body.dome[side] += 0.035 + 0.035 * f.severity
    body.curve *= max(0.15, 0.75 - 0.42 * f.severity)
    body.heart *= 1.0 - 0.10 * f.severity
    body.heart_tilt += 0.16 * f.severity
    body.depth += 0.07 * f.severity
    body.air *= 1.0 + 0.06 * f.severity
    body.rib_spacing *= 1.0 + 0.04 * f.severity
    body.rib_drop *= 1.0 - 0.22 * f.severity


def _emphysema(body: Body, f: Finding) -> None:
    _hyperinflate(body, f)
    body.upper_vessels *= 1.0 - 0.35 * f.severity
    body.lower_vessels *= 1.0 - 0.20 * f.severity
    body.air *= 1.0 + 0.02 * f.severity


def _diaphragm(body: Body, f: Finding) -> None:
    if f.has("flattened"):
        body.curve *= max(0.1, 0.6 - 0.3 * f.severity)
        for side in body.dome:
            body.dome[side] += 0.015 + 0.02 * f.severity
    if f.has("elevated"):
        for side in f.sides or (RIGHT,):
            body.dome[side] -= 0.045 + 0.065 * f.severity


def _scoliosis(body: Body, f: Finding) -> None:
    convex = SIGN[f.sides[0]] if len(f.sides) == 1 else (1.0 if f.rng(body.seed).random() < 0.5 else -1.0)
    body.scoliosis = convex * (0.018 + 0.040 * f.severity)


def _kyphosis(body: Body, f: Finding) -> None:
    body.kyphosis += 0.35 + 0.5 * f.severity
    body.lung_top += 0.012 * f.severity


def _aorta(body: Body, f: Finding) -> None:
    if f.has("tortuous", "prominent", "enlarged") or f.heading == "aortic aneurysm":
        body.unfold = max(body.unfold, 0.40 + 0.85 * f.severity)
        body.knob *= 1.0 + 0.28 * f.severity * (1.5 if f.has("enlarged") else 1.0)


def _mediastinum(body: Body, f: Finding) -> None:
    if f.has("prominent", "enlarged", "blood vessels", "lymph nodes"):
        body.mediastinum += 0.35 + 0.55 * f.severity


def _degenerative(body: Body, f: Finding) -> None:
    body.degenerate = max(body.degenerate, 0.25 + 0.75 * f.severity)


def _degenerative_spine(body: Body, f: Finding) -> None:
    if not f.has("shoulder", "humerus"):
        _degenerative(body, f)


def _spine_heading(body: Body, f: Finding) -> None:
    if f.has("degenerative"):
        _degenerative(body, f)


def _osteopenia(body: Body, f: Finding) -> None:
    body.bone *= 1.0 - 0.55 * min(f.severity, 1.2)


def _poor_film(body: Body, f: Finding) -> None:
    rng = f.rng(body.seed)
    body.noise *= 2.0
    body.gain *= 1.17 if rng.random() < 0.5 else 0.83
    body.turn += 0.035 if rng.random() < 0.5 else -0.035


def _pulmonary_artery(body: Body, f: Finding) -> None:
    for side in f.sides or tuple(SIGN):
        body.hilum[side] += 0.9 * f.severity
    body.upper_vessels *= 0.85


def _interstitial(body: Body, f: Finding) -> None:
    body.mesh = max(body.mesh, 0.55 * f.severity)


def _lymph_nodes(body: Body, f: Finding) -> None:
    if f.has("paratracheal", "mediastinum"):
        body.mediastinum += 0.6 * f.severity
    for side in f.sides or tuple(SIGN):
        body.hilum[side] += 0.6 * f.severity


def _heart(body: Body, f: Finding) -> None:
    if f.has("small"):
        body.heart *= 0.85


def _shift(body: Body, f: Finding) -> None:
    toward = SIGN[f.sides[0]] if f.sides else -1.0
    if f.has("trachea", "mediastinum"):
        body.trachea_shift += toward * (0.012 + 0.03 * f.severity)
    if f.has("mediastinum", "heart"):
        body.heart_shift += toward * (0.02 + 0.045 * f.severity)


def _volume_loss(body: Body, f: Finding) -> None:
    for side in f.sides[:1] or (LEFT,):
        body.dome[side] -= 0.03 + 0.05 * f.severity
        body.heart_shift += SIGN[side] * 0.035 * f.severity
        body.trachea_shift += SIGN[side] * 0.02 * f.severity


RESHAPING_RULES = {
    "cardiomegaly": _cardiomegaly,
    "cardiac shadow": _cardiomegaly,
    "pericardial effusion": _cardiomegaly,
    "heart ventricles": _cardiomegaly,
    "heart atria": _cardiomegaly,
    "heart failure": _heart_failure,
    "pulmonary congestion": _congestion,
    "pulmonary edema": _edema,
    "lung": _lung,
    "emphysema": _emphysema,
    "pulmonary emphysema": _emphysema,
    "bullous emphysema": _emphysema,
    "pulmonary disease, chronic obstructive": _hyperinflate,
    "diaphragm": _diaphragm,
    "scoliosis": _scoliosis,
    "kyphosis": _kyphosis,
    "aorta": _aorta,
    "aorta, thoracic": _aorta,
    "aortic aneurysm": _aorta,
    "mediastinum": _mediastinum,
    "thoracic vertebrae": _spine_heading,
    "spine": _spine_heading,
    "lumbar vertebrae": _spine_heading,
    "bone and bones": _spine_heading,
    "spondylosis": _degenerative_spine,
    "osteophyte": _degenerative_spine,
    "arthritis": _degenerative_spine,
    "hyperostosis, diffuse idiopathic skeletal": _degenerative,
    "bone diseases, metabolic": _osteopenia,
    "osteoporosis": _osteopenia,
    "technical quality of image unsatisfactory": _poor_film,
    "pulmonary artery": _pulmonary_artery,
    "hypertension, pulmonary": _pulmonary_artery,
    "lung diseases, interstitial": _interstitial,
    "blood vessels": _congestion,
    "heart": _heart,
    "lymph nodes": _lymph_nodes,
    "cervical vertebrae": _spine_heading,
    "shift": _shift,
    "volume loss": _volume_loss,
    "pneumonectomy": _volume_loss,
}
