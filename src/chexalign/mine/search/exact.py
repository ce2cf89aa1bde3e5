"""The nearest items of each seed by a search of the whole gallery, block by block, at the exactness of float64.

Every inner product is computed in float32, or in bfloat16 where the machine multiplies much faster in it. That is off
by no more than a bound that is known, so a row whose product is further than that from the best so far cannot be among
the nearest; the few rows that remain are compared in float32, and those that this leaves in float64. The result is that
of a search in float64 throughout, ties included, at the cost of one in the fast format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from chexalign.mine.search.distance import DECIMALS, Floats, Measure, Rows
from chexalign.mine.search.filter import Filter, fastest

_SEEDS_AT_ONCE = 1024
_MOST_ROWS, _FEWEST_ROWS = 2048, 256  # more rows do not multiply faster, and their products leave the cache
_FIRST_ROWS = 1024  # whose best tell the other blocks what is far
_MANY_PER_NEIGHBOR, _MANY = 8, 100_000  # pairs in doubt, per neighbor asked for and at all, that are too many to wait
_MORE = 1.5  # times as many pairs as were left the last time are worth looking through
_TIE = 10.0**-DECIMALS


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
        best = _Best(measure, queries, k, near)
        rows_at_once = _rows_at_once(measure.width, memory_mb)
        own = near.room(min(rows_at_once, len(measure.gallery)))
        products = torch.empty(min(_SEEDS_AT_ONCE, len(queries)) * len(own), dtype=near.dtype)
        for start, stop in _blocks(len(measure.gallery), rows_at_once):
            keep = ~barred.rows[start:stop]
            numbers = start + np.flatnonzero(keep)
            if not len(numbers):
                continue
            block, error = near.rows(start, stop, keep, own)
            less = near.aim(best.floor - error)
            for first in range(0, len(queries), _SEEDS_AT_ONCE):
                some = slice(first, first + _SEEDS_AT_ONCE)
                out = products[: len(error[some]) * len(block)].view(-1, len(block))
                torch.mm(near.queries[some], block.T, out=out)
                _forbid(out, first, numbers, barred)
                best.offer(out, first, numbers, less[some], error[some])
            best.prune()
        return best.result()


class _Best:
    """The rows that may still be among the k nearest of each seed.

    Of each pair a product is known and how far it can be off: not at all once it was computed in float64.
    """

    def __init__(self, measure: Measure, queries: Floats, k: int, near: Filter) -> None:
        self.measure, self.queries, self.k, self.relative = measure, queries, k, near.relative
        self.many = max(_MANY_PER_NEIGHBOR * k * len(queries), _MANY)
        self.floor = near.least.copy()  # a row whose product is surely lower is not among the k nearest
        self.seeds, self.rows = np.empty(0, np.intp), np.empty(0, np.intp)
        self.products, self.slack = np.empty(0), np.empty(0)
        self.offered: list[tuple[Rows, Rows, Floats, Floats]] = []
        self.waiting = self.enough = 0

    def offer(self, products: torch.Tensor, first: int, numbers: Rows, less: Floats, error: Floats) -> None:
        """Takes up those of a block [seeds, rows] that may be among the nearest.

        Products are less by `less` than they were, for which nothing below 0 can be, and off by `error` at most.
        """
        pairs = np.flatnonzero(_positive(products))
        if len(pairs) > _MANY_PER_NEIGHBOR * len(products) * self.k and products.shape[1] > self.k:
            pairs = self._nearest_of(products, first, less, error)
        seeds, columns = np.divmod(pairs, products.shape[1])
        values = products.view(-1)[torch.from_numpy(pairs)].double().numpy()
        real = values > -np.inf  # not forbidden
        seeds, columns, values = seeds[real], columns[real], values[real]
        slack = error[seeds] + self.relative * np.abs(values)
        self.offered.append((seeds + first, numbers[columns], values + less[seeds], slack))
        self.waiting += len(seeds)
        if self.waiting > self.many:
            self.prune()

    def _nearest_of(self, products: torch.Tensor, first: int, less: Floats, error: Floats) -> Rows:
        """The pairs that the block's own k-th best leaves, which raises the floor of its seeds."""
        own = products.topk(self.k, dim=1).values[:, -1].double().numpy()
        own = np.where(np.isfinite(own), own - self.relative * np.abs(own), -np.inf)
        floor = self.floor[first : first + len(products)]
        np.maximum(floor, own + less - error - _TIE, out=floor)
        least = floor - error - less
        least /= np.where(least > 0, 1 + self.relative, 1 - self.relative)
        below = torch.from_numpy(least).to(products.dtype)
        below = below.nextafter(torch.tensor(-torch.inf, dtype=products.dtype))
        return np.flatnonzero((products >= below[:, None]).numpy())

    def prune(self) -> None:
        """Drops what cannot be among the nearest any more, where that is worth it; settles what is too much."""
        if self.waiting <= self.enough:
            return
        self._gather()
        self._drop()
        if len(self.seeds) > self.many:
            self._thin()
        if len(self.seeds) > self.many:
            self._settle()
        self.waiting, self.enough = len(self.seeds), min(int(_MORE * len(self.seeds)), self.many)

    def result(self) -> tuple[Rows, Floats]:
        """[seeds, k] rows and distances."""
        self._gather()
        self._drop()
        self._settle()
        shape = (len(self.queries), self.k)
        distances = np.round(self.measure.constant - self.products, DECIMALS)
        return self.rows.reshape(shape), distances.reshape(shape)

    def _gather(self) -> None:
        kept = (self.seeds, self.rows, self.products, self.slack)
        self._keep(*map(np.concatenate, zip(kept, *self.offered, strict=True)))
        self.offered.clear()

    def _settle(self) -> None:
        """Computes what is in doubt in float64, and keeps the k nearest of each seed."""
        if self.relative:
            self._refine(self.measure.near, self.measure.error(self.queries))
        self._refine(self.measure.exact, np.zeros(len(self.queries)))
        distances = np.round(self.measure.constant - self.products, DECIMALS)
        order = np.lexsort((self.rows, distances, self.seeds))
        self._select(order[ranks(self.seeds[order]) < self.k])

    def _refine(self, products: Callable[[Floats, Rows, Rows], Floats], error: Floats) -> None:
        """Computes what is known less exactly than by the error [seeds], and drops what that shows to be too far."""
        doubt = np.flatnonzero(self.slack > error[self.seeds])
        seeds = self.seeds[doubt]
        better = products(self.queries, seeds, self.rows[doubt])
        if (np.abs(better - self.products[doubt]) > self.slack[doubt] + error[seeds]).any():
            raise RuntimeError("products are less exact than their format is: is a faster precision switched on?")
        self.products[doubt], self.slack[doubt] = better, error[seeds]
        self._drop()

    def _thin(self) -> None:
        """Keeps the first k rows of those that are one vector: templates make many, and all are as near to a seed."""
        own, at = np.unique(self.rows, return_inverse=True)
        groups = self.measure.groups(own)[at]
        order = np.lexsort((self.rows, groups, self.seeds))
        pairs = (self.seeds * (groups.max(initial=0) + 1) + groups)[order]
        self._select(np.sort(order[ranks(pairs) < self.k]))

    def _drop(self) -> None:
        """Raises the floor to the k-th highest of what products surely reach, and drops what cannot reach it."""
        lower = self.products - self.slack
        lowest = lower.min(initial=0.0)
        span = 1.0 + lower.max(initial=0.0) - lowest
        keys = self.seeds * span + (lower - lowest)  # in the order of seeds, then of products
        keys.sort()
        counts = np.bincount(self.seeds, minlength=len(self.queries))
        full = np.flatnonzero(counts >= self.k)
        kth = keys[np.cumsum(counts)[full] - self.k] - full * span + lowest
        rounded = 4 * np.spacing((len(self.queries) + 1) * span)
        self.floor[full] = np.maximum(self.floor[full], kth - rounded - _TIE)
        self._select(self.products + self.slack >= self.floor[self.seeds])

    def _select(self, kept: Rows | npt.NDArray[np.bool_]) -> None:
        self._keep(self.seeds[kept], self.rows[kept], self.products[kept], self.slack[kept])

    def _keep(self, seeds: Rows, rows: Rows, products: Floats, slack: Floats) -> None:
        self.seeds, self.rows, self.products, self.slack = seeds, rows, products, slack


def _forbid(products: torch.Tensor, first: int, numbers: Rows, barred: Barred) -> None:
    """Puts the products of the pairs that are barred out of reach."""
    low, high = np.searchsorted(barred.pair_rows, [numbers[0], numbers[-1] + 1])
    seeds, rows = barred.pair_seeds[low:high] - first, barred.pair_rows[low:high]
    columns = np.searchsorted(numbers, rows)
    mine = (seeds >= 0) & (seeds < len(products)) & (numbers[np.minimum(columns, len(numbers) - 1)] == rows)
    products[torch.from_numpy(seeds[mine]), torch.from_numpy(columns[mine])] = -torch.inf


def ranks(groups: Rows) -> Rows:
    """The place of each element within its run of equal ones."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def _positive(products: torch.Tensor) -> npt.NDArray[np.bool_]:
    """Which numbers have no sign: as integers they are compared several times as fast."""
    integers = {torch.bfloat16: torch.int16, torch.float32: torch.int32}[products.dtype]
    return products.view(integers).numpy() >= 0


def _blocks(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Where blocks start and stop."""
    return pairwise([0, *range(min(_FIRST_ROWS, rows, n), n, rows), n])


def _rows_at_once(width: int, memory_mb: int) -> int:
    """Rows of the gallery in a block: their vectors, their products with a chunk of seeds, and a mark of each."""
    each = 4 * width + 5 * _SEEDS_AT_ONCE
    return max(_FEWEST_ROWS, min(_MOST_ROWS, memory_mb * 2**20 // each))


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
