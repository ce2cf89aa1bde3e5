"""Weighted sums of distances as one inner product, in float32 for many pairs and in float64 for few.

Cosine distance is 1 - cos(a, b). The normalized Hamming distance of n flags is half the cosine distance of the flags
coded as -1 and 1. So with the unit vectors of all modalities side by side, and the weights on the query's side alone,
the weighted sum is a constant minus an inner product, whatever the weights, and one gallery serves all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chexalign.errors import UserError
from chexalign.mine.features import Features, FeatureSet
from chexalign.mine.variants import Modality, Weights

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

DECIMALS = 10  # distances that agree to so many are ties, and the lower row comes first
_PAIRS_AT_ONCE = 512  # what is computed with stays in the processor's cache
_SAFE = (1e-15, 1e15)  # lengths whose square and inverse are float32
_UNIT = 2.0**-24  # rounding of float32


@dataclass(frozen=True)
class Measure:
    """Distances between the items of two sets of features: sum over modalities of weight times distance."""

    seeds: FeatureSet
    gallery: FeatureSet
    weights: Weights

    def __post_init__(self) -> None:
        for name in self.weights:
            for what, found in (("the seeds", self.seeds), ("the gallery", self.gallery)):
                if name not in found.features:
                    raise _without_features(name, what)
            mine, theirs = self.seeds.features[name], self.gallery.features[name]
            if (mine.model, mine.kind, mine.shape[1]) != (theirs.model, theirs.kind, theirs.shape[1]):
                raise _other_model(mine, theirs)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those that weigh anything, in a fixed order."""
        return tuple(self.weights)

    @property
    def width(self) -> int:
        """Columns of the vectors that are multiplied."""
        return sum(self.gallery.features[name].shape[1] for name in self.modalities)

    @property
    def constant(self) -> float:
        """The distance at an inner product of 0."""
        return sum(self._scale(name) for name in self.modalities)

    def queries(self) -> Floats:
        """[seeds, width] float64: the unit vectors of each seed, times the weights."""
        parts = []
        for name, f in self._of(self.seeds):
            vectors, lengths = _long64(f.block(0, len(self.seeds)), f)
            parts.append(vectors * (self._scale(name) / lengths)[:, None])
        return np.concatenate(parts, axis=1)

    def block(self, start: int, stop: int, keep: npt.NDArray[np.bool_], out: torch.Tensor) -> torch.Tensor:
        """Fills the first rows of `out` [rows, width] float32 with the unit vectors of the gallery's rows that stay."""
        n, column = int(keep.sum()), 0
        for _, f in self._of(self.gallery):
            rows = f.block(start, stop)
            _unit32(torch.from_numpy(rows if n == len(rows) else rows[keep]), f, out[:n, column : column + f.shape[1]])
            column += f.shape[1]
        return out[:n]

    def exact(self, queries: Floats, seeds: Rows, rows: Rows) -> Floats:
        """[pairs] float64: the inner product of each pair of a seed and a row of the gallery."""
        order, found, column = np.argsort(rows, kind="stable"), np.zeros(len(rows)), 0
        for _, f in self._of(self.gallery):
            own = np.ascontiguousarray(queries[:, column : column + f.shape[1]])
            for start in range(0, len(order), _PAIRS_AT_ONCE):
                pairs = order[start : start + _PAIRS_AT_ONCE]
                vectors, lengths = _long64(f.rows(rows[pairs]), f)
                found[pairs] += np.einsum("pd,pd->p", own[seeds[pairs]], vectors) / lengths
            column += f.shape[1]
        return found

    def groups(self, rows: Rows) -> Rows:
        """[rows]: equal numbers for rows of the gallery whose features are the same, byte by byte; rows ascending."""
        keys: dict[bytes, int] = {}
        found = np.empty(len(rows), np.intp)
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            some = rows[start : start + _PAIRS_AT_ONCE]
            parts = [f.rows(some).view(np.uint8).reshape(len(some), -1) for _, f in self._of(self.gallery)]
            for place, row in enumerate(np.concatenate(parts, axis=1), start):
                key = hashlib.blake2b(row.data, digest_size=16).digest()
                found[place] = keys.setdefault(key, len(keys))
        return found

    def error(self, queries: Floats) -> Floats:
        """[seeds]: how far a float32 inner product can be from the exact one, whatever the order of its sums.

        Source: Higham 2002, section 3.1, and the rounding of both vectors to float32 besides.
        """
        longest = np.sqrt(len(self.modalities))  # every modality is a unit vector, or zero
        gamma = 1.01 * (1.5 * self.width + 16) * _UNIT  # the product, and the lengths that vectors are divided by
        return gamma * longest * np.linalg.norm(queries, axis=1) + 10.0**-DECIMALS

    def _of(self, items: FeatureSet) -> Sequence[tuple[Modality, Features]]:
        return [(name, items.features[name]) for name in self.modalities]

    def _scale(self, name: Modality) -> float:
        return self.weights[name] * (0.5 if self.gallery.features[name].kind == "flags" else 1.0)


def _long64(rows: npt.NDArray[Any], f: Features) -> tuple[Floats, Floats]:
    """The vectors of rows in float64, and their lengths; that of a vector of zeros is called 1."""
    vectors = rows.astype(np.float64)
    if f.kind == "flags":
        vectors *= 2.0
        vectors -= 1.0
    lengths = np.sqrt(np.einsum("pd,pd->p", vectors, vectors))
    if not np.isfinite(lengths).all():
        raise _not_finite(f)
    return vectors, np.where(lengths > 0, lengths, 1.0)


def _unit32(rows: torch.Tensor, f: Features, out: torch.Tensor) -> None:
    """Writes the unit vectors of the rows into `out`."""
    if f.kind == "flags":
        out.copy_(rows).mul_(2.0).sub_(1.0).div_(f.shape[1] ** 0.5)
        return
    rows = rows.float()
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if bool(((lengths > _SAFE[0]) & (lengths < _SAFE[1])).all()):
        torch.mul(rows, 1 / lengths, out=out)
        return
    vectors, exact = _long64(rows.numpy(), f)
    out.copy_(torch.from_numpy(vectors / exact[:, None]))


def _not_finite(f: Features) -> UserError:
    return UserError(
        f"The {f.modality} features hold a value that is no finite number.",
        "Nothing can be near such an item or far from it.",
        "Make the features again.",
    )


def _without_features(name: Modality, what: str) -> UserError:
    return UserError(
        f"There are no {name} features of {what}.",
        "A variant of similarity weighs them, and they cannot be made up.",
        f"Make the {name} features of all items, or choose a variant without them.",
    )


def _other_model(mine: Features, theirs: Features) -> UserError:
    return UserError(
        f"The {mine.modality} features of seeds and gallery come from different models.",
        f"They are {mine.shape[1]} {mine.kind} columns of model {mine.model}, and {theirs.shape[1]} {theirs.kind} "
        f"columns of model {theirs.model}.",
        "Make both with one model.",
    )
