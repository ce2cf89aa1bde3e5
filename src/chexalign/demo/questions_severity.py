"""How severe a finding is: asked about phantoms on which it was made mild, moderate or severe.

Indexers state the severity of few findings, and mild far more often than the rest. So the report's own code is drawn
with a severity that the place of the patient in a keyed order gives it, each as often as the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from chexalign import ids
from chexalign.data.questions import Draft
from chexalign.data.tasks.balance import LEFT_OUT
from chexalign.data.tasks.wordings import keyed_order
from chexalign.demo.questions_basic import Asked
from chexalign.demo.questions_compare import CHANGING
from chexalign.demo.questions_findings import MILD, MODERATE, SEVERE, Chest, graded
from chexalign.demo.questions_words import SEVERITY, answered, one_of, told
from chexalign.types import Evidence

GRADES = (MILD, MODERATE, SEVERE)


def ask_severity(chests: Sequence[Chest]) -> tuple[list[Asked], Counter[str]]:
    """One question for each finding that a single code of a chest states, and how many were left out for balance."""
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for at, chest in enumerate(chests):
        for finding, codes in chest.by_finding.items():
            if finding in CHANGING and len(codes) == 1:
                groups[chest.split, finding].append(at)
    asked: list[Asked] = []
    for (_, finding), found in groups.items():
        order = sorted(found, key=lambda at: ids.digest("severity", chests[at].id))
        whole = order[: len(order) // len(GRADES) * len(GRADES)]
        asked += [_asked(at, chests[at], finding, GRADES[rank % len(GRADES)]) for rank, at in enumerate(whole)]
    return asked, Counter({LEFT_OUT: sum(map(len, groups.values())) - len(asked)})


def _asked(at: int, chest: Chest, finding: str, grade: str) -> Asked:
    name = f"{chest.id}/severity/{finding}"
    (own,) = chest.by_finding[finding]
    code = graded(own, grade)
    draft = Draft(
        name,
        task="severity",
        part=finding,
        answer_type="choose",
        text=one_of(SEVERITY, name).format(finding=finding),
        options=keyed_order(GRADES, name),
        answers=(grade,),
        rationale=answered(grade, told(finding, [code], name)),
        evidence=(Evidence("label", finding), Evidence("code", code)),
    )
    return Asked(at, draft, codes=tuple(code if one == own else one for one in chest.codes))
