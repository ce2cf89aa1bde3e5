"""Tables of estimates: Markdown for documents, plain text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chexalign.present.data import BASELINE, CONTROL, Claim, ReportData
from chexalign.present.metrics import in_order, metric_info
from chexalign.present.numbers import MARKS, EstimateIndex, estimate_text, fixed, value_text, verdict
from chexalign.present.sections import gap_summary, length_summary, tax_summary
from chexalign.types import Estimate

_TERMINAL_METRICS = (
    *("chexpert.micro_f1_13", "mesh.micro_f1_13", "chexpert", "bertscore"),
    *("rouge_l", "bleu_4", "green", "words"),
)
_CLAIM_MARKS = {True: "yes", False: "no ", None: "?  "}


def markdown_table(estimates: Sequence[Estimate], policies: Sequence[str], metrics: Sequence[str]) -> str:
    """A table with one row per metric and one column per policy; values and differences with their intervals.

    A difference against the baseline stands under its value, bold where its interval excludes 0.
    """
    index = EstimateIndex(estimates)
    lines = ["| Metric | " + " | ".join(policies) + " |", "|---" * (len(policies) + 1) + "|"]
    for metric in metrics:
        cells = [_markdown_cell(index, metric, policy) for policy in policies]
        lines.append(f"| {_escaped(metric_info(metric).label)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def terminal_summary(data: ReportData, path: Path | None = None) -> str:
    """What the run says, for a terminal of 100 columns: claims, main metrics, differences, verdicts, place."""
    index = EstimateIndex(data.estimates)
    blocks = [[f"{data.title} ({data.run_name})", f"references: {data.references}"]]
    if data.synthetic:
        blocks[0].append("Images are synthetic phantoms: this shows the method, not clinical skill.")
    if data.headline:
        blocks.append([line for claim in data.headline for line in _claim_lines(claim)])
    metrics = [m for m in _TERMINAL_METRICS if m in index.metrics]
    if metrics:
        blocks.append(_value_lines(index, data, metrics))
        blocks.append(_difference_lines(index, data, metrics))
    blocks.append(_verdict_lines(index, data))
    if path is not None:
        blocks.append([f"Report: {path}"])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def estimate_rows(data: ReportData) -> list[Estimate]:
    """Every estimate in order of split, metric and policy, the difference after its value."""
    order = {metric: i for i, metric in enumerate(in_order(e.metric for e in data.estimates))}
    policies = {policy: i for i, policy in enumerate(data.policies)}

    def rank(e: Estimate) -> tuple[str, int, str, int, str, str]:
        place = policies.get(e.policy, len(policies))
        return (e.split, order.get(e.metric, len(order)), e.metric, place, e.policy, e.baseline or "")

    return sorted(data.estimates, key=rank)


def _markdown_cell(index: EstimateIndex, metric: str, policy: str) -> str:
    value, difference = index.get(metric, policy), index.difference(metric, policy)
    if value is None:
        return "–"
    if difference is None:
        return _escaped(estimate_text(value))
    text = _escaped(estimate_text(difference))
    text = f"**{text}**" if difference.excludes_zero else text
    return f"{_escaped(estimate_text(value))}<br>{text}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _claim_lines(claim: Claim) -> list[str]:
    return [f"  {_CLAIM_MARKS[claim.holds]}  {claim.text}", f"       {claim.evidence}"]


def _value_lines(index: EstimateIndex, data: ReportData, metrics: Sequence[str]) -> list[str]:
    control = [CONTROL] if any(e.policy == CONTROL for e in index.all) else []
    policies = [*data.shown, *control]
    rows = [[_short(metric), *(_plain(index.get(metric, p), metric) for p in policies)] for metric in metrics]
    return _columns([["", *policies], *rows])


def _difference_lines(index: EstimateIndex, data: ReportData, metrics: Sequence[str]) -> list[str]:
    arms = [arm for arm in data.arms if any(index.difference(m, arm) for m in metrics)]
    if not arms:
        return []
    rows = [[_short(metric), *(_marked(index.difference(metric, arm), metric) for arm in arms)] for metric in metrics]
    note = f"{MARKS['better']} better, {MARKS['worse']} worse, {MARKS['changed']} changed: the {index.levels} interval"
    head = [f"against {BASELINE}", *arms]
    return [*_columns([head, *rows]), f"  {note} of the paired difference excludes 0."]


def _verdict_lines(index: EstimateIndex, data: ReportData) -> list[str]:
    """What is told of length, of other judges and of other tasks, one line per policy."""
    gaps = [f"{e.policy}: own judge {estimate_text(e)} sd ahead of the others" for e in gap_summary(data, index)]
    told = (("length", length_summary(data)), ("judges", gaps), ("tasks", tax_summary(data)))
    return [f"  {name if i == 0 else '':8}{line}" for name, lines in told for i, line in enumerate(lines)]


def _short(metric: str) -> str:
    return metric_info(metric).label


def _plain(estimate: Estimate | None, metric: str) -> str:
    return "–" if estimate is None else value_text(estimate, metric_info(metric).decimals)


def _marked(estimate: Estimate | None, metric: str) -> str:
    if estimate is None or estimate.value is None:
        return "–"
    info = metric_info(metric)
    text = value_text(estimate, info.decimals)
    if estimate.low is not None and estimate.high is not None:
        low, high = (fixed(bound, info.decimals, signed=True) for bound in (estimate.low, estimate.high))
        text += f" [{low}, {high}]"
    return f"{text} {MARKS[verdict(estimate, info)] or ' '}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, the first column to the left and the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
