"""What each metric is called, which way is better, and what it means in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from chexalign.present.metrics_families import FAMILIES
from chexalign.present.metrics_known import BY_NAME, GROUPS, Group, MetricInfo

__all__ = ["GROUPS", "Group", "MetricInfo", "in_order", "metric_info"]

_ORDER = [
    *("chexpert.micro_f1_13", "chexpert.macro_f1_13", "mesh.micro_f1_13", "mesh.macro_f1_13", "chexpert"),
    *("f1_no_finding", "no_finding.micro_f1_1", "chexbert.average_f1", "chexbert", "green"),
    *("bertscore", "rouge_l", "bleu_4"),
    *("words", "words_vs_reference", "findings_per_report", "repetition", "truncated", "empty"),
]


def metric_info(name: str, definitions: Mapping[str, str] | None = None) -> MetricInfo:
    """What is known of a metric; an unknown one keeps its name and is colored neither better nor worse.

    `definitions` replaces the sentence of a metric, by name.
    """
    info = BY_NAME.get(name) or next((found for family in FAMILIES if (found := family(name))), None)
    info = info or MetricInfo(name, name, "Other", 0, "A metric of this run that this report has no definition for.")
    return replace(info, definition=definitions[name]) if definitions and name in definitions else info


def in_order(names: Iterable[str]) -> list[str]:
    """The metrics that the main table shows, each once: findings first, then overlap, then form, then the rest.

    Those with tables of their own are left out: F1 per finding, length, other judges, answers. So is the macro F1 of a
    single label, which equals its micro.
    """
    distinct = dict.fromkeys(names)
    kept = [n for n in distinct if metric_info(n).group in GROUPS and not n.endswith(".macro_f1_1")]
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(kept, key=lambda n: (GROUPS.index(metric_info(n).group), rank.get(n, len(rank))))
