"""MS-CXR: phrases of MIMIC-CXR reports, with the boxes that radiologists drew for them.

    ROOT/MS_CXR_Local_Alignment_v1.1.0.csv  or  ..._v1.0.0.csv
    IMAGES/files/p10/p10000032/s50414267/DICOMID.jpg                 (ROOT where `images` is not given)
    IMAGES/mimic-cxr-2.0.0-split.csv.gz                              (for version 1.0.0, where it is there)

A phrase with several boxes has a row for each. Version 1.1.0 has splits of its own; they are not those of MIMIC-CXR,
so a policy trained on MIMIC-CXR may have seen reports of its test set. Without them MIMIC-CXR's splits are taken, and
without those, patients are shared out. Source: Boecking et al. 2022.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from chexalign.data.layout import find_file, need_root, read_columns
from chexalign.data.mimic_images import LICENSE, files_folder, jpeg
from chexalign.data.mimic_tables import SPLIT_NAMES, read_splits
from chexalign.data.questions import Draft, Picture, PixelBox, QuestionItem, share_of
from chexalign.data.tasks.balance import LEFT_OUT, Case, in_groups, one_right_each
from chexalign.data.tasks.boxes import read_corner_and_size
from chexalign.data.tasks.findings import finding_name
from chexalign.data.tasks.held_out import SPLITS, patients_apart
from chexalign.data.tasks.located import Known, ask, box_cases
from chexalign.data.tasks.wordings import sentence_of_region

SOURCE = "ms-cxr"
TABLES = ("MS_CXR_Local_Alignment_v1.1.0.csv", "MS_CXR_Local_Alignment_v1.0.0.csv")

FINDINGS = tuple(
    finding_name(word)
    for word in (
        *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema"),
        *("Lung Opacity", "Pleural Effusion", "Pneumonia", "Pneumothorax"),
    )
)

_COLUMNS = (
    *("category_name", "label_text", "path", "dicom_id"),
    *("x", "y", "w", "h", "image_width", "image_height"),
)
# What becomes a path is let in only as the names of MIMIC-CXR are made.
_PATH = re.compile(r"(?:^|/)p\d\d/p(\d{8})/s(\d{8})/([\w-]+)\.\w+$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase about one image, and the boxes of what it says."""

    dicom: str
    patient: str
    study: str
    finding: str
    text: str
    boxes: tuple[PixelBox, ...]
    split: str | None


class MSCXR:
    """What is in this box, and which sentence is about it? From the phrases and boxes of MS-CXR."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{TABLES[0]} from PhysioNet; `images`, the folder of MIMIC-CXR-JPG",
    }

    def __init__(self, *, root: Path | None = None, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """Questions about boxes by findings, and about single boxes by sentences; the options are of other images.

        Of an image nothing is known to be absent, so none is asked whether a finding is there.
        """
        root = need_root(self.root, SOURCE, TABLES[0])
        phrases, dropped = read_phrases(find_file([root], TABLES, SOURCE))
        top = self.images or root
        folder = files_folder(top, SOURCE)
        splits = self._splits(top)
        images: dict[str, list[Phrase]] = {}
        for phrase in phrases:
            images.setdefault(phrase.dicom, []).append(phrase)
        known = [_known(found, folder, splits) for found in images.values()]
        items, left_out = ask(known, FINDINGS)
        sentences, fewer = _sentences(known, list(images.values()))
        items, apart = patients_apart(_joined(known, items, sentences))
        return items, dict(+(dropped + left_out + fewer + apart))

    def _splits(self, top: Path) -> dict[str, str]:
        path = next((top / name for name in SPLIT_NAMES if (top / name).is_file()), None)
        return {} if path is None else read_splits(path)


def read_phrases(path: Path) -> tuple[list[Phrase], Counter[str]]:
    """The phrases in the order of the table, each once per image, and why rows were left out."""
    has_split = "v1.0.0" not in path.name
    boxes: dict[tuple[str, str, str], dict[PixelBox, None]] = {}
    about: dict[tuple[str, str, str], tuple[str, str, str | None]] = {}
    dropped = Counter[str]()
    for category, text, where, dicom, *cells in read_columns(path, (*_COLUMNS, *("split",) * has_split), SOURCE):
        found, finding, sentence = _PATH.search(where.strip()), finding_name(category), " ".join(text.split())
        split = SPLITS.get(cells[6].strip()) if has_split else None
        box = _box(finding, cells[:6])
        if found is None or found[3] != dicom.strip() or box is None or not sentence or finding not in FINDINGS:
            dropped["malformed_row"] += 1
        elif has_split and split is None:
            dropped["unknown_split"] += 1
        elif about.setdefault((found[3], finding, sentence), (found[1], found[2], split)) != (
            found[1],
            found[2],
            split,
        ):
            dropped["contradictory_row"] += 1
        elif box in boxes.setdefault((found[3], finding, sentence), {}):
            dropped["duplicate_row"] += 1
        else:
            boxes[found[3], finding, sentence][box] = None
    return [
        Phrase(key[0], patient, study, key[1], key[2], tuple(boxes[key]), split)
        for key, (patient, study, split) in about.items()
        if key in boxes
    ], dropped


def _box(finding: str, cells: Sequence[str]) -> PixelBox | None:
    try:
        frame = (int(float(cells[4])), int(float(cells[5])))
    except (ValueError, OverflowError):
        return None
    bounds = read_corner_and_size(cells[:4], frame=frame) if min(frame) > 0 else None
    return None if bounds is None else PixelBox(finding, bounds, frame)


def _known(phrases: Sequence[Phrase], folder: Path, splits: Mapping[str, str]) -> Known:
    first = phrases[0]
    official = SPLITS.get(splits.get(first.study, ""))
    return Known(
        name=first.dicom,
        study=f"s{first.study}",
        patient=first.patient,
        split=first.split or official or share_of(first.patient),
        picture=Picture(jpeg(folder, first.patient, first.study, first.dicom), "frontal", top=str(folder)),
        boxes=tuple(dict.fromkeys(box for phrase in phrases for box in phrase.boxes)),
        present=frozenset(phrase.finding for phrase in phrases),
        absent=None,
    )


def _sentences(
    known: Sequence[Known], phrases: Sequence[Sequence[Phrase]]
) -> tuple[list[tuple[int, Draft]], Counter[str]]:
    """Questions about phrases with one box, each with its image; the wrong sentences are the right ones of others."""
    asked = list(_single_boxes(known, phrases))
    drawn = one_right_each([case for _, _, case in asked], FINDINGS, in_a_box=True)
    drafts: list[tuple[int, Draft]] = []
    for group in in_groups(drawn):
        texts = [asked[d.case][1].text for d in group]
        for at, phrase, case in (asked[d.case] for d in group) if len(set(texts)) == len(texts) else ():
            drafts.append((at, sentence_of_region(case.key, texts, phrase.text, phrase.finding, phrase.boxes)))
    return drafts, Counter({LEFT_OUT: len(asked) - len(drafts)})


def _single_boxes(known: Sequence[Known], phrases: Sequence[Sequence[Phrase]]) -> Iterator[tuple[int, Phrase, Case]]:
    for at, (image, about) in enumerate(zip(known, phrases, strict=True)):
        cases = dict(zip(image.boxes, box_cases(image, FINDINGS), strict=True))
        for i, phrase in enumerate(about):
            if len(phrase.boxes) == 1:
                yield at, phrase, replace(cases[phrase.boxes[0]], key=f"{image.name}/phrase/{i}")


def _joined(
    known: Sequence[Known], items: Sequence[QuestionItem], sentences: Sequence[tuple[int, Draft]]
) -> list[QuestionItem]:
    """The items with the further questions, one item per image, in the order of the images."""
    of_image = {item.pictures: item for item in items}
    more: dict[int, tuple[Draft, ...]] = {}
    for at, draft in sentences:
        more[at] = (*more.get(at, ()), draft)
    joined = []
    for at, image in enumerate(known):
        item = of_image.get((image.picture,))
        drafts = (item.drafts if item else ()) + more.get(at, ())
        if drafts:
            joined.append(QuestionItem(image.study, image.patient, image.split, (image.picture,), drafts))
    return joined
