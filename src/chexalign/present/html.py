"""The report of a run: one HTML file that needs no network and stays readable without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from chexalign import atomic
from chexalign.present import mining_page, mining_plots, mining_words, plots, plots_more, sections, views
from chexalign.present.case_data import case_blocks, index_block
from chexalign.present.data import BASELINE, CONTROL, REFERENCE, ReportData
from chexalign.present.metrics import MetricInfo, in_order, metric_info
from chexalign.present.metrics_families import judge_label
from chexalign.present.mining_blocks import image_blocks, mined_index, question_blocks
from chexalign.present.numbers import MARKS, EstimateIndex, fixed, interval_text, p_text, value_text
from chexalign.present.svg import policy_styles
from chexalign.present.tables import estimate_rows
from chexalign.present.templating import page_environment

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("browser.js", "cases.js", "mined.js")  # one after another, as one script
_ROLES = {BASELINE: "before preference training", CONTROL: "control: another study's image"}


def write_report(data: ReportData, path: Path) -> None:
    """The report stands at `path`, whole, readable by its owner only: it holds report texts and images.

    Raises: UserError when the file cannot be written.
    """
    atomic.write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The HTML of the report; every text in it is escaped, and its policy forbids the browser to load anything."""
    environment = page_environment(_TEMPLATES)
    environment.filters |= {
        "fixed": lambda *args, **kwargs: _minus(fixed(*args, **kwargs)),
        "value": lambda *args: _minus(value_text(*args)),
        "interval": lambda *args: _minus(interval_text(*args)),
        "duration": duration,
        "p": p_text,
        "tax": sections.tax_word,
        "count": lambda n: f"{n:,}",
    }
    return environment.get_template("report.html.j2").render(_context(data))


def duration(seconds: float | None) -> str:
    """Seconds in the unit that reads best: `8.4 s`, `2 min 05 s`, `1 h 10 min`; a dash for None."""
    if seconds is None:
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _context(data: ReportData) -> Mapping[str, Any]:
    index = EstimateIndex(data.estimates)
    groups = views.main_table(data, index)
    style, script = _text("style.css"), Markup("").join(_text(name) for name in _SCRIPTS)
    level = max((e.level for e in index.all), default=0.90)
    return {
        "data": data,
        "index": index,
        "styles": policy_styles(data.policies),
        "roles": {p: _role(p, data) for p in dict.fromkeys((*data.policies, CONTROL))},
        "has_control": any(e.policy == CONTROL for e in index.all),
        "marks": MARKS,
        "steps": views.pipeline(data),
        "stage_totals": views.stage_totals(data.stages),
        "groups": groups,
        "findings": views.rows_of("Per finding", data, index),
        "chance": views.chance(groups, level),
        "significant": views.SIGNIFICANT,
        "labeled": views.rows_of("By labeler", data, index),
        "labels": [row for row in views.rows_of("Per label", data, index) if ".f1." in row.info.name],
        "length_rows": sections.length_rows(data, index),
        "length_rule": sections.LENGTH_RULE,
        "length_summary": sections.length_summary(data),
        "judge_rows": sections.judge_rows(data, index),
        "gaps": sections.gap_summary(data, index),
        "disagreements": sections.disagreements(data),
        "judge_label": judge_label,
        "task_rows": sections.task_rows(data, index),
        "control_rows": sections.control_rows(data, index),
        "tax_summary": sections.tax_summary(data),
        "tax_bound": sections.bound_of(data.more.tax),
        **_mining(data, index),
        "case_index": index_block(data),
        "case_blocks": case_blocks(data),
        "estimates": estimate_rows(data),
        "definitions": definitions(data, index),
        "methods": list(dict.fromkeys(e.method.split(";")[0] for e in index.all if e.low is not None)),
        "sizes": list(dict.fromkeys((e.n, e.n_clusters) for e in index.reports)),
        "plots": _plots(data, index),
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "baseline": BASELINE,
        "control": CONTROL,
        "reference": REFERENCE,
    }


def _role(policy: str, data: ReportData) -> str:
    """What a policy is to the others."""
    if data.mining is not None and policy in data.mining.of_arm:
        return f"after learning from the set {data.mining.of_arm[policy]}"
    return _ROLES.get(policy, "after preference training")


def _text(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _mining(data: ReportData, index: EstimateIndex) -> dict[str, Any]:
    """What the sections on mining and on types of question show."""
    mining, styles = data.mining, policy_styles(data.policies)
    found: dict[str, Any] = {
        "mining": mining,
        "type_groups": mining_page.type_groups(data, index),
        "other_baselines": mining_page.other_baselines(index),
        "type_plots": {
            "gains": mining_plots.gains_by_type_plot(index, data.arms, styles),
            "calibration": mining_page.calibration_plots(data.more.calibration, styles),
        },
    }
    if mining is None:
        return found | {"mined_blocks": (), "film_blocks": ()}
    return found | {
        "set_words": mining_words.SETS,
        "origin_words": mining_words.ORIGINS,
        "kind_words": mining_words.KINDS,
        "count_rows": mining_page.count_rows(mining),
        "mined_index": mined_index(mining),
        "mined_blocks": question_blocks(mining),
        "film_blocks": image_blocks(mining),
        "origins": mining_page.origins(mining.wrong) if mining.wrong else [],
        "length_sides": mining_page.length_sides(mining.wrong) if mining.wrong else [],
        "longer": mining_page.longer(mining.wrong) if mining.wrong else {},
        "mining_plots": {
            "purity": mining_plots.purity_plot(mining.purity, styles[BASELINE], mining.likeness),
            "calibration": mining_plots.calibration_plot(mining_page.asked_panels(mining, styles), "asked"),
            "words": mining_plots.words_plot(mining.wrong, styles[BASELINE]) if mining.wrong else None,
        },
    }


def definitions(data: ReportData, index: EstimateIndex) -> list[MetricInfo]:
    """Every metric of the report with its sentence, those with tables of their own behind; equal sentences once."""
    first = [metric_info(name, data.definitions) for name in in_order(index.metrics)]
    more = [metric_info(name, data.definitions) for name in index.metrics]
    apart = {
        info.definition: info for info in more if info.group in ("By labeler", "Length", "Judges", "Tasks", "Types")
    }
    return first + list(apart.values())


def _plots(data: ReportData, index: EstimateIndex) -> dict[str, Any]:
    styles = policy_styles(data.policies)
    return {
        "forest": plots.forest_plot(index, data.arms, styles),
        "before_after": plots.before_after_plot(index, data.shown, styles),
        "control": plots.control_plot(index, styles),
        "length": plots.length_plot(index, data.shown, styles),
        "win_rate": plots_more.win_rate_plot(data.more.length_groups, styles),
        "gains": plots_more.gains_plot(index, data.arms, styles),
        "tax": plots_more.tax_plot(index, data.arms, styles, sections.bound_of(data.more.tax)),
        "curves": plots.curves_plot(data.curves, styles),
        "pairs": [plots.pairs_plot(pairs, styles, f"pairs-{i}") for i, pairs in enumerate(data.pair_sets)],
    }


def _minus(text: str) -> str:
    """The text with minus signs instead of hyphens before digits, as numbers are set in print."""
    return text if text.startswith("(") else text.replace("-", "−")
