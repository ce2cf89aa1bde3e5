"""A sweep as text: a table of trials, the best first, and what picking by the raw score would have cost."""

from __future__ import annotations

from typing import Any

_ABSENT = "-"


def as_text(found: dict[str, Any]) -> str:
    """The content of sweep.json for people; every number with its interval or the reason why it has none."""
    raw = found["select"].removeprefix("lc-")
    metrics = (found["select"], raw, "words", "verbosity_vs_reference")
    done = sorted((t for t in found["trials"] if t["state"] == "done"), key=lambda t: -_of(t, metrics[0])["value"])
    rows = [["trial", *found["space"], *metrics]]
    rows += [[str(t["trial"]), *_parameters(t), *(_shown(_of(t, m)) for m in metrics)] for t in done]
    sft = {"estimates": found["sft"]}
    rows.append(["sft", *(_ABSENT for _ in found["space"]), *(_shown(_of(sft, m)) for m in metrics)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"trial {t['trial']} failed: {t['reason']}" for t in found["trials"] if t["state"] == "failed"]
    first = found["sft"][0]
    lines.append(f"{first['n']} studies of {first['n_clusters']} patients ({found['split']}), {first['level']:.0%} of:")
    lines.append(f"  {first['method']}")
    return "\n".join([*lines, "", *_choice(found, raw)])


def _choice(found: dict[str, Any], raw: str) -> list[str]:
    """Which trial is picked, and the price of the other choice."""
    picked, other = found["picked"], found["raw_winner"]
    if picked is None:
        return ["No trial can be picked."]
    settings = " ".join(f"--set arms.{found['arm']}.{key}={value}" for key, value in picked["parameters"].items())
    lines = [f"Picked by {found['select']}: trial {picked['trial']} ({settings})"]
    if not found["cost_of_raw"]:
        return [*lines, f"{raw} without length control picks the same trial, so it would have cost nothing."]
    cost = {e["metric"]: e for e in found["cost_of_raw"]}
    longer = cost[f"verbosity_vs_{picked['name']}"]
    return [
        *lines,
        f"{raw} without length control picks trial {other['trial']}. Against the picked one, study by study:",
        *(f"  {metric} {_shown(cost[metric], sign='+')}" for metric in (raw, found["select"], "words")),
        f"  its length as a multiple {_shown(longer)}",
    ]


def _of(trial: dict[str, Any], metric: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in trial["estimates"] if e["metric"] == metric and e["baseline"] is None)
    return found


def _parameters(trial: dict[str, Any]) -> list[str]:
    return [str(value) for value in trial["parameters"].values()]


def _shown(estimate: dict[str, Any], sign: str = "") -> str:
    if estimate["value"] is None:
        return "none"
    value = f"{estimate['value']:{sign}.3f}"
    if estimate["low"] is None:
        return f"{value} [no interval]"
    return f"{value} [{estimate['low']:{sign}.3f}, {estimate['high']:{sign}.3f}]"
