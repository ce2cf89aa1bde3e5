"""F1, precision and recall from weighted counts: of each label, pooled over labels, averaged over labels.

All numbers of a set of reports come from three sums per label, so any number of resamples, of label sets and of
measures costs one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chexalign.stats.sums import Floats, divide

MEASURES = ("f1", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Counts:
    """Weighted counts of each label, `[S, L]` each: true and called, true, called; `S` sets of rows."""

    hits: Floats
    true: Floats
    called: Floats

    @classmethod
    def summed(cls, true: Floats, predicted: Floats, sums: Callable[[Floats], Floats]) -> Counts:
        """The counts of `true, predicted: [n, L]`, where `sums` turns columns `[n, K]` into `[S, K]`."""
        return cls(*np.hsplit(sums(np.hstack([true * predicted, true, predicted])), 3))

    def of(self, columns: Sequence[int]) -> Counts:
        """The counts of some labels only."""
        return Counts(*(np.take(c, columns, axis=1) for c in (self.hits, self.true, self.called)))

    def pooled(self) -> Counts:
        """The counts of all labels together, `[S, 1]` each."""
        return Counts(*(c.sum(axis=1, keepdims=True) for c in (self.hits, self.true, self.called)))


def per_label(counts: Counts, measure: str) -> Floats:
    """A measure of each label, `[S, L]`; NaN where it is undefined.

    F1 and recall need a true case, precision needs a called one.
    """
    if measure == "precision":
        return divide(counts.hits, counts.called)
    if measure == "recall":
        return divide(counts.hits, counts.true)
    f1 = divide(2 * counts.hits, counts.true + counts.called)  # 2tp / (2tp + fp + fn)
    return np.where(counts.true > 0, f1, np.nan)


def macro(counts: Counts, measure: str = "f1") -> Floats:
    """The plain mean of a measure over the labels that have it, `[S]`."""
    values = per_label(counts, measure)
    return divide(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1).astype(np.float64))


def micro(counts: Counts, measure: str = "f1") -> Floats:
    """A measure of the counts of all labels together, `[S]`; F1 needs a true or a called case."""
    if measure != "f1":
        return per_label(counts.pooled(), measure)[:, 0]
    return divide(2 * counts.hits.sum(axis=1), (counts.true + counts.called).sum(axis=1))


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels of a table's columns, and the sets of them that are averaged: all, and the given ones.

    Raises ValueError for a set that names another label, that is empty, or that is as large as another one, since
    averages are named by the size of their set.
    """

    labels: tuple[str, ...]
    more: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        sizes = [len(names) for names in (self.labels, *self.more)]
        if len(set(sizes)) < len(sizes) or 0 in sizes:
            raise ValueError(f"f1_report: sets of labels must differ in size, and none be empty, not {sizes}")
        if strange := {name for names in self.more for name in names} - set(self.labels):
            raise ValueError(f"f1_report: {sorted(strange)[0]!r} is not among the labels")

    def measures(self, counts: Counts) -> Iterator[tuple[str, Floats]]:
        """Name and values `[S]` of every measure: averages of each set, then each label's.

        `average_f1` is the mean of micro and macro F1 over all sets, as the tables of the CheXalign paper average them.
        """
        of_sets = []
        for names in (self.labels, *self.more):
            some = counts.of([self.labels.index(name) for name in names])
            for measure in MEASURES:
                yield f"micro_{measure}_{len(names)}", micro(some, measure)
                yield f"macro_{measure}_{len(names)}", macro(some, measure)
            of_sets += [micro(some), macro(some)]
        yield "average_f1", np.mean(of_sets, axis=0)
        for measure in MEASURES:
            values = per_label(counts, measure)
            yield from ((f"{measure}.{label}", values[:, i]) for i, label in enumerate(self.labels))

    def notes(self, true: Floats) -> Mapping[str, str]:
        """What is to be said beside a measure of the table `true: [n, L]`, by the measure's name."""
        cases = dict(zip(self.labels, true.sum(axis=0), strict=True))
        told = {f"{m}.{label}": f"; {int(count)} true cases" for m in MEASURES for label, count in cases.items()}
        for names in (self.labels, *self.more):
            note = absent([cases[name] for name in names])
            told |= {f"macro_{measure}_{len(names)}": note for measure in ("f1", "recall")}
        return told


def absent(cases: Sequence[float] | Floats) -> str:
    """What is to be said of labels that no row is true for, given the number of true cases of each."""
    missing = sum(count == 0 for count in cases)
    return f"; {missing} of {len(cases)} labels have no true case and are left out" if missing else ""
