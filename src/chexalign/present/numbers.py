"""How numbers are written: a value with its interval, a signed difference with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chexalign.evaluate.tasks import BY_ANSWERS
from chexalign.present.data import BASELINE
from chexalign.present.metrics import MetricInfo, metric_info
from chexalign.types import Estimate

Verdict = Literal["better", "worse", "changed", "unclear"]
MARKS: dict[Verdict, str] = {"better": "▲", "worse": "▼", "changed": "◆", "unclear": ""}


def fixed(value: float, decimals: int = 3, *, signed: bool = False) -> str:
    """The number with fixed decimals; one that rounds to zero carries no sign.

    Examples: `fixed(0.4749)` is `0.475`, `fixed(0.02, signed=True)` is `+0.020`, `fixed(-0.0001)` is `0.000`.
    """
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def value_text(estimate: Estimate, decimals: int = 3) -> str:
    """The value, signed when it is a difference; a dash when there is none."""
    if estimate.value is None:
        return "–"
    return fixed(estimate.value, decimals, signed=estimate.baseline is not None)


def interval_text(estimate: Estimate, decimals: int = 3) -> str:
    """The interval in brackets, or why there is none."""
    if estimate.low is None or estimate.high is None:
        return reason_text(estimate)
    signed = estimate.baseline is not None
    return f"[{fixed(estimate.low, decimals, signed=signed)}, {fixed(estimate.high, decimals, signed=signed)}]"


def estimate_text(estimate: Estimate, decimals: int | None = None) -> str:
    """Value and interval in one line: `0.475 [0.452, 0.497]`; decimals default to those of the metric."""
    places = metric_info(estimate.metric).decimals if decimals is None else decimals
    return f"{value_text(estimate, places)} {interval_text(estimate, places)}"


def reason_text(estimate: Estimate) -> str:
    """Why an estimate has no interval, as its method says."""
    reason = estimate.method.split(";")[0].strip()
    return f"({reason})" if reason.startswith(("no interval", "no value")) else f"(no interval: {reason})"


def p_text(p: float) -> str:
    """A p value for print: `p 0.012`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def verdict(estimate: Estimate, info: MetricInfo) -> Verdict:
    """Unclear when the interval of a difference holds 0, else better, worse, or changed for a neutral metric."""
    if estimate.baseline is None or not estimate.excludes_zero:
        return "unclear"
    if info.better == 0:
        return "changed"
    return "better" if ((estimate.low or 0.0) > 0) == (info.better > 0) else "worse"


class EstimateIndex:
    """Looks estimates of one split up by metric, policy and baseline.

    The split is the one most estimates of reports belong to, and for those of answers, which can be of another, the one
    most of these do; others stay in the full list of the report.
    """

    def __init__(self, estimates: Sequence[Estimate]) -> None:
        reports = [e for e in estimates if not e.metric.startswith(BY_ANSWERS)]
        answers = [e for e in estimates if e.metric.startswith(BY_ANSWERS)]
        self.split, self.answer_split = _most_common_split(reports), _most_common_split(answers)
        self.reports = [e for e in reports if e.split == self.split]
        self.all = self.reports + [e for e in answers if e.split == self.answer_split]
        self._by_key = {(e.metric, e.policy, e.baseline): e for e in self.all}

    def get(self, metric: str, policy: str, baseline: str | None = None) -> Estimate | None:
        """The estimate, or None where the run did not make it."""
        return self._by_key.get((metric, policy, baseline))

    def difference(self, metric: str, policy: str) -> Estimate | None:
        """The paired difference of a policy against the baseline."""
        return self.get(metric, policy, BASELINE)

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in the order they came."""
        return list(dict.fromkeys(e.metric for e in self.all))

    @property
    def levels(self) -> str:
        """The levels of the intervals in words: `90%`."""
        return " and ".join(f"{level:.0%}" for level in sorted({e.level for e in self.all}))


def _most_common_split(estimates: Sequence[Estimate]) -> str:
    splits = [e.split for e in estimates]
    return max(dict.fromkeys(splits), key=splits.count) if splits else ""
