"""The embedded default's questions: made of the human MeSH codes of OpenI, about phantoms drawn from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from chexalign.data import openi
from chexalign.data.drawn import Drawing
from chexalign.data.questions import TEST, TRAIN, VALIDATION, Draft, QuestionItem
from chexalign.demo.openi_phantom import OpenIPhantom, phantom_seed
from chexalign.demo.questions_basic import ask_basic
from chexalign.demo.questions_compare import ask_changes
from chexalign.demo.questions_details import ask_details
from chexalign.demo.questions_draw import EmptyRegion, MarkedPhantom, Phantom
from chexalign.demo.questions_findings import Chest, read_chest
from chexalign.demo.questions_region import Region, ask_regions
from chexalign.demo.questions_severity import ask_severity
from chexalign.errors import UserError

# The splits of recipes/demo.yaml: no question of a test study is about an image whose report is learned from.
SPLIT = {"sft": 1600, "prefer": 850, "validation": 200, "test": 600}

_SPLITS = {"sft": TRAIN, "prefer": TRAIN, "validation": VALIDATION, "test": TEST}

Shown = tuple[tuple[Drawing, ...], Draft]


class OpenIPhantomQuestions:
    """Questions of all kinds about phantoms: one image, a marked place on one, and two images of one patient."""

    name = "openi-phantom-questions"
    license = openi.LICENSE
    describe: ClassVar[dict[str, str]] = {
        "license": license,
        "needs": "the reports of OpenI, which the package torchxrayvision carries, or `archive`",
        "cost": "seconds to list; each image is drawn, as those of the built-in example are",
    }

    def __init__(
        self,
        *,
        split: dict[str, int] | None = None,
        image_size_px: int = 128,
        archive: Path | None = None,
    ) -> None:
        """`split` and `image_size_px` are those of the run whose images are asked about."""
        self.split, self.image_size_px, self.archive = dict(split or SPLIT), image_size_px, archive
        if unknown := [name for name in self.split if name not in _SPLITS]:
            raise UserError(
                f"The option split has {unknown[0]!r}.",
                f"Questions are made for the studies of the splits {', '.join(_SPLITS)}.",
                "Give the sizes of the run's own splits, as in split={sft: 1600, test: 600}.",
            )

    def items(self) -> tuple[list[QuestionItem], dict[str, int]]:
        """All questions, by the images that they share, in the order of the studies; nothing is drawn.

        A question is for training where its study's report is learned from or sampled for, else held out as it is.
        """
        dataset = OpenIPhantom(split=self.split, archive=self.archive)
        studies, _ = dataset.items()
        chests = [read_chest(s.id, _SPLITS[s.split], s.payload.codes, phantom_seed(s.id, 0)) for s in studies]
        return make_items(chests, size_px=self.image_size_px)


def make_items(chests: Sequence[Chest], *, size_px: int) -> tuple[list[QuestionItem], dict[str, int]]:
    """The questions about some chests, and how many were left out for which reason."""
    dropped = Counter[str]()
    shown: list[dict[tuple[Drawing, ...], list[Draft]]] = [{} for _ in chests]
    for at, (pictures, draft) in _asked(chests, size_px, dropped):
        shown[at].setdefault(pictures, []).append(draft)
    items = [
        QuestionItem(chest.id, chest.id, chest.split, pictures, tuple(drafts))
        for chest, of_it in zip(chests, shown, strict=True)
        for pictures, drafts in of_it.items()
    ]
    return items, dict(+dropped)


def _asked(chests: Sequence[Chest], size_px: int, dropped: Counter[str]) -> Iterator[tuple[int, Shown]]:
    for ask in (ask_basic, ask_details, ask_severity):
        asked, left_out = ask(chests)
        dropped.update(left_out)
        for one in asked:
            chest = chests[one.chest]
            yield one.chest, ((Phantom(one.codes or chest.codes, chest.seed, size_px, one.view),), one.draft)
    regions, left_out = ask_regions(chests)
    dropped.update(left_out)
    for region, drafts in regions:
        for draft in drafts:
            yield region.chest, ((_marked(chests[region.chest], region, size_px),), draft)
    for change in ask_changes(chests):
        seed = chests[change.chest].seed
        current, prior = (Phantom(change.current, seed, size_px), Phantom(change.prior, seed, size_px, role="prior"))
        for draft in change.drafts:
            yield change.chest, ((current, prior), draft)


def _marked(chest: Chest, region: Region, size_px: int) -> MarkedPhantom | EmptyRegion:
    what = (chest.codes, region.code, region.finding, region.mark(chest), chest.seed, size_px)
    if not region.there:
        return EmptyRegion(*what, marked_too=region.beside)
    if region.beside_is_there:
        return MarkedPhantom(*what, apart_from=region.beside)
    return MarkedPhantom(*what, empty_too=region.beside)
