"""The card of an export: what is in the folder, what it came from, and what must not be done with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from chexalign import __version__
from chexalign.store import Manifest


@dataclass(frozen=True, slots=True)
class Subject:
    """What preferences are about, and who wrote and ordered their texts, in words."""

    title: str
    texts: str
    left_out: str  # what the rows are made of, some of which are left out
    references: bool  # whether a judge compared texts with references


REPORTS = Subject(
    "Preferences on chest X-ray reports",
    "Texts were written by a policy and ordered by an automatic judge; no radiologist has read them.",
    "prompts",
    references=True,
)
ANSWERS = Subject(
    "Preferences on answers about chest X-rays",
    "Chosen texts are the right answers of a collection of questions. Rejected ones are wrong answers of the policy or "
    "edits of the right one, and passed automatic checks; no radiologist has read them.",
    "questions",
    references=False,
)


def card(
    file: str,
    kind: str,
    *,
    rows: int,
    columns: Sequence[str],
    licenses: Sequence[str],
    source: Manifest,
    normalizer: str,
    subject: Subject = REPORTS,
) -> str:
    """The card as Markdown, with the header by which `datasets` finds the file; it holds no report text."""
    blocks = json.dumps(source.config.get("blocks", []))
    lost = ", ".join(f"{reason} {n}" for reason, n in source.dropped.items()) or "none"
    lines = [
        "---",
        "license: other",
        f"configs: [{{config_name: default, data_files: {file}}}]",
        "tags: [chexalign, chest-x-ray, preferences]",
        "---",
        "",
        f"# {subject.title}",
        "",
        f"**`{file}` holds report text and the paths of images.** It is readable by its owner only and bound by the "
        "terms of the studies; do not upload it, and ask before you hand it on. Not for clinical use.",
        "",
        "| | |",
        "|---|---|",
        f"| format | {kind}, {rows} rows |",
        f"| columns | {', '.join(columns)} |",
        f"| made from | {source.stage} of {source.rows} rows, content `{source.content}` |",
        f"| rule | `{blocks}` |",
        f"| {subject.left_out} left out | {lost} |",
        *([f"| references | normalized by `{normalizer}` before a judge compared with them |"] * subject.references),
        f"| software | chexalign {__version__} |",
        "",
        subject.texts,
        "",
        *(f"- License of the studies: {name}. What it asks of derived works holds here too." for name in licenses),
        "",
    ]
    return "\n".join(lines)
