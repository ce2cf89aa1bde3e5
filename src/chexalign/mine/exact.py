"""The nearest items of each seed by a search of the whole gallery, block by block, at the exactness of float64.

Every inner product is computed in float32, or in bfloat16 where the machine multiplies much faster in it. That is off
by no more than a bound that is known, so a row whose product is further than that from the best so far cannot be among
the nearest; the few rows that remain are compared in float64. The result is that of a search in float64 throughout,
ties included, at the cost of one in the fast format.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from chexalign.mine.distance import DECIMALS, Floats, Measure, Rows
from chexalign.mine.filter import Filter, fastest

_SEEDS_AT_ONCE = 1024
_MOST_ROWS, _FEWEST_ROWS = 16_384, 256
_MANY_PER_NEIGHBOR, _MANY = 8, 100_000  # pairs in doubt, per neighbor asked for and at all, that are too many to wait


@dataclass(frozen=True)
class Barred:
    """What may not be returned: rows of the gallery to nobody, and pairs of a seed and a row."""

    rows: npt.NDArray[np.bool_]
    pair_seeds: Rows  # both in the order of `pair_rows`
    pair_rows: Rows


@torch.no_grad()
def nearest(
    measure: Measure, k: int, barred: Barred, *, memory_mb: int = 1024, threads: int | None = None
) -> tuple[Rows, Floats]:
    """The k nearest rows of the gallery for each seed, and their distances, both [seeds, k]; nearest first.

    There must be k rows for every seed. `memory_mb` bounds what is held besides the features of the seeds and the
    result; the gallery is read once, a block at a time.
    Cost: 2 * seeds * gallery * width operations in the fast format.
    """
    with _threads(threads):
        queries = measure.queries()
        near = Filter(measure, queries, fastest(len(queries) * len(measure.gallery), measure.width))
        best = _Best(measure, queries, k, near.relative)
        rows_at_once = _rows_at_once(measure.width, memory_mb)
        own = torch.empty(rows_at_once, measure.width)
        products = torch.empty(min(_SEEDS_AT_ONCE, len(queries)) * rows_at_once, dtype=near.dtype)
        for start in range(0, len(measure.gallery), rows_at_once):
            stop = min(start + rows_at_once, len(measure.gallery))
            keep = ~barred.rows[start:stop]
            block, lost = near.rows(measure.block(start, stop, keep, own))
            numbers, error = start + np.flatnonzero(keep), near.error(lost)
            for first in range(0, len(queries), _SEEDS_AT_ONCE):
                chunk = near.queries[first : first + _SEEDS_AT_ONCE]
                out = products[: len(chunk) * len(block)].view(len(chunk), len(block))
                torch.mm(chunk, block.T, out=out)
                _forbid(out, first, numbers, barred)
                best.offer(out, first, numbers, error[first : first + len(chunk)])
            best.prune()
        return best.result()


class _Best:
    """The rows that may still be among the k nearest of each seed.

    Of each pair a product is known and how far it can be off: not at all once it was computed in float64.
    """

    def __init__(self, measure: Measure, queries: Floats, k: int, relative: float) -> None:
        self.measure, self.queries, self.k, self.relative = measure, queries, k, relative
        self.many = max(_MANY_PER_NEIGHBOR * k * len(queries), _MANY)
        self.floor = np.full(len(queries), -np.inf)  # the k-th best product is surely no lower
        self.seeds, self.rows = np.empty(0, np.intp), np.empty(0, np.intp)
        self.products, self.slack = np.empty(0), np.empty(0)

    def offer(self, products: torch.Tensor, first: int, numbers: Rows, error: Floats) -> None:
        """Takes up those of a block [seeds, rows] that may be among the nearest, each off by `error` at most."""
        n = len(products)
        floor = self.floor[first : first + n]
        found = self._reach(products, floor - error)
        if np.count_nonzero(found) > _MANY_PER_NEIGHBOR * n * self.k and products.shape[1] > self.k:
            own = products.topk(self.k, dim=1).values[:, -1].double().numpy()
            surely = np.where(np.isfinite(own), own - error - self.relative * np.abs(own), -np.inf)
            found = self._reach(products, np.maximum(floor, surely) - error)
        pairs = np.flatnonzero(found)
        seeds, columns = np.divmod(pairs, max(products.shape[1], 1))
        values = products.view(-1)[torch.from_numpy(pairs)].double().numpy()
        real = values > -np.inf  # not forbidden
        seeds, columns, values = seeds[real], columns[real], values[real]
        self._keep(
            np.concatenate([self.seeds, seeds + first]),
            np.concatenate([self.rows, numbers[columns]]),
            np.concatenate([self.products, values]),
            np.concatenate([self.slack, error[seeds] + self.relative * np.abs(values)]),
        )
        if len(self.seeds) > self.many:
            self.prune()

    def _reach(self, products: torch.Tensor, least: Floats) -> npt.NDArray[np.bool_]:
        """[seeds, rows]: which products plus their relative error reach a number, rounded so that none is missed."""
        least = least / np.where(least > 0, 1 + self.relative, 1 - self.relative)
        below = torch.from_numpy(least).to(products.dtype)
        below = below.nextafter(torch.tensor(-torch.inf, dtype=products.dtype))
        return (products >= below[:, None]).numpy()

    def prune(self) -> None:
        """Drops what cannot be among the nearest any more; compares in float64 when too much is in doubt."""
        self._raise_floor()
        self._select(self.products + self.slack >= self.floor[self.seeds])
        if len(self.seeds) > self.many:
            self._thin()
        if len(self.seeds) > self.many:
            self._settle()

    def result(self) -> tuple[Rows, Floats]:
        """[seeds, k] rows and distances."""
        self._settle()
        shape = (len(self.queries), self.k)
        distances = np.round(self.measure.constant - self.products, DECIMALS)
        return self.rows.reshape(shape), distances.reshape(shape)

    def _settle(self) -> None:
        """Computes what is in doubt in float64, and keeps the k nearest of each seed."""
        doubt = np.flatnonzero(self.slack > 0)
        exact = self.measure.exact(self.queries, self.seeds[doubt], self.rows[doubt])
        if (np.abs(exact - self.products[doubt]) > self.slack[doubt]).any():
            raise RuntimeError("products are less exact than their format is: is a faster precision switched on?")
        self.products[doubt], self.slack[doubt] = exact, 0.0
        distances = np.round(self.measure.constant - self.products, DECIMALS)
        order = np.lexsort((self.rows, distances, self.seeds))
        self._select(order[ranks(self.seeds[order]) < self.k])
        self._raise_floor()

    def _thin(self) -> None:
        """Keeps the first k rows of those that are one vector: templates make many, and all are as near to a seed."""
        own, at = np.unique(self.rows, return_inverse=True)
        groups = self.measure.groups(own)[at]
        order = np.lexsort((self.rows, groups, self.seeds))
        pairs = (self.seeds * (groups.max(initial=0) + 1) + groups)[order]
        self._select(np.sort(order[ranks(pairs) < self.k]))

    def _raise_floor(self) -> None:
        lower = self.products - self.slack
        order = np.lexsort((-lower, self.seeds))
        kth = order[ranks(self.seeds[order]) == self.k - 1]
        self.floor[self.seeds[kth]] = np.maximum(self.floor[self.seeds[kth]], lower[kth])

    def _select(self, kept: Rows | npt.NDArray[np.bool_]) -> None:
        self._keep(self.seeds[kept], self.rows[kept], self.products[kept], self.slack[kept])

    def _keep(self, seeds: Rows, rows: Rows, products: Floats, slack: Floats) -> None:
        self.seeds, self.rows, self.products, self.slack = seeds, rows, products, slack


def _forbid(products: torch.Tensor, first: int, numbers: Rows, barred: Barred) -> None:
    """Puts the products of the pairs that are barred out of reach."""
    if not len(numbers):
        return
    low, high = np.searchsorted(barred.pair_rows, [numbers[0], numbers[-1] + 1])
    seeds, rows = barred.pair_seeds[low:high] - first, barred.pair_rows[low:high]
    columns = np.searchsorted(numbers, rows)
    mine = (seeds >= 0) & (seeds < len(products)) & (numbers[np.minimum(columns, len(numbers) - 1)] == rows)
    products[torch.from_numpy(seeds[mine]), torch.from_numpy(columns[mine])] = -torch.inf


def ranks(groups: Rows) -> Rows:
    """The place of each element within its run of equal ones."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def _rows_at_once(width: int, memory_mb: int) -> int:
    """Rows of the gallery in a block: their vectors twice, their products with a chunk of seeds, and a mark of each."""
    each = 8 * width + 5 * _SEEDS_AT_ONCE
    return max(_FEWEST_ROWS, min(_MOST_ROWS, memory_mb * 2**20 // each))


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
