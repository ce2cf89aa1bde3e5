"""Where a sentence says that a finding is: taken out, or moved to another side."""

from __future__ import annotations

import re
from typing import Literal

from chexalign.data.answers import plain
from chexalign.mine.edits.words import cased, exchanged

Side = Literal["left", "right", "both"]

_ZONES = {
    "apex": "apices",
    "upper lobe": "upper lobes",
    "middle lobe": "middle lobes",
    "lower lobe": "lower lobes",
    "lung base": "lung bases",
    "base": "bases",
    "costophrenic angle": "costophrenic angles",
    "hilum": "hila",
    "lung": "lungs",
    "lung zone": "lung zones",
    "lingula": "lingulas",
    "hemithorax": "hemithoraces",
}
_ONE = "|".join(sorted(_ZONES, key=len, reverse=True))
_MANY = "|".join(sorted(_ZONES.values(), key=len, reverse=True))
_SINGLE = {many: one for one, many in _ZONES.items()}
_AT = {"apex", "lung base", "base"}  # at the base, in the lobe

_PLACE = re.compile(
    rf"\s+(?:on the (?:left|right)(?: side)?|on both sides|bilaterally|(?:at|in) the (?:left |right )?(?:{_ONE})"
    rf"|in both (?:{_MANY}))\b",
    re.IGNORECASE,
)
_SAID = re.compile(
    rf"\b(?:on the (?:left|right)(?: side)?|(?:at|in) the (?:left|right) (?P<zone>{_ONE})|on both sides|bilaterally"
    rf"|in both (?P<zones>{_MANY}))\b",
    re.IGNORECASE,
)


def without_place(text: str) -> str:
    """The text without the words that say where in the chest something is.

    >>> without_place("Edema on the left where the arrow points is seen.")
    'Edema where the arrow points is seen.'
    """
    return _PLACE.sub("", text)


def either(text: str) -> str:
    """What a sentence says of both sides, as one that denies it says it.

    >>> either("No edema in both lung bases is seen.")
    'No edema in either lung base is seen.'
    """
    text = re.sub(r"\bon both sides\b", "on either side", text)
    return re.sub(rf"\bin both ({_MANY})\b", lambda found: f"in either {_SINGLE[found[1]]}", text)


def both(text: str) -> str:
    """What a sentence denies of either side, as one that states it says it."""
    text = re.sub(r"\bon either side\b", "on both sides", text)
    return re.sub(rf"\bin either ({_ONE})\b", lambda found: f"in both {_ZONES[found[1]]}", text)


def side_named(option: str) -> Side | None:
    """The side that an answer means; None for one that names none, or something besides."""
    words = plain(option)
    if words in ("both", "both sides", "bilateral", "bilaterally", "on both sides", "left and right"):
        return "both"
    return {"left": "left", "right": "right", "left side": "left", "right side": "right"}.get(words)  # type: ignore[return-value]


def on_side(text: str, side: Side) -> str:
    """The text with everything that it places on another side moved to this one.

    One that speaks of both sides apart has them exchanged, or is left as it is where both are meant.

    >>> on_side("There is edema at the left lung base.", "both")
    'There is edema in both lung bases.'
    """

    def move(found: re.Match[str]) -> str:
        zone = (found["zone"] or "").lower() or _SINGLE.get((found["zones"] or "").lower())
        if zone is None:
            new = "on both sides" if side == "both" else f"on the {side}"
        elif side == "both":
            new = f"in both {_ZONES[zone]}"
        else:
            new = f"{'at' if zone in _AT else 'in'} the {side} {zone}"
        return cased(new, found[0])

    named = {word.lower() for word in re.findall(r"\b(?:left|right)\b", text, re.IGNORECASE)}
    if len(named) > 1:
        return text if side == "both" else exchanged(text, "left", "right")
    moved = _SAID.sub(move, text)
    if moved != text or side == "both":
        return moved
    other = "right" if side == "left" else "left"
    if other in named:
        return exchanged(text, other, side)
    return re.sub(r"\bbilateral\b", lambda found: cased(side, found[0]), text, flags=re.IGNORECASE)
