"""The ticks of a report's plots where all values are one, as those of a policy that finds nothing."""

from __future__ import annotations

import re

import pytest

from chexalign.present.numbers import EstimateIndex
from chexalign.present.plots import before_after_plot, control_plot, forest_plot, length_plot
from chexalign.present.plots_more import gains_plot, tax_plot
from chexalign.present.svg import policy_styles
from chexalign.types import Estimate

METRICS = ("chexpert", "rouge_l", "repetition", "words", "words_vs_reference", "task.view.accuracy", "gain_sd.green")
STYLES = policy_styles(["sft", "sft_shuffled", "dpo"])
TINY = 1.5e-17  # what is left of a difference of equal means


def estimates(value: float, noise: float) -> EstimateIndex:
    """Every policy has one value on every metric, up to rounding."""
    about = {"split": "test", "level": 0.9, "n": 60, "n_clusters": 60, "method": "by hand"}
    rows = []
    for metric in METRICS:
        for policy in STYLES:
            ends = {"value": value, "low": value, "high": value + noise}
            rows.append(Estimate(metric=metric, policy=policy, **ends, **about))
            if policy != "sft":
                ends = {"value": noise, "low": -noise, "high": noise}
                rows.append(Estimate(metric=metric, policy=policy, baseline="sft", **ends, **about))
    return EstimateIndex(rows)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("noise", [0.0, TINY])
def test_one_value_has_plain_ticks_around_it(value, noise):
    index = estimates(value, noise)
    plots = [
        before_after_plot(index, ["sft", "dpo"], STYLES),
        length_plot(index, ["sft", "dpo"], STYLES),
        control_plot(index, STYLES),
        forest_plot(index, ["dpo"], STYLES),
        gains_plot(index, ["dpo"], STYLES),
        tax_plot(index, ["dpo"], STYLES, None),
    ]
    for plot in plots:
        assert plot is not None
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", plot)
        ticks = [float(text.replace("−", "-")) for text in texts if re.fullmatch(r"−?\d+(\.\d+)?", text)]
        assert len(set(ticks)) >= 2
        assert max(abs(tick) for tick in ticks) <= 1.1
        assert not [text for text in texts if re.search(r"\de|10\^|\+\d", text)]
