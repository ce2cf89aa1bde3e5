"""Which findings of the CheXalign paper appear in results/matrix.json, by rules that docs/results.md states."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chexalign.run_folder import SFT

Figure = Mapping[str, Any]

APPEARS, MIXED, ABSENT, OPPOSITE, UNKNOWN = "appears", "mixed", "does not appear", "opposite", "not measured"
IN_PART, AGAINST, DIFFERS, NOTHING = "in part", "opposite in part", "differs by arm", "nothing to lose"
GUESSED = {"view": 0.5, "presence": 0.5, "multi_disease": 0.0}  # what guessing brings: of two answers; of lists
NAMES = {"dpo": "DPO", "lc_dpo": "LC-DPO", "ipo": "IPO", "kto": "KTO", "orpo": "ORPO"}


class Matrix:
    """What results/matrix.json says, by seed and arm."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content, self.figures = content, content["figures"]
        self.seeds: list[int] = list(content["seeds"])
        self.judge: dict[str, str] = content["arms"]
        self.algorithm: dict[str, str] = {a: content["recipe"]["arms"][a]["train"]["algorithm"] for a in self.judge}

    @property
    def level(self) -> float:
        """Coverage of the intervals."""
        level: float = self.content["recipe"]["evaluate"]["level"]
        return level

    def each(self, name: str) -> list[Figure | None]:
        """A figure of every seed, None where there is none."""
        return [self.figures.get(f"matrix.seed{seed}.{name}") for seed in self.seeds]

    def over_seeds(self, found: Sequence[Figure | None]) -> Figure | None:
        """The mean of the seeds' values with its t interval, at the level of theirs; None where a value is missing."""
        there = [figure for figure in found if figure is not None and figure["value"] is not None]
        if not there or len(there) < len(found):
            return None
        kept = {key: value for key, value in there[0].items() if key in ("unit", "baseline", "level")}
        return {**kept, **t_interval([figure["value"] for figure in there], there[0]["level"]), "n": len(there)}

    def named(self, arm: str) -> str:
        """`LC-DPO by bertscore`."""
        algorithm = self.algorithm[arm]
        return f"{NAMES.get(algorithm, algorithm)} by {self.judge[arm]}"


def t_interval(values: Sequence[float], level: float) -> dict[str, float | None]:
    """The mean and its interval by Student's t; no interval from one value."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"value": mean, "low": None, "high": None}
    error = statistics.stdev(values) / len(values) ** 0.5
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * error
    return {"value": mean, "low": mean - half, "high": mean + half}


def side(figure: Figure | None) -> int | None:
    """1 or -1 where the interval lies above or below 0, 0 where it holds 0; None without an interval."""
    if figure is None or figure.get("low") is None:
        return None
    return (figure["low"] > 0) - (figure["high"] < 0)


def verdict(sides: Sequence[int | None]) -> str:
    """What seeds say together; 1 is the paper's side, -1 the other, 0 neither, None not measured."""
    if not sides or None in sides:
        return UNKNOWN
    if all(found == 1 for found in sides):
        return APPEARS
    if all(found == -1 for found in sides):
        return OPPOSITE
    return MIXED if 1 in sides else ABSENT


@dataclass(frozen=True)
class Claim:
    """Something that the paper found, and how it is looked for here: on which side of 0 each arm lies on each seed."""

    key: str
    says: str
    sides: Callable[[Matrix, str], list[int | None]]
    shown: Callable[[Matrix, str], str] | None = None  # name of the figure of an arm that the page's table shows
    subjects: Callable[[Matrix], list[str]] = lambda matrix: list(matrix.judge)
    vacuous: Callable[[Matrix], bool] = lambda _: False  # whether SFT leaves nothing to be found

    def verdicts(self, matrix: Matrix) -> dict[str, str]:
        """The verdict on each arm, or on each judge."""
        found = {subject: verdict(self.sides(matrix, subject)) for subject in self.subjects(matrix)}
        if not self.vacuous(matrix):
            return found
        return {subject: NOTHING if word in (APPEARS, MIXED) else word for subject, word in found.items()}

    def overall(self, matrix: Matrix) -> str:
        """One verdict for all of them."""
        found = set(self.verdicts(matrix).values())
        if not found or UNKNOWN in found:
            return UNKNOWN
        if len(found) == 1:
            return found.pop()
        if {APPEARS, OPPOSITE} <= found:
            return DIFFERS
        return IN_PART if APPEARS in found else MIXED if MIXED in found else AGAINST if OPPOSITE in found else ABSENT


def _moves(key: str, says: str, name: Callable[[Matrix, str], str]) -> Claim:
    """A claim that a figure lies above 0."""
    return Claim(key, says, lambda matrix, arm: [side(figure) for figure in matrix.each(name(matrix, arm))], name)


def _metric(metric: str) -> Callable[[Matrix, str], str]:
    return lambda _, arm: f"{metric}.delta.{arm}"


def _own(form: str) -> Callable[[Matrix, str], str]:
    return lambda matrix, arm: f"{form}{matrix.judge[arm]}.delta.{arm}"


def other_judge(matrix: Matrix, arm: str) -> str:
    """The difference by a judge that other arms learned from and this one did not."""
    return f"{next(judge for judge in matrix.judge.values() if judge != matrix.judge[arm])}.delta.{arm}"


def _tax(task: str, words: str) -> Claim:
    """A claim that no more is lost than the bound, as each run decided."""
    metric = "task.mean.accuracy" if task == "mean" else f"task.{task}.accuracy"

    def sides(matrix: Matrix, arm: str) -> list[int | None]:
        found = [matrix.content["verdicts"][f"seed{s}"]["tax"].get(f"{arm}.{metric}") for s in matrix.seeds]
        return [{"pass": 1, "fail": -1, "open": 0}.get(word) for word in found]

    name = "presence" if task == "binary" else task  # as results/matrix.json calls it

    def vacuous(matrix: Matrix) -> bool:
        bound = matrix.content["recipe"]["questions"]["tax_bound"]
        return name in GUESSED and any(
            figure is None or figure["low"] is None or figure["low"] <= GUESSED[name] + bound
            for figure in matrix.each(f"tax.{name}.{SFT}")
        )

    return Claim(f"tax.{name}", f"no accuracy is lost {words}", sides, _metric(f"tax.{name}"), vacuous=vacuous)


def shorter(matrix: Matrix, judge: str) -> Figure | None:
    """The words that LC-DPO adds to SFT's less those that DPO adds, over seeds."""
    arms = {matrix.algorithm[arm]: arm for arm, own in matrix.judge.items() if own == judge}
    if not {"dpo", "lc_dpo"} <= arms.keys():
        return None
    pairs = zip(*(matrix.each(f"words.delta.{arms[name]}") for name in ("lc_dpo", "dpo")), strict=True)
    gaps = [a and b and {**a, "value": a["value"] - b["value"]} for a, b in pairs]
    return matrix.over_seeds(gaps)


def _shorter_side(matrix: Matrix, judge: str) -> list[int | None]:
    found = side(shorter(matrix, judge))
    return [None if found is None else -found]


def _judges(matrix: Matrix) -> list[str]:
    return list(dict.fromkeys(matrix.judge.values()))


CLAIMS = {
    claim.key: claim
    for claim in (
        _moves("judge", "the score of the judge that was learned from rises", _own("")),
        _moves("judge_lc", "it rises with length control too", _own("lc_")),
        _moves(
            "reference_micro",
            "micro F1 of the labels against those of the radiologist's report rises",
            _metric("micro_f1_13_vs_reference"),
        ),
        _moves(
            "reference_macro",
            "macro F1 of the labels against those of the radiologist's report rises",
            _metric("macro_f1_13_vs_reference"),
        ),
        _moves("mesh_micro", "micro F1 of the labels against the human codes rises", _metric("micro_f1_13_vs_mesh")),
        _moves("mesh_macro", "macro F1 of the labels against the human codes rises", _metric("macro_f1_13_vs_mesh")),
        _moves("words", "reports grow longer", _metric("words")),
        Claim("shorter", "LC-DPO writes fewer words than DPO", _shorter_side, subjects=_judges),
        _tax("view", "on views"),
        _tax("binary", "on the presence of a finding"),
        _tax("multi_disease", "on questions with several findings"),
        _tax("mean", "on the mean of the three tasks"),
        _moves(
            "gap", "the judge that was learned from gains more than the others", lambda _, arm: f"goodhart_gap.{arm}"
        ),
        _moves("other_judge", "the judge that was not learned from gains too", other_judge),
    )
}
