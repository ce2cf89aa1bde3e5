"""MeSH codes of the Indiana chest X-ray reports, turned into the 13 findings of CheXpert.

The codes were given by human indexers who read the report, so they are a second opinion on what a text says. They were
not made for the CheXpert label set; where the two disagree on what a finding is, the table below decides, and it was
fixed before the rule labeler was tuned. A code is `Heading/qualifier/...`, as in `Opacity/lung/base/left`:

    Enlarged Cardiomediastinum  Mediastinum with enlarged or prominent; Mass or Shift of the mediastinum
    Cardiomegaly                Cardiomegaly (borderline too); Cardiac Shadow, Heart Atria or Heart Ventricles that are
                                enlarged, prominent or borderline
    Lung Opacity                Opacity and Density outside bone, breast, abdomen, mediastinum and pleura; Airspace
                                Disease; Infiltrate; interstitial Markings, Thickening or Lung; interstitial lung
                                disease; fibrosis; a scar (Cicatrix) outside pleura, breast and abdomen
    Lung Lesion                 Nodule and Mass outside breast, bone and mediastinum; Granuloma; Calcified Granuloma;
                                Granulomatous Disease; Cavitation; Calcinosis of the lung (not of hilum or lymph nodes);
                                round Opacity or Density outside bone, breast, abdomen, mediastinum and pleura
    Edema                       Pulmonary Edema; Pulmonary Congestion; Heart Failure
    Consolidation               Consolidation
    Pneumonia                   Pneumonia
    Atelectasis                 Pulmonary Atelectasis; Volume Loss
    Pneumothorax                Pneumothorax; Hydropneumothorax; Hemopneumothorax
    Pleural Effusion            Pleural Effusion; Hydropneumothorax; Hemopneumothorax; Hemothorax; a blunted
                                Costophrenic Angle, Sulcus or Pleura
    Pleural Other               Thickening, Cicatrix, Calcinosis or Opacity of the pleura; another abnormal Pleura
    Fracture                    Fractures, Bone; Deformity of ribs, clavicle, sternum or vertebrae
    Support Devices             Catheters, Indwelling; Tube, Inserted; Implanted Medical Device; Medical Device; Stents;
                                Surgical Instruments; Sutures; Spinal Fusion; Breast Implants
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Half = Literal["development", "test"]

NOT_INDEXED = "No Indexing"  # the code of a report that no indexer coded; such a report says nothing about a labeler


@dataclass(frozen=True, slots=True)
class _Rule:
    """A code gives `label` if its heading is listed, it has one of `need` (if any) and none of `deny`."""

    label: str
    headings: frozenset[str]
    need: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()

    def matches(self, heading: str, qualifiers: frozenset[str]) -> bool:
        return (
            heading in self.headings and (not self.need or bool(self.need & qualifiers)) and not self.deny & qualifiers
        )


def _words(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split("|") if part.strip())


_VERTEBRAE = "thoracic vertebrae|lumbar vertebrae|cervical vertebrae|spine"
_BONE = f"{_VERTEBRAE}|ribs|clavicle|sternum|humerus|shoulder|scapula"
_NOT_LUNG = _words(f"{_BONE}|breast|abdomen|mediastinum|pleura|neck|aorta|lymph nodes|blood vessels")

_RULES: tuple[_Rule, ...] = (
    _Rule(
        "Enlarged Cardiomediastinum",
        _words("mediastinum"),
        need=_words("enlarged|prominent"),
    ),
    _Rule("Enlarged Cardiomediastinum", _words("mass|shift"), need=_words("mediastinum")),
    _Rule("Cardiomegaly", _words("cardiomegaly")),
    _Rule(
        "Cardiomegaly",
        _words("cardiac shadow|heart atria|heart ventricles"),
        need=_words("enlarged|prominent|borderline"),
    ),
    _Rule("Lung Opacity", _words("opacity|density"), deny=_NOT_LUNG),
    _Rule(
        "Lung Opacity", _words("airspace disease|infiltrate|lung diseases, interstitial|pulmonary fibrosis|fibrosis")
    ),
    _Rule("Lung Opacity", _words("markings|thickening|lung"), need=_words("interstitial")),
    _Rule("Lung Opacity", _words("cicatrix"), deny=_words("pleura|abdomen|breast")),
    _Rule("Lung Lesion", _words("nodule|mass"), deny=_words(f"{_BONE}|breast|mediastinum|abdomen|neck")),
    _Rule("Lung Lesion", _words("granuloma|calcified granuloma|granulomatous disease|cavitation")),
    _Rule("Lung Lesion", _words("calcinosis"), need=_words("lung"), deny=_words("hilum|lymph nodes|pleura")),
    _Rule("Lung Lesion", _words("opacity|density"), need=_words("round"), deny=_NOT_LUNG),
    _Rule("Edema", _words("pulmonary edema|pulmonary congestion|heart failure")),
    _Rule("Consolidation", _words("consolidation")),
    _Rule("Pneumonia", _words("pneumonia")),
    _Rule("Atelectasis", _words("pulmonary atelectasis|volume loss")),
    _Rule("Pneumothorax", _words("pneumothorax|hydropneumothorax|hemopneumothorax")),
    _Rule("Pleural Effusion", _words("pleural effusion|hydropneumothorax|hemopneumothorax|hemothorax")),
    _Rule("Pleural Effusion", _words("costophrenic angle|sulcus|pleura"), need=_words("blunted")),
    _Rule("Pleural Other", _words("thickening|cicatrix|calcinosis|opacity"), need=_words("pleura")),
    _Rule("Pleural Other", _words("pleura"), deny=_words("blunted")),
    _Rule("Fracture", _words("fractures, bone")),
    _Rule("Fracture", _words("deformity"), need=_words(f"{_VERTEBRAE}|ribs|clavicle|sternum")),
    _Rule(
        "Support Devices",
        _words("catheters, indwelling|tube, inserted|implanted medical device|medical device|stents")
        | _words("surgical instruments|sutures|spinal fusion|breast implants"),
    ),
)


def labels_from_codes(codes: Sequence[str]) -> frozenset[str]:
    """The CheXpert findings (never `No Finding`) that a report's MeSH codes state, by the table of this module.

    Case and blanks around `/` do not matter; a code that the table does not name adds nothing.

    >>> sorted(labels_from_codes(["Cardiomegaly/mild", "Opacity/lung/base/left", "Scoliosis"]))
    ['Cardiomegaly', 'Lung Opacity']
    """
    found: set[str] = set()
    for code in codes:
        heading, *rest = (part.strip() for part in code.lower().split("/"))
        qualifiers = frozenset(rest)
        found.update(rule.label for rule in _RULES if rule.matches(heading, qualifiers))
    return frozenset(found)


def labeler_half(report_id: str) -> Half:
    """Which half a report is in: the rule labeler was tuned on `development` and is measured on `test`.

    The first byte of the SHA-256 of the id (as `CXR12`) decides: even is development, odd is test.
    """
    return "development" if hashlib.sha256(report_id.encode()).digest()[0] % 2 == 0 else "test"
