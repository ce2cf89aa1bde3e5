"""What the codes of a report say that can be asked about: findings, and each one's side, zone and severity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from chexalign.data.mesh import labels_from_codes
from chexalign.data.tasks.diseases import FINDINGS as LABELS
from chexalign.data.tasks.findings import clearly_absent, finding_name

LEFT, RIGHT, BOTH = "left", "right", "both sides"
UPPER, LOWER = "upper", "lower"
MILD, MODERATE, SEVERE = "mild", "moderate", "severe"

# Beyond the 13 findings of CheXpert: heading, and the qualifiers of which a code needs one.
_MORE: dict[str, tuple[tuple[str, str], ...]] = {
    "hyperinflated lungs": (("lung", "hyperdistention"),),
    "low lung volumes": (("lung", "hypoinflation"),),
    "tortuous aorta": (("aorta", "tortuous"), ("aorta, thoracic", "tortuous")),
    "aortic calcification": (("atherosclerosis", ""), ("calcinosis", "aorta|aorta, thoracic")),
    "calcified granuloma": (("calcified granuloma", ""),),
    "emphysema": (("emphysema", ""), ("pulmonary emphysema", ""), ("bullous emphysema", "")),
    "hiatal hernia": (("hernia, hiatal", ""),),
    "elevated diaphragm": (("diaphragm", "elevated"),),
    "flattened diaphragm": (("diaphragm", "flattened"),),
}
# What looks like a finding without being coded as one: that finding is then neither asked about as absent nor present.
_LIKE: dict[str, tuple[str, ...]] = {
    "calcified granuloma": ("lung lesion",),
    "lung lesion": ("calcified granuloma",),
    "hyperinflated lungs": ("flattened diaphragm", "emphysema"),
    "emphysema": ("hyperinflated lungs", "flattened diaphragm"),
    "flattened diaphragm": ("hyperinflated lungs",),
    "low lung volumes": ("elevated diaphragm", "cardiomegaly"),
    "tortuous aorta": ("enlarged cardiomediastinum",),
    "pulmonary disease, chronic obstructive": ("hyperinflated lungs", "flattened diaphragm", "emphysema"),
    "heart failure": ("cardiomegaly",),
    "pericardial effusion": ("cardiomegaly",),
    "epicardial fat": ("cardiomegaly",),
    "markings": ("edema",),
    "volume loss": ("elevated diaphragm",),
    "pneumonectomy": ("elevated diaphragm",),
    "diaphragmatic eventration": ("elevated diaphragm",),
    "aortic aneurysm": ("tortuous aorta",),
    "granulomatous disease": ("calcified granuloma",),
}

FINDINGS = (*LABELS, *_MORE)

_UPPER_ZONES, _LOWER_ZONES = {"apex", "upper lobe"}, {"base", "lower lobe", "costophrenic angle", "sulcus"}
_OTHER_ZONES = {"middle lobe", "lingula", "hilum", "retrocardiac", "paratracheal", "mediastinum"}
_GRADES = {"mild": MILD, "small": MILD, "moderate": MODERATE, "severe": SEVERE, "large": SEVERE}
_SIDES = {"left": {LEFT}, "right": {RIGHT}, "bilateral": {LEFT, RIGHT}}


@dataclass(frozen=True, slots=True)
class Chest:
    """A patient of the collection by its codes; what they say nothing of is absent, unless it may be meant."""

    id: str
    split: str
    codes: tuple[str, ...]
    seed: int  # of the anatomy
    by_finding: dict[str, tuple[str, ...]]  # the codes of each finding that is present
    absent: frozenset[str]

    @property
    def present(self) -> frozenset[str]:
        """The findings that the codes state."""
        return frozenset(self.by_finding)

    @property
    def normal(self) -> bool:
        """Whether an indexer called the report normal, and nothing else."""
        return {heading_of(code) for code in self.codes} == {"normal"}


def read_chest(study: str, split: str, codes: Sequence[str], seed: int) -> Chest:
    """The chest that the codes of one study describe."""
    by_finding: dict[str, tuple[str, ...]] = {}
    for code in dict.fromkeys(codes):
        for finding in findings_of(code):
            by_finding[finding] = (*by_finding.get(finding, ()), code)
    return Chest(study, split, tuple(codes), seed, by_finding, absent_beside(codes))


@lru_cache(maxsize=8192)
def findings_of(code: str) -> tuple[str, ...]:
    """The findings that one code states, in a fixed order.

    >>> findings_of("Lung/hyperdistention"), findings_of("Pleural Effusion/left/small"), findings_of("normal")
    (('hyperinflated lungs',), ('pleural effusion',), ())
    """
    heading, words = heading_of(code), words_of(code)
    found = {finding_name(label) for label in labels_from_codes([code])}
    for finding, rules in _MORE.items():
        if any(heading == h and (not need or words & set(need.split("|"))) for h, need in rules):
            found.add(finding)
    return tuple(finding for finding in FINDINGS if finding in found)


def absent_beside(codes: Sequence[str]) -> frozenset[str]:
    """The findings that are surely not there where these codes are all that is."""
    present = {finding for code in codes for finding in findings_of(code)}
    alike = {f for name in (*present, *map(heading_of, codes)) for f in _LIKE.get(name, ())}
    return clearly_absent(FINDINGS, present | alike) - present - alike


def heading_of(code: str) -> str:
    """What stands before the first slash of a code, plain."""
    return " ".join(code.split("/")[0].lower().split())


@lru_cache(maxsize=8192)
def words_of(code: str) -> frozenset[str]:
    """What stands after the first slash of a code, plain."""
    return frozenset(" ".join(part.lower().split()) for part in code.split("/")[1:] if part.strip())


def side_of(codes: Sequence[str]) -> str | None:
    """The side or sides that all of the codes together name; None where one of them names none."""
    named = [set().union(*(_SIDES.get(word, set()) for word in words_of(code))) for code in codes]
    if not named or not all(named):
        return None
    sides = set().union(*named)
    return BOTH if len(sides) == 2 else sides.pop()


def zone_of(codes: Sequence[str]) -> str | None:
    """Upper or lower, where each of the codes names that zone of the lung and no other one."""
    zones = {UPPER: _UPPER_ZONES, LOWER: _LOWER_ZONES}
    found = {next((z for z, names in zones.items() if words_of(code) & names), None) for code in codes}
    others = any(words_of(code) & _OTHER_ZONES for code in codes)
    mixed = any(words_of(code) & _UPPER_ZONES and words_of(code) & _LOWER_ZONES for code in codes)
    return found.pop() if len(found) == 1 and not others and not mixed else None


def grade_of(codes: Sequence[str]) -> str | None:
    """How severe, where each of the codes says the same."""
    found = {frozenset(_GRADES[word] for word in words_of(code) if word in _GRADES) for code in codes}
    (grades,) = found if len(found) == 1 else (frozenset[str](),)
    return next(iter(grades)) if len(grades) == 1 else None


def graded(code: str, grade: str) -> str:
    """A code with another severity: the phantom draws the same finding in the same place, more or less of it.

    >>> graded("Pleural Effusion/left/small", "severe")
    'Pleural Effusion/left/severe'
    """
    heading, *rest = [part.strip() for part in code.split("/")]
    kept = [word for word in rest if word.lower() not in _GRADES and word.lower() != "borderline"]
    return "/".join([heading, *kept, grade])
