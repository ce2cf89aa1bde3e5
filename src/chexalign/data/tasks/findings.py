"""One name for each finding, whatever a collection calls it, and which findings one image or box may show at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

_ALIASES = {
    "effusion": "pleural effusion",
    "pleural_thickening": "pleural thickening",
    "infiltrate": "infiltration",
    "nodule/mass": "nodule or mass",
    "ild": "interstitial lung disease",
    "copd": "chronic obstructive pulmonary disease",
    "enlarged pa": "enlarged pulmonary artery",
    "airspace opacity": "lung opacity",
    "pleural other": "pleural abnormality other than effusion",
    "support devices": "support device",
}

# Two findings of one group are never offered as right and wrong for the same image: one is a case of the other
# (as in CheXpert's hierarchy of labels, Irvin et al. 2019), or readers use both words for one shadow.
_GROUPS = tuple(
    frozenset(group.split("|"))
    for group in (
        "consolidation|pneumonia|infiltration|atelectasis|tuberculosis",
        "edema|infiltration|interstitial lung disease",
        "interstitial lung disease|pulmonary fibrosis|fibrosis|infiltration",
        "nodule|mass|nodule or mass|lung lesion|lung tumor|calcification",
        "lung cyst|lung cavity|emphysema|chronic obstructive pulmonary disease",
        "aortic enlargement|calcification",
        "pleural effusion|pleural thickening|pleural abnormality other than effusion",
        "fracture|rib fracture|clavicle fracture",
    )
)
# General findings with some of their cases, which need not be cases of each other.
_CASES_OF = {
    "lung opacity": frozenset(
        (
            *("edema", "consolidation", "pneumonia", "atelectasis", "infiltration", "tuberculosis", "lung cavity"),
            *("lung lesion", "nodule", "mass", "nodule or mass", "lung tumor"),
            *("interstitial lung disease", "pulmonary fibrosis", "fibrosis"),
        )
    ),
    "enlarged cardiomediastinum": frozenset(
        ("cardiomegaly", "aortic enlargement", "enlarged pulmonary artery", "mediastinal shift")
    ),
}
_IN_ONE_BOX = (frozenset({"pleural effusion", "atelectasis"}),)  # a box around one often holds the other as well


def finding_name(word: str) -> str:
    """The finding that a collection's word stands for, in lower case, as questions call it.

    >>> finding_name(" Infiltrate"), finding_name("Nodule/Mass"), finding_name("Cardiomegaly")
    ('infiltration', 'nodule or mass', 'cardiomegaly')
    """
    name = word.strip().lower()
    return _ALIASES.get(name, name)


@cache
def may_both_be(one: str, other: str, *, in_a_box: bool = False) -> bool:
    """True when one label does not say that the other is wrong, for an image or for a box on it."""
    groups = (*_GROUPS, *_IN_ONE_BOX) if in_a_box else _GROUPS
    if one == other or any(one in group and other in group for group in groups):
        return True
    return other in _CASES_OF.get(one, ()) or one in _CASES_OF.get(other, ())


def clearly_absent(findings: Iterable[str], seen: Iterable[str], *, in_a_box: bool = False) -> frozenset[str]:
    """The findings that are wrong where those of `seen` are, or may be, right."""
    seen = tuple(seen)
    return frozenset(f for f in findings if not any(may_both_be(f, s, in_a_box=in_a_box) for s in seen))
