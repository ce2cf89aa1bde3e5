"""What the answers of MIMIC-Ext-MIMIC-CXR-VQA rest on: which findings are where, as far as a template's answer tells.

A template is a small program over the findings of the image; its arguments name findings (attribute) and places
(object). A yes to "both ... and ..." says that each is there, a no to "... or ..." that neither is; a no to the first
and a yes to the second leave it open, and give no evidence.
Source: dataset_builder/program.py in github.com/baeseongsu/mimic-cxr-vqa.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chexalign.types import Evidence

_ONE, _BOTH, _EITHER = {2, 22}, {5, 23, 29}, {6, 24, 30}
_FINDINGS_AT_A_PLACE, _PLACES_OF_A_FINDING = {7, 8, 9, 25, 26, 27}, {31}
_CHOICE_OF_FINDINGS, _CHOICE_OF_PLACES = {10, 28}, {32}


def evidence_of(program: str | None, arguments: Mapping[str, Sequence[str]], answers: Sequence[str]) -> list[Evidence]:
    """Labels as `finding/place`, or `finding` where no place is asked about, each there or not."""
    number = int(program[8:]) if program and program.startswith("program_") and program[8:].isdecimal() else 0
    findings, places = arguments.get("attribute", ()), arguments.get("object", ())
    if number in _ONE | _BOTH | _EITHER:
        yes = answers == ("yes",)
        certain = number in _ONE or yes == (number in _BOTH)
        return _labels(findings, places, findings, places, present=yes) if certain else []
    if number in _FINDINGS_AT_A_PLACE and len(places) <= 1:
        return _labels(answers, places, answers, places)
    if number in _PLACES_OF_A_FINDING and len(findings) == 1:
        return _labels(findings, answers, findings, answers) if answers else []
    if number in _CHOICE_OF_FINDINGS and len(places) <= 1:
        return _labels(findings, places, answers, places)
    if number in _CHOICE_OF_PLACES and len(findings) == 1:
        return _labels(findings, places, findings, answers)
    return []


def _labels(
    findings: Sequence[str],
    places: Sequence[str],
    true_findings: Collection[str],
    true_places: Collection[str],
    *,
    present: bool = True,
) -> list[Evidence]:
    """Every finding at every place: `present` where both are among the true ones, else the contrary of it."""
    return [
        Evidence(
            "label",
            f"{finding}/{place}" if place else finding,
            present=present == (finding in true_findings and (not place or place in true_places)),
        )
        for finding in findings
        for place in (places or [""])
    ]
