"""Questions of the sample report on mining; all texts are written by hand for this purpose, none is a patient's."""

from __future__ import annotations

from dataclasses import dataclass

from chexalign.data.marks import Bounds
from chexalign.types import AnswerType, EditKind, Evidence, Origin, Question, QuestionKind


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, what was answered, and why it is in a set; `seed` is the place of its seed in `ASKED`."""

    question: Question
    codes: tuple[tuple[str, ...], ...]  # of each image
    seed_of_patient: int
    right: str
    told: tuple[str, bool | None, float | None]
    wrong: tuple[EditKind, Origin, str]
    select: str = "mined"
    seed: int = 0
    rank: int = 0
    distance: float | None = None
    box: Bounds | None = None


def _question(
    number: int,
    kind: QuestionKind,
    answer_type: AnswerType,
    text: str,
    options: tuple[str, ...],
    right: str,
    evidence: tuple[Evidence, ...],
) -> Question:
    return Question(
        *(f"sample-q{number:02}", f"p{number}", f"s{number}", kind, "all", kind, answer_type, text, options, (right,)),
        *((), "train", "sample", "CC0", None, evidence),
    )


_YES_NO = ("yes", "no")
_CHANGES = ("larger", "smaller", "unchanged")
_EFFUSION = (("Pleural Effusion/left/moderate", "Cardiomegaly/mild"),)

ASKED = (
    Asked(
        _question(
            *(1, "basic", "verify", "Is there a pleural effusion on the right?", _YES_NO, "no"),
            (Evidence("label", "Pleural Effusion/right", present=False), Evidence("code", "Pleural Effusion/left")),
        ),
        *(_EFFUSION, 21, "No. The right angle is sharp; the moderate effusion is on the left."),
        ("Yes. The right angle is blunted by a moderate effusion.", False, 0.971),
        ("own", "own", "Yes. The right angle is blunted by a moderate effusion."),
    ),
    Asked(
        _question(
            *(2, "basic", "verify", "Does the left side show a pleural effusion?", _YES_NO, "yes"),
            (Evidence("code", "Pleural Effusion/left/small"),),
        ),
        *((("Pleural Effusion/left/small",),), 34, "Yes. A small effusion blunts the left angle."),
        ("No. Both angles are sharp.", False, 0.884),
        ("side", "rules", "No. A small effusion blunts the right angle."),
        *("mined", 0, 1, 0.113),
    ),
    Asked(
        _question(
            *(3, "region", "choose", "What is inside the box?", ("nodule", "opacity", "nothing"), "opacity"),
            (Evidence("box", "Opacity", image=0, box=(0.2, 0.6, 0.42, 0.8)),),
        ),
        *((("Opacity/lung/base/right/patchy",),), 55, "Opacity. The box holds a patchy opacity of the right base."),
        ("Nothing. The lung inside the box is clear.", False, 0.953),
        ("own", "own", "Nothing. The lung inside the box is clear."),
        *("mined", 2, 0, None, (0.2, 0.6, 0.42, 0.8)),
    ),
    Asked(
        _question(
            *(4, "compare", "choose", "How has the heart changed since the earlier exam?", _CHANGES, "larger"),
            (Evidence("code", "Cardiomegaly/moderate"),),
        ),
        *(
            (("Cardiomegaly/moderate",), ("normal",)),
            8,
            "Larger. The heart is moderately enlarged, and was not before.",
        ),
        ("Unchanged. The heart is of the same size on both exams.", False, 0.902),
        ("change", "rules", "Smaller. The heart is not enlarged, and was moderately so before."),
        *("mined", 3, 0, None),
    ),
    Asked(
        _question(
            *(5, "basic", "verify", "Is the heart enlarged?", _YES_NO, "no"),
            (Evidence("label", "Cardiomegaly", present=False),),
        ),
        *((("normal",),), 13, "No. The heart is of normal size."),
        ("No. The heart is of normal size.", True, 0.934),
        ("negation", "rules", "Yes. The heart is of a larger size."),
        "random",
    ),
)
