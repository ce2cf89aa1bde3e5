"""MS-CXR: phrases of MIMIC-CXR reports, with the boxes that radiologists drew for them.

    ROOT/MS_CXR_Local_Alignment_v1.1.0.csv  or  ..._v1.0.0.csv
    IMAGES/files/p10/p10000032/s50414267/DICOMID.jpg                 (ROOT where `images` is not given)
    IMAGES/mimic-cxr-2.0.0-split.csv.gz                              (for version 1.0.0, where it is there)

A phrase with several boxes has a row for each. Version 1.1.0 has splits of its own, which need not be those of
MIMIC-CXR: a policy trained on MIMIC-CXR may have seen reports of its test set. Without them MIMIC-CXR's splits are
taken, and without those, patients are shared out. Source: Boecking et al. 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from chexalign.data.layout import find_file, need_root
from chexalign.data.marked_pictures import Marking, mark_regions
from chexalign.data.mimic_images import LICENSE, files_folder, jpeg
from chexalign.data.mimic_tables import SPLIT_NAMES, read_splits
from chexalign.data.questions import Draft, Picture, QuestionItem, share_of
from chexalign.data.tasks.balance import LEFT_OUT, Case, in_groups, one_right_each
from chexalign.data.tasks.held_out import SPLITS, patients_apart
from chexalign.data.tasks.located import Known, ask, box_cases
from chexalign.data.tasks.ms_cxr_table import FINDINGS, SOURCE, TABLES, Phrase, read_phrases
from chexalign.data.tasks.wordings import sentence_of_region
from chexalign.errors import UserError


class MSCXR:
    """What is in this box, and which sentence is about it? From the phrases and boxes of MS-CXR."""

    name = SOURCE
    license = LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": LICENSE,
        "needs": f"{TABLES[0]} from PhysioNet; `images`, the folder of MIMIC-CXR-JPG",
    }

    def __init__(
        self,
        *,
        root: Path | None = None,
        images: Path | None = None,
        splits: Literal["own", "mimic"] = "own",
        mark: Marking = "words",
    ) -> None:
        """`splits` is `mimic` for a policy that learns from reports of MIMIC-CXR, whose splits may be others.

        `mark` shows where the box of a question about a region is, instead of telling it in words.
        """
        self.root, self.images, self.splits, self.mark = root, images, splits, mark
        if splits not in ("own", "mimic"):
            raise UserError(f"splits is {splits!r}.", "It is own or mimic.", "Leave it out for the collection's own.")

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
        if self.splits == "mimic":
            dropped["no_official_split"] += sum(found[0].study not in splits for found in images.values())
            images = {i: [replace(phrase, split=None) for phrase in found] for i, found in images.items()}
            images = {i: found for i, found in images.items() if found[0].study in splits}
        known = [_known(found, folder, splits) for found in images.values()]
        there = [at for at, image in enumerate(known) if Path(image.picture.path).is_file()]
        dropped["image_missing"] += len(known) - len(there)
        of_image = list(images.values())
        known, about = [known[at] for at in there], [of_image[at] for at in there]
        items, left_out = ask(known, FINDINGS)
        sentences, fewer = _sentences(known, about)
        items, apart = patients_apart(_joined(known, items, sentences))
        return mark_regions(items, self.mark), dict(+(dropped + left_out + fewer + apart))

    def _splits(self, top: Path) -> dict[str, str]:
        """Our name of MIMIC-CXR's split of each study; none where its table is not needed and not there."""
        if self.splits == "mimic":
            path: Path | None = find_file([top], SPLIT_NAMES, SOURCE)
        else:
            path = next((top / name for name in SPLIT_NAMES if (top / name).is_file()), None)
        told = {} if path is None else read_splits(path)
        return {study: SPLITS[split] for study, split in told.items() if split in SPLITS}


def _known(phrases: Sequence[Phrase], folder: Path, splits: Mapping[str, str]) -> Known:
    first = phrases[0]
    return Known(
        name=first.dicom,
        study=f"s{first.study}",
        patient=first.patient,
        split=first.split or splits.get(first.study) or share_of(first.patient),
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
