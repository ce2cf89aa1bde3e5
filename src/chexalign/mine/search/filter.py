"""Products that are fast and not exact, with a bound on how far off they can be.

They decide only what is not worth computing exactly, so the number format changes the time and not the result.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from chexalign.mine.search.distance import Floats, Measure

_MUCH = 1e11  # multiplications from which it pays to find out what is fastest
_AT_ONCE = 256  # seeds whose vectors stay in the processor's cache
_PIECES = 3  # of 8 bits each, that make up a number as fine as float32
_MULTIPLE = 32  # columns that matrix units take at once
_SURE = 1.5  # times as fast as float32 that bfloat16 must be


class Filter:
    """Inner products of seeds and rows of a gallery in float32 or bfloat16, less a number for each seed.

    That number is carried by columns of its own, so that what is near it comes out near zero, where rounding is fine.
    A product is within `error` plus `relative` times its size of the exact one.
    Source: Higham 2002, section 3.1, for the order of sums; Cauchy-Schwarz over what rounding the vectors lost.
    """

    def __init__(self, measure: Measure, queries: Floats, dtype: torch.dtype) -> None:
        self.dtype, self._measure = dtype, measure
        self.relative = 1.01 * 2.0**-8 if dtype == torch.bfloat16 else 0.0  # the product itself is rounded to 8 bits
        self._pieces = slice(measure.width, measure.width + _PIECES)
        self._width = -(-self._pieces.stop // _MULTIPLE) * _MULTIPLE
        self.queries = torch.zeros(len(queries), self._width, dtype=dtype)
        # Flags are 1 and -1 on the gallery's side, which every format holds; their lengths go to the seeds' side.
        self._stretch = np.array([f.shape[1] ** 0.5 if f.kind == "flags" else 1.0 for _, f in measure.columns])
        self._length, self._lost = np.empty((2, len(queries), len(self._stretch)))
        for start in range(0, len(queries), _AT_ONCE):
            for place, (columns, _) in enumerate(measure.columns):
                exact = torch.from_numpy(queries[start : start + _AT_ONCE, columns]) / self._stretch[place]
                rounded = self.queries[start : start + _AT_ONCE, columns].copy_(exact)
                some = slice(start, start + len(exact))
                self._length[some, place] = torch.linalg.vector_norm(rounded, dim=1, dtype=torch.float32)
                self._lost[some, place] = torch.linalg.vector_norm(exact.sub_(rounded), dim=1)
        self.least = -1.02 * self._length @ self._stretch - 1e-9
        # Twice: the number that is taken off can be as large as a product.
        self._base = 2.1 * measure.error(queries)

    def room(self, n: int) -> torch.Tensor:
        """Where `rows` puts n rows at most."""
        return torch.ones(n, self._width, dtype=self.dtype)

    def rows(
        self, start: int, stop: int, keep: npt.NDArray[np.bool_], out: torch.Tensor
    ) -> tuple[torch.Tensor, Floats]:
        """The gallery's rows that stay in the filter's format, and `error` [seeds] of products with them."""
        lost = np.zeros(len(self._stretch))
        for rows, place, columns, units in self._measure.units(start, stop, keep):
            if self._stretch[place] != 1:
                units.sign_()
            rounded = out[rows, columns].copy_(units)
            lost[place] = max(lost[place], float(torch.linalg.vector_norm(units.sub_(rounded), dim=1).max()))
        return out[: int(keep.sum())], self._base + 1.01 * (self._lost @ self._stretch + self._length @ lost)

    def aim(self, least: Floats) -> Floats:
        """[seeds]: what products are now less by, a number that is no higher than the one given."""
        rest = torch.from_numpy(-least)
        pieces, taken = self.queries[:, self._pieces], torch.zeros(len(least), dtype=torch.float64)
        for place in range(_PIECES):
            piece = (rest - taken).to(self.dtype)
            if place == _PIECES - 1:
                piece = piece.nextafter(torch.tensor(torch.inf, dtype=self.dtype))
            pieces[:, place] = piece
            taken += piece.double()
        return -taken.numpy()


def fastest(n_products: int, width: int) -> torch.dtype:
    """The format in which this machine multiplies fastest: bfloat16 only where it has instructions for it."""
    return torch.float32 if n_products * width < _MUCH else _fastest(torch.get_num_threads())


@cache
def _fastest(threads: int) -> torch.dtype:
    spent = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(512, 2048, dtype=dtype), torch.ones(2048, 2048, dtype=dtype)
        out = torch.empty(512, 2048, dtype=dtype)
        torch.mm(a, b.T, out=out)
        started = time.perf_counter()
        torch.mm(a, b.T, out=out)
        spent[dtype] = time.perf_counter() - started
    return torch.bfloat16 if spent[torch.bfloat16] * _SURE < spent[torch.float32] else torch.float32
