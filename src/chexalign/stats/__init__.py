"""Intervals and paired tests over per-study values that were computed once; numpy only."""

from chexalign.stats.bca import Interval
from chexalign.stats.bootstrap import FEWEST_CLUSTERS, Bootstrap
from chexalign.stats.randomization import PairedTests, holm, paired_f1_p, paired_p, with_holm
from chexalign.stats.sums import bootstrap_weights

__all__ = [
    "FEWEST_CLUSTERS",
    "Bootstrap",
    "Interval",
    "PairedTests",
    "bootstrap_weights",
    "holm",
    "paired_f1_p",
    "paired_p",
    "with_holm",
]
