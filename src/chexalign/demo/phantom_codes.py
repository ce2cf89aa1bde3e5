"""What a list of MeSH strings asks for: headings, sides, zones and severity, read into `Finding` records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

RIGHT, LEFT = "right", "left"

ZONES = (
    "apex",
    "upper lobe",
    "middle lobe",
    "lingula",
    "lower lobe",
    "base",
    "hilum",
    "costophrenic angle",
    "retrocardiac",
    "paratracheal",
    "mediastinum",
)

# A code with no severity word is as visible as a moderate-to-mild one: radiologists leave the word out of plain cases.
DEFAULT_SEVERITY = 0.8
_SEVERITIES = {
    "borderline": 0.35,
    "small": 0.5,
    "mild": 0.5,
    "moderate": 1.0,
    "prominent": 1.1,
    "large": 1.35,
    "severe": 1.5,
}
_SIDE_OF_ZONE = {"middle lobe": RIGHT, "lingula": LEFT, "retrocardiac": LEFT}


@dataclass(frozen=True)
class Finding:
    """One code, read: what it is, where, how bad, and the key of its own random numbers.

    `sides` is empty when the code names none; `severity` runs from 0.35 (borderline) to 1.5 (severe).
    """

    heading: str
    sides: tuple[str, ...]
    zones: tuple[str, ...]
    severity: float
    words: frozenset[str]
    key: int

    def rng(self, seed: int) -> np.random.Generator:
        """The same stream for the same code and seed, in either view, whatever other codes are there."""
        return np.random.default_rng([seed & (2**64 - 1), self.key])

    def sides_or(self, rng: np.random.Generator, *, both: bool = False) -> tuple[str, ...]:
        """The sides the code names, else both, else one drawn by chance."""
        chance = RIGHT if rng.random() < 0.5 else LEFT
        return self.sides or ((RIGHT, LEFT) if both else (chance,))

    def has(self, *words: str) -> bool:
        """Whether any of the words stands among the qualifiers."""
        return any(word in self.words for word in words)


def parse_code(code: str) -> Finding:
    """A code such as `Opacity/lung/base/right/mild` as a Finding; case and blanks around `/` do not matter.

    >>> f = parse_code("Pleural Effusion/bilateral/small")
    >>> f.heading, f.sides, f.severity
    ('pleural effusion', ('right', 'left'), 0.5)
    """
    heading, *rest = [" ".join(part.lower().split()) for part in code.split("/")]
    words = frozenset(word for word in rest if word)
    zones = tuple(zone for zone in ZONES if zone in words)
    sides = {side for side in (RIGHT, LEFT) if side in words or "bilateral" in words}
    if not sides:
        sides = {_SIDE_OF_ZONE[zone] for zone in zones if zone in _SIDE_OF_ZONE}
    severity = max((_SEVERITIES[word] for word in words if word in _SEVERITIES), default=DEFAULT_SEVERITY)
    name = "/".join([heading, *sorted(words - _SEVERITIES.keys())])
    return Finding(
        heading=heading,
        sides=tuple(side for side in (RIGHT, LEFT) if side in sides),
        zones=zones,
        severity=severity,
        words=words,
        key=int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big"),
    )


def parse_codes(codes: Iterable[str]) -> list[Finding]:
    """The findings of a study, each once, in an order that does not depend on the order of the codes."""
    found = {(f.heading, tuple(sorted(f.words))): f for f in map(parse_code, codes)}
    return [found[name] for name in sorted(found)]
