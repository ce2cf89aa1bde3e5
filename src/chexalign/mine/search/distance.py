"""Weighted sums of distances as one inner product, in float32 for many pairs and in float64 for few.

Cosine distance is 1 - cos(a, b). The normalized Hamming distance of n flags is half the cosine distance of the flags
coded as -1 and 1. So with the unit vectors of all modalities side by side, and the weights on the query's side alone,
the weighted sum is a constant minus an inner product, whatever the weights, and one gallery serves all of them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chexalign.errors import UserError
from chexalign.mine.vectors.features import Features, FeatureSet
from chexalign.mine.vectors.variants import Weights
from chexalign.recipe.mine import Modality

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

DECIMALS = 10  # distances that agree to so many are ties, and the lower row comes first
_ROWS_AT_ONCE = 512  # what is computed with stays in the processor's cache
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

    @property
    def columns(self) -> list[tuple[slice, Features]]:
        """Where each modality lies in the vectors that are multiplied, and its features in the gallery."""
        ends = np.cumsum([f.shape[1] for _, f in self._of(self.gallery)])
        return [
            (slice(int(end) - f.shape[1], int(end)), f)
            for end, (_, f) in zip(ends, self._of(self.gallery), strict=True)
        ]

    def queries(self) -> Floats:
        """[seeds, width] float64: the unit vectors of each seed, times the weights."""
        found = np.empty((len(self.seeds), self.width))
        for (columns, _), (name, f) in zip(self.columns, self._of(self.seeds), strict=True):
            values = np.asarray(f.block(0, len(self.seeds)))
            for start in range(0, len(values), _ROWS_AT_ONCE):
                vectors, lengths = _long64(values[start : start + _ROWS_AT_ONCE], f)
                np.multiply(
                    vectors, (self._scale(name) / lengths)[:, None], out=found[start : start + len(vectors), columns]
                )
        return found

    def units(
        self, start: int, stop: int, keep: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[slice, int, slice, torch.Tensor]]:
        """The unit vectors of the gallery's rows that stay, in pieces that fit into the processor's cache.

        Each is the rows among those that stay, the place of the modality, its columns, and a float32 tensor that is
        overwritten by the next.
        """
        for place, (columns, f) in enumerate(self.columns):
            values = np.asarray(f.block(start, stop))
            values = values if keep.all() else values[keep]
            room = torch.empty(_ROWS_AT_ONCE, f.shape[1])
            for first in range(0, len(values), _ROWS_AT_ONCE):
                rows = torch.from_numpy(values[first : first + _ROWS_AT_ONCE])
                _unit(rows, f, room[: len(rows)])
                yield slice(first, first + len(rows)), place, columns, room[: len(rows)]

    def block(self, start: int, stop: int, keep: npt.NDArray[np.bool_], out: torch.Tensor) -> torch.Tensor:
        """Fills the first rows of `out` [rows, width] float32 with the unit vectors of the gallery's rows that stay."""
        for rows, _, columns, units in self.units(start, stop, keep):
            out[rows, columns] = units
        return out[: int(keep.sum())]

    def exact(self, queries: Floats, seeds: Rows, rows: Rows) -> Floats:
        """[pairs] float64: the inner product of each pair of a seed and a row of the gallery."""
        return self._products(torch.from_numpy(queries), seeds, rows)

    def near(self, queries: Floats, seeds: Rows, rows: Rows) -> Floats:
        """As `exact`, computed in float32, within `error`."""
        return self._products(torch.from_numpy(queries.astype(np.float32)), seeds, rows)

    def _products(self, queries: torch.Tensor, seeds: Rows, rows: Rows) -> Floats:
        """In the type of the queries; that of a pair does not depend on the others."""
        order, found = np.argsort(rows, kind="stable"), np.empty(len(rows))
        own, starts = np.unique(rows[order], return_index=True)
        bounds = np.append(starts, len(rows))
        for first in range(0, len(own), _ROWS_AT_ONCE):
            some = own[first : first + _ROWS_AT_ONCE]
            units = torch.empty(len(some), self.width, dtype=queries.dtype)
            for columns, f in self.columns:
                _unit(torch.from_numpy(f.rows(some)), f, units[:, columns])
            ends = bounds[first : first + len(some) + 1]
            pairs = order[ends[0] : ends[-1]]
            found[pairs] = _some_products(units, ends - ends[0], seeds[pairs], queries.T)
        return found

    def groups(self, rows: Rows) -> Rows:
        """[rows]: equal numbers for rows of the gallery whose features are the same, byte by byte; rows ascending."""
        keys: dict[bytes, int] = {}
        found = np.empty(len(rows), np.intp)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
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
        return gamma * longest * np.sqrt(np.einsum("sd,sd->s", queries, queries)) + 10.0**-DECIMALS

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


def _some_products(units: torch.Tensor, ends: Rows, seeds: Rows, others: torch.Tensor) -> npt.NDArray[Any]:
    """The products of rows with the seeds of each, whose numbers lie between the ends of the row."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        wanted = torch.sparse_csr_tensor(
            torch.from_numpy(ends),
            torch.from_numpy(seeds),
            torch.zeros(len(seeds), dtype=units.dtype),
            size=(len(units), others.shape[1]),
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(wanted, units, others).values().numpy()


def _unit(rows: torch.Tensor, f: Features, out: torch.Tensor) -> None:
    """Writes the unit vectors of the rows into `out`, in its type."""
    if out.dtype == torch.float64:
        vectors, exact = _long64(rows.numpy(), f)
        torch.div(torch.from_numpy(vectors), torch.from_numpy(exact)[:, None], out=out)
        return
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
