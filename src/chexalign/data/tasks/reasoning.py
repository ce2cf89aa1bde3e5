"""OpenI, image and text: which of two descriptions fits an image, where they differ in one finding.

    ROOT/ecgen-radiology/1.xml ...      or NLMCXR_reports.tgz as downloaded, or under `archive`
    ROOT/NLMCXR_png/CXR1_1_IM-0001-3001.png ...     or under `images`
    ROOT/indiana_projections.csv        the views of the images, from the collection's Kaggle edition

A description is a human MeSH code of the report in words: `Opacity/lung/base/left` is "left opacity (lung, base)". The
other one has the other side, the other end of the lung, or is a code of another report with a finding that this one
does not have. Each is right as often as wrong, so that the texts alone tell nothing. Nothing is made of the reports'
sentences; the descriptions follow from the user's own copy and stay with it. There are no official splits: a patient's
split follows from the id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chexalign import ids
from chexalign.data import openi
from chexalign.data.layout import need_root
from chexalign.data.mesh import labels_from_codes
from chexalign.data.openi_files import coded_frontals
from chexalign.data.questions import Draft, Picture, QuestionItem, share_of
from chexalign.data.tasks.balance import LEFT_OUT, equal_numbers
from chexalign.data.tasks.findings import finding_name, may_both_be
from chexalign.data.tasks.wordings import keyed_order
from chexalign.types import Evidence

TEXT = "Which of these two descriptions fits this chest X-ray?"

_SWAPS = {"side": (("left", "right"),), "place": (("upper lobe", "lower lobe"), ("apex", "base"))}
_UPPER, _LOWER, _ALL_OVER = {"upper lobe", "apex"}, {"lower lobe", "base"}, {"bilateral", "diffuse", "multilobar"}
_AGAINST = {  # words elsewhere in the codes that make the other description right too
    "left": {"right", "bilateral"},
    "right": {"left", "bilateral"},
    **dict.fromkeys(_UPPER, _LOWER | _ALL_OVER),
    **dict.fromkeys(_LOWER, _UPPER | _ALL_OVER),
}
_BEFORE = ("mild", "moderate", "severe", "small", "large", "multiple", "left", "right", "bilateral")
_LOOKS = 200  # reports that are looked at for one to be asked about together


@dataclass(frozen=True, slots=True)
class _Contrast:
    """A code of a report that is right, in the place of another description that is wrong."""

    report: str
    split: str
    part: str
    code: str
    word: str  # of the two that tell them apart, the one that is right
    other: str


class OpenIReasoning:
    """Which of two descriptions fits the image? From the human codes of OpenI's reports."""

    name = "openi-reasoning"
    license = openi.LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "`root` with OpenI's reports, its PNG images and indiana_projections.csv",
        "cost": "seconds",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None, archive: Path | None = None) -> None:
        self.root, self.images, self.archive = root, images, archive

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """At most three questions per report with a frontal image: side, place and finding; no image is opened."""
        root = need_root(self.root, self.name, "ecgen-radiology and NLMCXR_png")
        coded, dropped = coded_frontals(root, self.images, self.archive, self.name)
        codes = {report.id: report.codes for report, _ in coded}
        pictures = {report.id: str(path) for report, path in coded}
        drafts = defaultdict[str, list[Draft]](list)
        for contrast in self._contrasts(codes, dropped):
            drafts[contrast.report].append(_draft(contrast))
        dropped["nothing_to_tell_apart"] += len(codes.keys() - drafts.keys())
        items = [
            QuestionItem(
                i,
                i,
                share_of(i),
                (Picture(pictures[i], "frontal", top=str(Path(pictures[i]).parent)),),
                tuple(drafts[i]),
            )
            for i in codes
            if i in drafts
        ]
        return items, dict(+dropped)

    def _contrasts(self, codes: dict[str, tuple[str, ...]], dropped: Counter[str]) -> list[_Contrast]:
        """All contrasts, as many with one word right as with the other."""
        swaps = [swap for i, of_it in codes.items() for part in _SWAPS if (swap := _swapped(i, of_it, part))]
        kept: list[_Contrast] = []
        for pairs in _SWAPS.values():
            for pair in pairs:
                kept += equal_numbers(
                    [swap for swap in swaps if swap.word in pair],
                    name=lambda swap: f"{swap.report}/{swap.code}",
                    group=lambda swap: (swap.split, _heading(swap.code)),
                    answer=lambda swap: swap.word,
                    answers=pair,
                )
        found, alone = _other_findings(codes)
        dropped[LEFT_OUT] += len(swaps) - len(kept) + alone
        return kept + found


def describe(code: str) -> str:
    """A code in words.

    >>> describe("Opacity/lung/base/left/mild"), describe("Catheters, Indwelling/right")
    ('mild left opacity (lung, base)', 'right indwelling catheters')
    """
    heading, *qualifiers = _parts(code) or [""]
    noun = " ".join(reversed([part.strip() for part in heading.split(",")]))
    before = [word for word in _BEFORE if word in qualifiers]
    after = ", ".join(word for word in qualifiers if word not in _BEFORE)
    return " ".join([*before, noun, *([f"({after})"] if after else [])])


def _parts(code: str) -> list[str]:
    return [part.strip() for part in code.lower().split("/") if part.strip()]


def _heading(code: str) -> str:
    return next(iter(_parts(code)), "")


def _swapped(report: str, codes: Sequence[str], part: str) -> _Contrast | None:
    """A code with one of two opposite words, and the same with the other, which no code of the report speaks for."""
    everywhere = Counter(word for code in codes for word in set(_parts(code)[1:]))
    for code in keyed_order(sorted(set(codes)), f"{report}/{part}"):
        words = _parts(code)[1:]
        for pair in _SWAPS[part]:
            for right, wrong in (pair, pair[::-1]):
                if words.count(right) == 1 and not _AGAINST[right] & everywhere.keys():
                    other = "/".join(wrong if word == right else word for word in _parts(code))
                    return _Contrast(report, share_of(report), part, code, right, other)
    return None


def _other_findings(codes: dict[str, tuple[str, ...]]) -> tuple[list[_Contrast], int]:
    """Pairs of reports of one split, each with a code whose finding the other one does not have; and how many had none.

    Both are asked about with the same two descriptions, so that each is right once.
    """
    labels = {i: {finding_name(label) for label in labels_from_codes(of_it)} for i, of_it in codes.items()}
    told = {
        i: keyed_order([c for c in dict.fromkeys(of_it) if labels_from_codes([c])], i) for i, of_it in codes.items()
    }
    found: list[_Contrast] = []
    waiting = defaultdict[str, list[str]](list)
    for report in sorted((i for i in told if told[i]), key=lambda i: ids.digest("reasoning", i)):
        split, code = share_of(report), told[report][0]
        for other in waiting[split][:_LOOKS]:
            if _apart(code, labels[other]) and _apart(told[other][0], labels[report]):
                waiting[split].remove(other)
                found.append(_Contrast(report, split, "finding", code, code, told[other][0]))
                found.append(_Contrast(other, split, "finding", told[other][0], told[other][0], code))
                break
        else:
            waiting[split].append(report)
    return found, sum(map(len, waiting.values()))


def _apart(code: str, present: set[str]) -> bool:
    """Whether a code says something that is not there, and is no other word for what is."""
    said = [finding_name(label) for label in labels_from_codes([code])]
    return not any(finding == other or may_both_be(finding, other) for finding in said for other in present)


def _draft(contrast: _Contrast) -> Draft:
    name = f"{contrast.part}:{contrast.code}"
    right, wrong = describe(contrast.code), describe(contrast.other)
    absent = [Evidence("code", contrast.other, present=False)] if contrast.part == "finding" else []
    return Draft(
        name,
        task="reasoning",
        part=contrast.part,
        answer_type="choose",
        text=TEXT,
        options=keyed_order((right, wrong), f"{contrast.report}/{name}"),
        answers=(right,),
        evidence=(Evidence("code", contrast.code), *absent),
    )
