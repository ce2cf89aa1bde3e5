"""The model card of a trained checkpoint: what it was made from and how, and what it is not for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chexalign import __version__, artifact, atomic


@dataclass(frozen=True, slots=True)
class About:
    """What a job knows of its training beside the numbers; nothing here holds report text."""

    name: str  # of the policy in its run: `sft`, or an arm
    base: str  # name of the policy that training began with
    algorithm: str
    spec: dict[str, Any]  # the recipe's block, as plain values
    lora: dict[str, Any] | None
    frozen: Sequence[str]
    recipe: str  # digest of the recipe
    licenses: Sequence[str]  # of the studies
    synthetic_images: bool
    question_licenses: Sequence[str] = ()  # of the questions that were learned from


def write_card(
    folder: Path, about: About, *, rows: int, dropped: dict[str, int], checks: dict[str, Any], steps: int
) -> None:
    """Writes README.md; call it before the manifest, which comes last."""
    atomic.write_text(folder / artifact.CARD, card(about, rows=rows, dropped=dropped, checks=checks, steps=steps))


def card(about: About, *, rows: int, dropped: dict[str, int], checks: dict[str, Any], steps: int) -> str:
    """The card as Markdown with the header that model hubs read."""
    facts = {
        "base": f"`{about.base}`",
        "algorithm": about.algorithm,
        "parameters": _values(about.spec),
        "adapters": _values(about.lora) if about.lora else "none, all weights outside the frozen parts were trained",
        "frozen": ", ".join(about.frozen) or "nothing",
        "rows": f"{rows} in {steps} updates",
        "dropped": _values(dropped) if dropped else "none",
        "recipe": f"digest `{about.recipe}`; the whole recipe is recipe.yaml of the run folder",
        "software": f"chexalign {__version__}",
    }
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "license: other",
        f"tags: [chexalign, {about.algorithm}, chest-x-ray]",
        "---",
        "",
        f"# {about.name}",
        "",
        "**Not for clinical use.** This model writes drafts of chest X-ray reports for research on alignment. It makes "
        "mistakes, and nobody has tested it on patients.",
        "",
        "## Training",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "## Checks while training",
        "",
        *_checks(checks),
        "",
        "## Data",
        "",
        *_data(about),
        "",
        "## Evaluation",
        "",
        "Not here: estimates.json and report.html of the run folder hold every number with its interval.",
        "",
    ]
    return "\n".join(lines)


def _checks(checks: dict[str, Any]) -> list[str]:
    sharing, held_out = checks.get("prefix_sharing"), checks.get("held_out")
    lines = []
    if sharing is None:
        lines.append("- Shared prompts: not compared, as training had no step left to do.")
    elif sharing["shared"]:
        lines.append(
            f"- Shared prompts: log-probs equal those of separate sequences within {sharing['disagreement']:.1e} of "
            f"their size (allowed: {sharing['tolerance']:.0e})."
        )
    else:
        lines.append(f"- Shared prompts: not used, {sharing['reason']}.")
    if held_out and "best_step" in held_out:
        lines.append(
            f"- Held-out rows ({held_out['rows']}): lowest loss {held_out['best_loss']:.4f} after update "
            f"{held_out['best_step']}; the weights are those after update {held_out['kept_step']}."
        )
    warnings = checks.get("warnings") or {}
    lines += [f"- Warning: {message}." for message in warnings.values()] or ["- Warnings: none."]
    return lines


def _data(about: About) -> list[str]:
    lines = [
        f"- License of the studies: {name}. What it asks of derived works holds for this model too."
        for name in about.licenses
    ]
    lines += [
        f"- License of the questions: {name}. What it asks of derived works holds for this model too."
        for name in about.question_licenses
    ]
    lines.append(f"- License of `{about.base}`: see there; it holds for this model too.")
    if about.synthetic_images:
        lines.append("- The images are drawn, not radiographs.")
    return lines


def _values(block: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in block.items())
