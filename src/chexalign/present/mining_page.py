"""What the sections on mining and on types of question lay out, worked out from the report's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import get_args

from markupsafe import Markup

from chexalign.evaluate.calibration import Calibration
from chexalign.present.data import BASELINE, Claim, ReportData
from chexalign.present.metrics import MetricInfo, metric_info
from chexalign.present.metrics_answers import type_label
from chexalign.present.mining_data import Mining, WrongAnswers
from chexalign.present.mining_plots import CalibrationPanel, calibration_plot
from chexalign.present.numbers import EstimateIndex, Verdict, estimate_text, verdict
from chexalign.present.plot_parts import Styles
from chexalign.present.views import Cell, cell_of, tests_of
from chexalign.types import Estimate, QuestionKind

ALL = "all"  # the group of all questions
_KINDS = {
    "accuracy": "Accuracy",
    "relative_gain": "Relative gain in accuracy",
    "micro_f1": "F1 of questions with any number of right options, pooled",
    "macro_f1": "F1 of questions with any number of right options, mean over options",
    "ece": "Expected calibration error",
    "hallucination": "Hallucination rate",
}
_COUNTS = {
    "gallery": "questions that SFT learned from",
    "asked": "asked again",
    "failed": "failed",
    "unread": "of them, answers that cannot be read",
    "seeds": "seeds",
}


@dataclass(frozen=True, slots=True)
class TypeCell:
    """A policy's value for a type of question, and its paired differences from baselines other than the first."""

    cell: Cell
    against: tuple[tuple[str, Estimate, Verdict], ...]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One number of one type of question, for every policy that is compared."""

    info: MetricInfo
    name: str
    cells: tuple[TypeCell, ...]

    @property
    def sizes(self) -> list[int]:
        """How many questions the numbers of the row rest on, each number once."""
        found = [cell.cell.value or cell.cell.difference for cell in self.cells]
        return list(dict.fromkeys(e.n for e in found if e is not None))


@dataclass(frozen=True, slots=True)
class LengthSide:
    """How long the texts of one side are, in words."""

    name: str
    mean: float
    median: float
    most: int


def type_groups(data: ReportData, index: EstimateIndex) -> list[tuple[str, list[TypeRow]]]:
    """The numbers by type of question, those of one kind together."""
    names = [name for name in index.metrics if metric_info(name).group == "Types"]
    others = other_baselines(index)
    tests = tests_of(data.more.comparisons)
    groups = []
    for kind, title in _KINDS.items():
        rows = []
        for name in (name for name in names if name.rpartition(".")[2] == kind):
            info = metric_info(name, data.definitions)
            cells = [
                TypeCell(cell_of(info, policy, index, tests), _against(info, policy, index, others))
                for policy in data.shown
            ]
            group = name.split(".")[1]
            rows.append(TypeRow(info, type_label(ALL if group == kind else group), tuple(cells)))
        groups += [(title, rows)] if rows else []
    return groups


def other_baselines(index: EstimateIndex) -> list[str]:
    """The policies beside SFT that answers are compared with: those that learned from a draw at random."""
    found = [e.baseline for e in index.all if e.metric.startswith("vqa.") and e.baseline not in (None, BASELINE)]
    return [name for name in dict.fromkeys(found) if name is not None]


def _against(
    info: MetricInfo, policy: str, index: EstimateIndex, others: Sequence[str]
) -> tuple[tuple[str, Estimate, Verdict], ...]:
    found = ((name, index.get(info.name, policy, name)) for name in others)
    return tuple((name, e, verdict(e, info)) for name, e in found if e is not None)


def mining_claims(estimates: Sequence[Estimate], mining: Mining) -> list[Claim]:
    """One claim per policy on its gain over SFT, and one per policy of the mined set on that over a draw at random."""
    find = {(e.metric, e.policy, e.baseline): e for e in estimates}
    metric, out = f"vqa.{ALL}.relative_gain", []
    for policy, select in mining.of_arm.items():
        if (gain := find.get((metric, policy, BASELINE))) is not None:
            out.append(_claim(f"{policy}: learning from the set {select} makes answers more accurate.", gain))
        for other in mining.rivals.get(policy, ()) if select == "mined" else ():
            if (more := find.get((metric, policy, other))) is not None:
                out.append(_claim(f"{policy}: the set teaches more than as many questions at random do.", more))
    return out


def _claim(text: str, gain: Estimate) -> Claim:
    holds = None if gain.low is None else gain.low > 0
    return Claim(text, holds, f"relative gain over {gain.baseline} {estimate_text(gain)}; n {gain.n:,}")


def count_rows(mining: Mining) -> list[tuple[str, Mapping[str, int], int]]:
    """What was counted on the way to the sets: by type of question, and over all of them."""
    rows = []
    for name, counted in mining.counts.items():
        rows.append((_COUNTS.get(name, name.replace("_", " ")), counted, sum(counted.values())))
    return rows


def origins(wrong: WrongAnswers) -> list[str]:
    """Whose the wrong answers are, in a fixed order."""
    found = {name for column in wrong.ways.values() for name in column}
    return [name for name in ("own", "rules", "llm") if name in found]


def length_sides(wrong: WrongAnswers) -> list[LengthSide]:
    """How long chosen and rejected texts are; nothing where there are none."""
    sides = {"chosen": wrong.chosen_words, "rejected": wrong.rejected_words}
    return [LengthSide(name, fmean(w), median(w), max(w)) for name, w in sides.items() if w]


def longer(wrong: WrongAnswers) -> dict[str, float]:
    """The shares of pairs in which the chosen text is longer, both are as long, and the rejected one is."""
    gaps = [c - r for c, r in zip(wrong.chosen_words, wrong.rejected_words, strict=True)]
    if not gaps:
        return {}
    return {
        "chosen longer": sum(gap > 0 for gap in gaps) / len(gaps),
        "as long": sum(gap == 0 for gap in gaps) / len(gaps),
        "rejected longer": sum(gap < 0 for gap in gaps) / len(gaps),
    }


def asked_panels(mining: Mining, styles: Styles) -> list[CalibrationPanel]:
    """Calibration of the answers that mining started from, over all questions and by type."""
    return [CalibrationPanel(type_label(c.group), styles[BASELINE], c) for c in mining.calibration]


def calibration_plots(found: Sequence[Calibration], styles: Styles) -> list[tuple[str, Markup]]:
    """A plot for all questions and one per kind, with a panel per policy, the policy before training faint behind."""
    plots = []
    for group in (ALL, *get_args(QuestionKind)):
        own = [c for c in found if c.group == group and c.ece.policy in styles]
        before = next((c for c in own if c.ece.policy == BASELINE), None)
        panels = [
            CalibrationPanel(c.ece.policy, styles[c.ece.policy], c, None if c is before else before)
            for c in sorted(own, key=lambda c: list(styles).index(c.ece.policy))
        ]
        plot = calibration_plot(panels, f"calibration-{group}")
        plots += [(type_label(group), plot)] if plot else []
    return plots
