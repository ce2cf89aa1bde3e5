"""The numbers of the sample report; every one is made up."""

from __future__ import annotations

from chexalign.evaluate.cross_judge import Disagreement
from chexalign.evaluate.length import LengthGroup
from chexalign.evaluate.length_verdict import LengthVerdict
from chexalign.evaluate.numbers import Numbers
from chexalign.evaluate.tasks import tax_verdicts
from chexalign.types import Comparison, Estimate

ARMS = ("dpo_label", "dpo_bertscore", "null_pairs")
POLICIES = ("sft", *ARMS)
METHOD = "percentile bootstrap, 1000 resamples of 581 clusters, seed 11"

# metric: (value of sft, half of its interval, value of the control, differences of the arms, half of their intervals)
NUMBERS: dict[str, tuple[float, float, float, tuple[float, float, float], float]] = {
    "chexpert": (0.588, 0.028, 0.381, (0.041, -0.012, 0.004), 0.019),
    "bertscore": (0.627, 0.009, 0.588, (0.007, 0.038, -0.006), 0.008),
    "rouge_l": (0.281, 0.012, 0.233, (0.004, 0.021, -0.003), 0.010),
    "bleu_4": (0.094, 0.008, 0.061, (0.001, 0.015, -0.002), 0.007),
    "words": (24.9, 0.6, 25.3, (0.8, 5.2, -0.4), 0.7),
    "words_vs_reference": (0.93, 0.03, 0.94, (0.03, 0.20, -0.02), 0.03),
    "findings_per_report": (0.74, 0.05, 0.78, (0.21, -0.10, 0.02), 0.06),
    "repetition": (0.006, 0.004, 0.005, (0.002, 0.021, 0.001), 0.005),
    "truncated": (0.0, 0.0, 0.0, (0.0, 0.003, 0.0), 0.004),
    "chexpert.micro_f1_13": (0.412, 0.031, 0.104, (0.077, -0.035, 0.006), 0.029),
    "chexpert.macro_f1_13": (0.306, 0.034, 0.071, (0.049, -0.028, 0.008), 0.033),
    "mesh.micro_f1_13": (0.431, 0.030, 0.107, (0.069, -0.041, 0.009), 0.030),
    "mesh.macro_f1_13": (0.322, 0.036, 0.075, (0.038, -0.030, 0.002), 0.035),
    "no_finding.micro_f1_1": (0.689, 0.027, 0.442, (-0.018, 0.012, 0.003), 0.022),
    "no_finding.macro_f1_1": (0.689, 0.027, 0.442, (-0.018, 0.012, 0.003), 0.022),
}

# metric: (values of the policies, sft first, halves of their intervals, whether they are differences from sft)
MORE: dict[str, tuple[tuple[float, ...], float, bool]] = {
    "verbosity_vs_sft": ((1.03, 1.21, 0.98), 0.03, False),
    "verbosity_vs_reference": ((0.81, 0.84, 0.98, 0.80), 0.03, False),
    "gain_sd.chexpert": ((0.12, -0.04, 0.01), 0.06, True),
    "gain_sd.bertscore": ((0.05, 0.31, -0.04), 0.06, True),
    "gain_sd.rouge_l": ((0.03, 0.14, -0.02), 0.07, True),
    "gain_sd.bleu_4": ((0.01, 0.11, -0.01), 0.07, True),
    "goodhart_gap": ((0.09, 0.24, 0.03), 0.05, True),
    "chexbert.micro_f1_14": ((0.452, 0.498, 0.430, 0.455), 0.028, False),
    "chexbert.macro_f1_14": ((0.301, 0.332, 0.284, 0.299), 0.030, False),
    "chexbert.micro_f1_5": ((0.488, 0.541, 0.455, 0.490), 0.034, False),
    "chexbert.macro_f1_5": ((0.402, 0.447, 0.371, 0.405), 0.036, False),
    "task.mean.accuracy": ((0.741, 0.732, 0.690, 0.739), 0.02, False),
    "task.view.accuracy": ((0.951, 0.948, 0.940, 0.950), 0.012, False),
    "task.presence.accuracy": ((0.702, 0.699, 0.611, 0.700), 0.025, False),
    "task.presence.sample.frontal.accuracy": ((0.731, 0.722, 0.640, 0.729), 0.031, False),
    "task.presence.sample.lateral.accuracy": ((0.655, 0.660, 0.560, 0.652), 0.042, False),
    "task.findings.accuracy": ((0.570, 0.549, 0.519, 0.567), 0.032, False),
    "task.view.unread": ((0.002, 0.003, 0.011, 0.002), 0.004, False),
    "task.presence.unread": ((0.006, 0.008, 0.047, 0.007), 0.009, False),
    "task.findings.unread": ((0.014, 0.016, 0.058, 0.013), 0.012, False),
    "task.view.other_order": ((0.947, 0.945, 0.931, 0.948), 0.013, False),
    "task.findings.other_order": ((0.561, 0.540, 0.488, 0.562), 0.033, False),
    "task.findings.same_answer": ((0.884, 0.871, 0.790, 0.880), 0.025, False),
    "task.findings.by_likelihood": ((0.592, 0.590, 0.571, 0.593), 0.031, False),
}
LEARNED_FROM = {"dpo_label": "chexpert", "dpo_bertscore": "bertscore", "null_pairs": "chexpert"}
BOUND = 0.02


def more_estimates() -> list[Estimate]:
    """The numbers on length, other judges and answers."""
    rows = []
    for metric, (values, half, differs) in MORE.items():
        policies = POLICIES[-len(values) :]
        baseline = "sft" if differs else None
        rows += [made_up(metric, p, v, half, baseline=baseline) for p, v in zip(policies, values, strict=True)]
        if metric.startswith(("task.", "chexbert.")) and metric.endswith(("accuracy", "14", "5", "likelihood")):
            rows += [
                made_up(metric, p, v - values[0], 0.7 * half, baseline="sft")
                for p, v in zip(ARMS, values[1:], strict=True)
            ]
    for arm, won, level, slope in zip(ARMS, (0.55, 0.64, 0.50), (0.55, 0.51, 0.50), (0.01, 0.06, 0.0), strict=True):
        own = LEARNED_FROM[arm]
        rows.append(made_up(f"{own}.win_rate_vs_sft", arm, won, 0.03))
        rows.append(made_up(f"{own}.lc_win_rate_vs_sft", arm, level, 0.03))
        rows.append(made_up(f"{own}.gain.per_10_words", arm, slope, 0.012))
    return rows


def more_numbers() -> Numbers:
    """Tests, verdicts and disagreements to go with them."""
    tested = [(m, a, e) for m, row in NUMBERS.items() for a, e in zip(ARMS, row[3], strict=True) if m in TESTED]
    p = {m: NUMBERS[m][4] for m in TESTED}
    gains = {"sample-02": (1.8, -1.1), "sample-05": (-1.5, 1.2), "sample-07": (0.2, 2.4), "sample-11": (0.0, 1.6)}
    return Numbers(
        comparisons=[_tested(metric, arm, delta, abs(delta) / p[metric]) for metric, arm, delta in tested],
        disagreements=[
            Disagreement(study, arm, {"chexpert": label, "bertscore": overlap})
            for arm in ("dpo_label", "dpo_bertscore")
            for study, (label, overlap) in gains.items()
        ],
        length=[
            LengthVerdict("dpo_label", "chexpert", "no growth"),
            LengthVerdict("dpo_bertscore", "bertscore", "longer only"),
            LengthVerdict("null_pairs", "chexpert", "no growth"),
        ],
        tax=tax_verdicts(more_estimates(), bound=BOUND),
        length_groups=[
            LengthGroup(4 * i - 20, 4 * i - 17, made_up(f"{LEARNED_FROM[arm]}.win_rate_vs_sft.x", arm, rate, 0.09))
            for arm, slope in zip(ARMS, (0.004, 0.045, 0.0), strict=True)
            for i, rate in ((i, 0.53 + slope * (i - 5)) for i in range(10))
        ],
    )


TESTED = ("chexpert", "bertscore", "rouge_l", "bleu_4", "chexpert.micro_f1_13", "mesh.micro_f1_13")


def _tested(metric: str, arm: str, delta: float, halves: float) -> Comparison:
    """A made-up p value that fits the made-up interval."""
    p = 0.9 / (1 + halves**6 * 14)
    return Comparison(metric, arm, "sft", delta, round(p, 4), round(min(1.0, 3 * p), 4), "made up")


def made_up(
    metric: str, policy: str, value: float, half: float, *, baseline: str | None = None, cases: int | None = None
) -> Estimate:
    """An estimate with an interval of about this half width."""
    known = cases is None or cases > 3
    note = "" if cases is None else f"; {cases} true cases"
    return Estimate(
        metric=metric,
        policy=policy,
        split="test",
        value=value,
        low=value - half * 0.97 if known else None,
        high=value + half * 1.03 if known else None,
        level=0.90,
        n=581,
        n_clusters=581,
        method=(METHOD if known else "no interval: 3 clusters, fewer than 20") + note,
        baseline=baseline,
    )
