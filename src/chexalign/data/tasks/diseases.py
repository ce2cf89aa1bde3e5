"""Single and multiple disease identification: questions made of label tables, and of the codes of OpenI.

What a report does not mention counts as absent, unless what it does mention may be a case of it (an opacity, where it
names pneumonia); what it is unsure of is never asked about. Labels that CheXpert's labeler read out of reports are no
better than that labeler: the page of each collection says which ones are a human's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chexalign.data.questions import Draft, Picture, QuestionItem
from chexalign.data.tasks.balance import LEFT_OUT, Case, Drawn, one_right_each, opposites
from chexalign.data.tasks.findings import clearly_absent, finding_name
from chexalign.data.tasks.wordings import several_findings, single_finding
from chexalign.types import Evidence

LABELS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
FINDINGS = tuple(map(finding_name, LABELS))

_VALUES = {"": None, "nan": None, "0": False, "0.0": False, "1": True, "1.0": True}
_UNSURE = ("-1", "-1.0")


@dataclass(frozen=True, slots=True)
class Labeled:
    """A study with one image to show, and the findings that it has and may have."""

    study: str
    patient: str
    split: str
    picture: Picture
    present: frozenset[str]
    unsure: frozenset[str]
    codes: tuple[str, ...] = ()  # what the labels were made of, where a human gave codes


def read_labels(
    cells: Sequence[str], findings: Sequence[str] = FINDINGS
) -> tuple[frozenset[str], frozenset[str]] | None:
    """The findings that a row of a label table calls present, and unsure; None where a cell is none of its values.

    >>> read_labels(["1.0", "", "-1.0"], ["edema", "fracture", "mass"])
    (frozenset({'edema'}), frozenset({'mass'}))
    """
    words = [cell.strip().lower() for cell in cells]
    if any(word not in _VALUES and word not in _UNSURE for word in words):
        return None
    present = frozenset(f for f, word in zip(findings, words, strict=True) if _VALUES.get(word))
    return present, frozenset(f for f, word in zip(findings, words, strict=True) if word in _UNSURE)


def ask(studies: Sequence[Labeled]) -> tuple[list[QuestionItem], Counter[str]]:
    """Items in the order of the studies, and how many that show a finding were left out of a task for balance.

    A study may be asked about once for one finding, and once for several.
    """
    cases = [Case(s.study, s.split, s.present, clearly_absent(FINDINGS, s.present | s.unsure)) for s in studies]
    single, several = one_right_each(cases, FINDINGS), opposites(cases, FINDINGS)
    drafts: defaultdict[int, list[Draft]] = defaultdict(list)
    for drawn in single:
        study = studies[drawn.case]
        drafts[drawn.case].append(
            single_finding(study.study, drawn.options, drawn.right[0], evidence=list(_evidence(study, drawn)))
        )
    for drawn in several:
        study = studies[drawn.case]
        drafts[drawn.case].append(
            several_findings(study.study, drawn.options, drawn.right, evidence=list(_evidence(study, drawn)))
        )
    items = [
        QuestionItem(study.study, study.patient, study.split, (study.picture,), tuple(drafts[at]))
        for at, study in enumerate(studies)
        if at in drafts
    ]
    usable = sum(bool(study.present) for study in studies)
    return items, Counter({LEFT_OUT: 2 * usable - len(single) - len(several)})


def _evidence(study: Labeled, drawn: Drawn) -> Iterator[Evidence]:
    """The label of each option, and the codes that the labels were made of."""
    yield from (Evidence("label", option, present=option in drawn.right) for option in drawn.options)
    yield from (Evidence("code", code) for code in study.codes)
