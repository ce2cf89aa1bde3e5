"""The metrics with a name of their own: what each is called, which way is better, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal[
    "Findings",
    "Text overlap",
    "Length and form",
    "Other",
    "Per finding",
    "By labeler",
    "Per label",
    "Length",
    "Judges",
    "Tasks",
    "Types",
]
Better = Literal[-1, 0, 1]
GROUPS: tuple[Group, ...] = ("Findings", "Text overlap", "Length and form", "Other")
"""Those of the main table; the others have tables of their own."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How a metric is shown: `better` is 1 (more is better), -1 (less is better) or 0 (neither)."""

    name: str
    label: str
    group: Group
    better: Better
    definition: str
    decimals: int = 3


KNOWN: tuple[MetricInfo, ...] = (
    MetricInfo(
        "chexpert",
        "Label agreement per report",
        "Findings",
        1,
        "F1 of the positive findings of the written and the reference report, for each report, then averaged; "
        "1 when both name none.",
    ),
    MetricInfo(
        "f1_no_finding",
        "No Finding, F1",
        "Findings",
        1,
        "F1 of the label No Finding, kept apart from the 13 findings: counted with them, a policy that calls every "
        "study normal would look good.",
    ),
    MetricInfo(
        "bertscore",
        "BERTScore",
        "Text overlap",
        1,
        "F1 of matched token embeddings of written and reference report (all-MiniLM-L6-v2, layer 6, no rescaling).",
    ),
    MetricInfo("rouge_l", "ROUGE-L", "Text overlap", 1, "F1 of the longest common subsequence of words."),
    MetricInfo("bleu_4", "BLEU-4", "Text overlap", 1, "Sentence BLEU up to 4-grams, smoothed, averaged over reports."),
    MetricInfo("green", "GREEN", "Findings", 1, "Share of matched findings among matches and significant errors."),
    MetricInfo(
        "green_style",
        "GREEN-style",
        "Findings",
        1,
        "GREEN's formula on the errors that a general language model counts, so not GREEN itself.",
    ),
    MetricInfo("green_compat", "GREEN, as published", "Findings", 1, "GREEN with the parsing of its authors' code."),
    MetricInfo(
        "chexbert",
        "CheXbert agreement per report",
        "Findings",
        1,
        "F1 of the labels that CheXbert gives the written and the reference report, for each report, then averaged; "
        "1 when both have none.",
    ),
    MetricInfo("llm", "Language model's rating", "Findings", 1, "What a language model answers when asked to rate."),
    MetricInfo("radgraph", "RadGraph F1", "Findings", 1, "F1 of clinical entities and of how they are related."),
    MetricInfo("ratescore", "RaTEScore", "Findings", 1, "Similarity of the medical entities of both reports."),
    MetricInfo("radcliq", "RadCliQ", "Findings", 0, "A published regression of other metrics on radiologists' errors."),
    MetricInfo("crimson", "CRIMSON", "Findings", 1, "Findings weighted by what they mean for the patient."),
    MetricInfo(
        "knowledge",
        "Agreement of knowledge",
        "Findings",
        1,
        "Whether the answers agree, and how far findings, places and their relations do, for each text, then averaged.",
    ),
    MetricInfo("radeval", "RadEval", "Findings", 0, "The metric of the package RadEval that the recipe names."),
    MetricInfo(
        "words", "Words per report", "Length and form", 0, "Words in the written report; neither way is better.", 1
    ),
    MetricInfo(
        "words_vs_reference",
        "Words, written / reference",
        "Length and form",
        0,
        "Words of the written report over words of the reference, averaged over reports; 1 is the reference's length.",
    ),
    MetricInfo(
        "findings_per_report",
        "Findings named per report",
        "Length and form",
        0,
        "Positive findings that the rules read in the written report, of 13; neither way is better by itself.",
    ),
    MetricInfo(
        "repetition",
        "Repeated sentences",
        "Length and form",
        -1,
        "Share of a report's sentences that are equal to an earlier one.",
    ),
    MetricInfo(
        "truncated",
        "Cut off",
        "Length and form",
        -1,
        "Share of reports that reached the token limit before they ended.",
    ),
    MetricInfo("empty", "Empty", "Length and form", -1, "Share of reports without a word."),
)
BY_NAME = {info.name: info for info in KNOWN}
