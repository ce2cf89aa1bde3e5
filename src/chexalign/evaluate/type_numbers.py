"""Numbers by type of question: accuracy, F1 of sets, calibration, hallucinations, and gains over baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from chexalign.evaluate.calibration import Calibration, Calibrator
from chexalign.evaluate.question_types import Typed, TypeResults
from chexalign.evaluate.tasks import compare_accuracies
from chexalign.stats import Bootstrap, PairedTests
from chexalign.stats.sums import Bools, Floats, divide
from chexalign.types import Comparison, Estimate


@dataclass(frozen=True)
class TypeNumbers:
    """The numbers of policies that answered the same questions, rows of `bootstrap` in their order.

    A policy is compared with every baseline but itself, and a baseline with those that are named before it alone.
    """

    typed: Typed
    results: Sequence[TypeResults]
    baselines: Sequence[str]
    bootstrap: Bootstrap
    split: str

    def estimates(self) -> list[Estimate]:
        """Every number of every policy, and its paired difference from each baseline.

        `vqa.GROUP.accuracy` counts what cannot be read as wrong; `.micro_f1` and `.macro_f1` are over the options of
        questions with any number of right ones, and there an unread answer names nothing; `.relative_gain` is the
        difference in accuracy over the baseline's accuracy, on the questions that both answered. `vqa.hallucination` is
        the share of answers that affirm something absent, among those to questions of which an answer does
        (`question_types.affirming`); one that cannot be read affirms nothing. Of `.ece` only differences are here: its
        values stand in `calibrations`.
        """
        found = [estimate for one in self.results for estimate in self._of(one)]
        return found + [estimate for mine, theirs in self._pairs() for estimate in self._between(mine, theirs)]

    def calibrations(self) -> list[Calibration]:
        """The reliability bins of every policy and type of question, where answers have a confidence."""
        return [
            Calibrator(bootstrap, one.name, self.split).calibrate(group, one.sure[rows], one.right[rows])
            for one in self.results
            for group, rows, bootstrap in self._known(one.sure)
        ]

    def comparisons(self, tests: PairedTests) -> list[Comparison]:
        """Whether accuracies differ from a baseline's, per kind of question, corrected by Holm over the kinds."""
        return compare_accuracies(self.typed.kinds, self._pairs(), tests, prefix="vqa")

    def _of(self, one: TypeResults) -> Iterator[Estimate]:
        about = {"policy": one.name, "split": self.split}
        for group, rows, bootstrap in self._known(one.right):
            yield bootstrap.mean(one.right[rows], metric=f"vqa.{group}.accuracy", **about)
        for group, rows, tables in self._sets(one):
            yield from _renamed(group, self.bootstrap.only(rows).f1(*tables, metric="", **about))
        if (~np.isnan(one.affirmed)).any():
            rows = self.typed.affirmable
            yield self.bootstrap.only(rows).mean(one.affirmed[rows], metric="vqa.hallucination", **about)

    def _between(self, mine: TypeResults, theirs: TypeResults) -> Iterator[Estimate]:
        about = {"policy": mine.name, "split": self.split, "baseline": theirs.name}
        for group, rows, bootstrap in self._known(mine.right, theirs.right):
            right, base_right = mine.right[rows], theirs.right[rows]
            yield bootstrap.difference(right, base_right, metric=f"vqa.{group}.accuracy", **about)
            yield bootstrap.of_sums((right, base_right), _relative_gain, metric=f"vqa.{group}.relative_gain", **about)
        for group, rows, tables in self._sets(mine, theirs):
            yield from _renamed(group, self.bootstrap.only(rows).f1_difference(*tables, metric="", **about))
        for group, rows, bootstrap in self._known(mine.sure, theirs.sure):
            sides = ((one.sure[rows], one.right[rows]) for one in (mine, theirs))
            yield Calibrator(bootstrap, mine.name, self.split).difference(group, *sides, baseline=theirs.name)
        if (~np.isnan(mine.affirmed + theirs.affirmed)).any():
            rows = self.typed.affirmable
            yield self.bootstrap.only(rows).difference(
                mine.affirmed[rows], theirs.affirmed[rows], metric="vqa.hallucination", **about
            )

    def _pairs(self) -> list[tuple[TypeResults, TypeResults]]:
        by_name = {one.name: one for one in self.results}
        places = {name: i for i, name in enumerate(self.baselines)}
        return [
            (mine, by_name[name])
            for name, place in places.items()
            for mine in self.results
            if mine.name != name and places.get(mine.name, len(places)) > place
        ]

    @cached_property
    def _bootstraps(self) -> dict[str, Bootstrap]:
        """Of each type, made once: the weights of its rows are copied."""
        return {group: self.bootstrap.only(rows) for group, rows in self.typed.groups.items()}

    def _known(self, *columns: Floats) -> Iterator[tuple[str, Bools, Bootstrap]]:
        """The types of which some question has a value in all columns."""
        known = ~np.isnan(columns).any(axis=0)
        for group, rows in self.typed.groups.items():
            if (rows & known).any():
                yield group, rows, self._bootstraps[group]

    def _sets(self, *policies: TypeResults) -> Iterator[tuple[str, Bools, list[Floats]]]:
        """The types of which some question has a set of right options, and tables of what is right and was named."""
        tables, several = [self.typed.right, *(one.named for one in policies)], self.typed.several
        known: Bools = np.all([~np.isnan(table).any(axis=1) for table in tables], axis=0)
        for group, rows in self.typed.groups.items():
            part = rows[several]
            if known[part].any():
                yield group, rows & several, [table[part] for table in tables]


def _renamed(group: str, micro_macro: tuple[Estimate, Estimate]) -> Iterator[Estimate]:
    for average, estimate in zip(("micro", "macro"), micro_macro, strict=True):
        yield replace(estimate, metric=f"vqa.{group}.{average}_f1")


def _relative_gain(sums: Floats) -> Floats:
    return divide(sums[:, 0] - sums[:, 1], sums[:, 1])
