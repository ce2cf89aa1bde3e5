"""Products that are fast and not exact, with a bound on how far off they can be.

They decide only what is not worth computing exactly, so the number format changes the time and not the result.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import torch

from chexalign.mine.distance import Floats, Measure

_MUCH = 1e11  # multiplications from which it pays to find out what is fastest
_SURE = 1.5  # times as fast as float32 that bfloat16 must be


class Filter:
    """Inner products of seeds and rows of a gallery in float32 or bfloat16.

    A product is within `error` plus `relative` times its size of the exact one.
    Source: Higham 2002, section 3.1, for the order of sums; Cauchy-Schwarz over what rounding the vectors lost.
    """

    def __init__(self, measure: Measure, queries: Floats, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.queries = torch.from_numpy(queries).to(dtype)
        self._base, self._longest = 1.02 * measure.error(queries), float(np.sqrt(len(measure.modalities)))
        self._length, self._lost = np.linalg.norm(queries, axis=1), np.zeros(len(queries))
        self.relative = 0.0
        if dtype == torch.bfloat16:
            self._lost = np.linalg.norm(queries - self.queries.double().numpy(), axis=1)
            self.relative = 1.01 * 2.0**-9  # the product itself is rounded to 8 bits

    def rows(self, block: torch.Tensor) -> tuple[torch.Tensor, float]:
        """The rows in the filter's format, and how much the one that lost most has lost."""
        if self.dtype == torch.float32 or not len(block):
            return block.to(self.dtype), 0.0
        rounded = block.to(self.dtype)
        return rounded, float(torch.linalg.vector_norm(block - rounded, dim=1).max())

    def error(self, lost: float) -> Floats:
        """[seeds]: the part of the bound that does not depend on the product."""
        return self._base + 1.01 * (self._lost * self._longest + self._length * lost)


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
