"""How the embedded default's questions are worded, and the sentences that give the reasons for an answer."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign import ids
from chexalign.data.marks import Mark
from chexalign.demo.questions_findings import BOTH, grade_of, side_of, words_of

NORMAL = (
    "Is this chest X-ray normal?",
    "Would you call this chest radiograph unremarkable?",
    "Is this chest X-ray free of abnormal findings?",
)
ABNORMAL = (
    "Does this chest X-ray show an abnormality?",
    "Is there anything abnormal on this chest radiograph?",
    "Can an abnormal finding be seen in this chest X-ray?",
)
SIDE = (
    "On which side is the {finding}?",
    "Which side of the chest shows the {finding}?",
    "Where is the {finding}: which side?",
)
ZONE = (
    "Which zone of the lung shows the {finding}?",
    "Is the {finding} in the upper or the lower lung?",
    "At which height is the {finding}?",
)
SEVERITY = (
    "How severe is the {finding}?",
    "What is the severity of the {finding}?",
    "Grade the {finding} on this chest X-ray.",
)
ATTRIBUTE = {
    "opacity pattern": (
        "Which word describes the lung opacity?",
        "What does the opacity in the lung look like?",
        "Name the pattern of the lung opacity.",
    ),
    "lung volumes": (
        "How are the lung volumes?",
        "How well are the lungs inflated?",
        "What can be said of the volumes of the lungs?",
    ),
    "device": (
        "What kind of foreign material can be seen?",
        "Which kind of device does this chest X-ray show?",
        "Name the kind of material in or on this chest.",
    ),
    "diaphragm": (
        "What is the shape of the diaphragm?",
        "How does the diaphragm look?",
        "Which word describes the diaphragm?",
    ),
}
REGION_FINDING = (
    "Which finding is {place}?",
    "What can be seen {place}?",
    "Which of these findings is {place}?",
)
REGION_PRESENCE = (
    "Is there {finding} {place}?",
    "Does the image show {finding} {place}?",
    "Can {finding} be seen {place}?",
)
REGION_ABNORMAL = (
    "Is there an abnormality {place}?",
    "Does the image show anything abnormal {place}?",
    "Can an abnormal finding be seen {place}?",
)
REGION_OPEN = (
    "Name the finding {place}.",
    "What is the finding {place} called?",
    "In a word or two, which finding is {place}?",
)
CHANGE = (
    "Compared with the prior image, how has the {finding} changed?",
    "What has become of the {finding} since the prior exam?",
    "How does the {finding} compare with the earlier image?",
)
CHANGE_VERIFY = {
    "improved": ("Has the {finding} improved since the prior image?", "Is there less {finding} than on the prior?"),
    "worsened": ("Has the {finding} worsened since the prior image?", "Is there more {finding} than on the prior?"),
    "unchanged": ("Is the {finding} unchanged since the prior image?", "Is the {finding} as it was on the prior?"),
    "new": ("Is the {finding} new since the prior image?", "Has {finding} appeared since the prior exam?"),
    "resolved": ("Has the {finding} resolved since the prior image?", "Has {finding} gone since the prior exam?"),
}
CHANGE_OPEN = {
    "new": ("Name the finding that is new since the prior image.", "Which finding was not on the prior image?"),
    "resolved": ("Name the finding that has resolved since the prior image.", "Which finding is no longer there?"),
}
NEW_ONES = (
    "Which of these findings are new since the prior image?",
    "Name each of the listed findings that was not on the prior image.",
    "Compared with the prior exam, which of these findings have appeared?",
)

_PLACES: dict[Mark, str] = {
    "box": "in the box",
    "arrow": "where the arrow points",
    "contour": "inside the outline",
}
_SENTENCES = (
    "There {is_are} {finding}{where}.",
    "The image shows {finding}{where}.",
    "{Finding}{where} {is_are} seen.",
)
_ABSENT = (
    "There {is_are} no {finding}{where}.",
    "No {finding} {is_are} seen{where}.",
    "The image shows no {finding}{where}.",
)
_PLURALS = {"hyperinflated lungs", "low lung volumes"}
_COUNTED = {
    *("lung opacity", "lung lesion", "fracture", "support device", "tortuous aorta", "calcified granuloma"),
    *("hiatal hernia", "elevated diaphragm", "flattened diaphragm", "pleural effusion", "pneumothorax"),
    *("enlarged cardiomediastinum", "pleural abnormality other than effusion"),
}
_ZONES = {
    "apex": "apex",
    "upper lobe": "upper lobe",
    "middle lobe": "middle lobe",
    "lingula": "lingula",
    "lower lobe": "lower lobe",
    "base": "lung base",
    "costophrenic angle": "costophrenic angle",
    "hilum": "hilum",
}


def one_of(wordings: Sequence[str], name: str) -> str:
    """The wording that a question of that name gets, whatever its answer."""
    return wordings[ids.keyed_seed("wording", name) % len(wordings)]


def place_of(mark: Mark) -> str:
    """How a question calls the place that a mark points at."""
    return _PLACES[mark]


def told(finding: str, codes: Sequence[str], name: str) -> str:
    """A sentence that says that a finding is there, with the severity, side and zone that all its codes agree on.

    >>> told("pleural effusion", ["Pleural Effusion/left/small"], "a")
    'The image shows a mild pleural effusion on the left.'
    """
    return said(finding, grade_of(codes), where(codes), name)


def said(finding: str, grade: str | None, place: str, name: str) -> str:
    """The same from the severity and the place."""
    noun = f"{grade} {finding}" if grade else finding
    if finding in _COUNTED:
        noun = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    place = f" {place}" if place else ""
    sentence = one_of(_SENTENCES, name)
    return sentence.format(finding=noun, Finding=_capital(noun), where=place, is_are=_is_are(finding))


def denied(finding: str, name: str, place: str = "") -> str:
    """A sentence that says that a finding is not there."""
    place = f" {place}" if place else ""
    return one_of(_ABSENT, name).format(finding=finding, where=place, is_are=_is_are(finding))


def where(codes: Sequence[str]) -> str:
    """The place that all of the codes name, in words; empty where they name none or different ones.

    >>> where(["Opacity/lung/base/left"]), where(["Opacity/lung/bilateral"]), where(["Opacity/lung"])
    ('at the left lung base', 'on both sides', '')
    """
    side = side_of(codes)
    zones = {tuple(name for word, name in _ZONES.items() if word in words_of(code)) for code in codes}
    zone = next(iter(zones)) if len(zones) == 1 else ()
    if len(zone) == 1:
        if side == BOTH:
            return f"in both {_plural(zone[0])}"
        return f"{'at' if zone[0] in ('lung base', 'apex') else 'in'} the {side + ' ' if side else ''}{zone[0]}"
    return "" if side is None else "on both sides" if side == BOTH else f"on the {side}"


def answered(answer: str, reason: str) -> str:
    """A rationale: the answer as a sentence of its own, then what it rests on."""
    return f"{_capital(answer)}. {reason}"


def listed(answers: Sequence[str]) -> str:
    """A rationale that names all that is right, and nothing else.

    >>> listed(["edema", "fracture"])
    'Edema and fracture.'
    """
    *first, last = answers
    return _capital(f"{', '.join(first)} and {last}." if first else f"{last}.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_are(finding: str) -> str:
    return "are" if finding in _PLURALS else "is"


def _plural(zone: str) -> str:
    return {"apex": "apices", "hilum": "hila"}.get(zone, f"{zone}s")
