"""Phantoms for questions: whole ones, and ones with a mark on the place of a single code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chexalign.data.base import DropStudyError
from chexalign.data.drawn import Drawn
from chexalign.data.marks import Mark, marked
from chexalign.data.pixels import gray_png
from chexalign.types import Evidence, Role

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the image

_LEAST = 10.0  # of 255: what a code changes less than this, averaged over 3 x 3 pixels, is not seen
_LARGEST = 0.35  # of the image; a box that is larger marks nothing
_FREE = 6.0  # of 255: the mean change by other codes in a box up to which it counts as free of them
_JOIN_PX = 2 / 128  # of the image: parts of a finding that are nearer than this are one


@dataclass(frozen=True, slots=True)
class Phantom:
    """The phantom of a patient with some codes."""

    codes: tuple[str, ...]
    seed: int
    size_px: int
    view: Literal["frontal", "lateral"] = "frontal"
    role: Role = "current"

    def draw(self, images: Path) -> Drawn:
        """The phantom. Cost: some 10 ms at 128 px."""
        return Drawn(gray_png(_render(self.codes, self)), self.size_px, self.size_px)


@dataclass(frozen=True, slots=True)
class MarkedPhantom:
    """A frontal phantom with a mark where one code is drawn; the evidence is the box around that.

    Questions with different answers are asked in pairs about two regions. One is drawn only if the other can be, so
    that no answer is right more often than the others because its region could not be drawn.
    """

    codes: tuple[str, ...]
    code: str
    finding: str  # what the code is called
    mark: Mark
    seed: int
    size_px: int
    view: Literal["frontal"] = "frontal"
    role: Role = "current"
    apart_from: str = ""  # another of the codes: the region of each must be free of the other
    empty_too: str = ""  # none of the codes: where it would be drawn must be free

    def draw(self, images: Path) -> Drawn:
        """The marked phantom. Cost: two phantoms, or up to four.

        Raises: DropStudyError: finding_not_visible, finding_too_large_to_mark, another_finding_in_the_region,
        region_not_free.
        """
        shown = _render(self.codes, self)
        mask, box = _place(self.code, self)
        if self.apart_from:
            _need_free(self.apart_from, box, self)
            _need_free(self.code, _place(self.apart_from, self)[1], self)
        if self.empty_too:
            _empty_place(self.empty_too, self)
        return _marked(shown, mask, box, self.mark, Evidence("box", self.finding, image=0, box=box))


@dataclass(frozen=True, slots=True)
class EmptyRegion:
    """A frontal phantom with a mark where a code would be drawn that this patient does not have."""

    codes: tuple[str, ...]
    code: str
    finding: str
    mark: Mark
    seed: int
    size_px: int
    view: Literal["frontal"] = "frontal"
    role: Role = "current"
    marked_too: str = ""  # one of the codes: it must be possible to mark it

    def draw(self, images: Path) -> Drawn:
        """The marked phantom; the place is as large and where it is in patients with the code.

        Cost: three phantoms, or four. Raises: DropStudyError as `MarkedPhantom.draw` does.
        """
        mask, box = _empty_place(self.code, self)
        if self.marked_too:
            _place(self.marked_too, self)
        absent = Evidence("box", self.finding, present=False, image=0, box=box)
        return _marked(_render(self.codes, self), mask, box, self.mark, absent)


AnyPhantom = Phantom | MarkedPhantom | EmptyRegion


def changed(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, Box]:
    """Where two phantoms of one patient differ most: a mask, and left, top, right and bottom as fractions.

    Both are uint8 [n, n]. Of several places, such as the two sides of a bilateral finding, it is the strongest.
    Raises: DropStudyError: finding_not_visible, finding_too_large_to_mark.
    """
    import numpy as np
    from scipy import ndimage

    n = len(one)
    difference = np.abs(one.astype(float) - other)
    seen = ndimage.uniform_filter(difference, 3) >= _LEAST
    if not seen.any():
        raise DropStudyError("finding_not_visible")
    places, count = ndimage.label(ndimage.binary_dilation(seen, iterations=max(1, round(_JOIN_PX * n))))
    strength = ndimage.sum_labels(difference * seen, places, range(1, count + 1))
    mask = seen & (places == 1 + int(np.argmax(strength)))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top, right, bottom = (int(at) for at in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    if (right - left) * (bottom - top) > _LARGEST * n * n:
        raise DropStudyError("finding_too_large_to_mark")
    return mask, (round(left / n, 6), round(top / n, 6), round(right / n, 6), round(bottom / n, 6))


def _place(code: str, of: AnyPhantom) -> tuple[np.ndarray, Box]:
    """Where one of the codes is drawn."""
    return changed(_render(of.codes, of), _without(code, of))


def _empty_place(code: str, of: AnyPhantom) -> tuple[np.ndarray, Box]:
    """Where a code would be drawn that is none of the codes; none of those may show there."""
    shown = _render(of.codes, of)
    mask, box = changed(_render((*of.codes, code), of), shown)
    if _change(shown, _render((), of), box) > _FREE:
        raise DropStudyError("region_not_free")
    return mask, box


def _need_free(code: str, box: Box, of: AnyPhantom) -> None:
    """Raises DropStudyError where one of the codes shows in the box."""
    if _change(_render(of.codes, of), _without(code, of), box) > _FREE:
        raise DropStudyError("another_finding_in_the_region")


def _change(one: np.ndarray, other: np.ndarray, box: Box) -> float:
    """The mean difference in a box."""
    left, top, right, bottom = (round(at * len(one)) for at in box)
    return float(abs(one.astype(float) - other)[top:bottom, left:right].mean())


def _without(code: str, of: AnyPhantom) -> np.ndarray:
    return _render([one for one in of.codes if one != code], of)


def _marked(shown: np.ndarray, mask: np.ndarray, box: Box, mark: Mark, evidence: Evidence) -> Drawn:
    import numpy as np
    from PIL import Image

    n = len(shown)
    left, top, right, bottom = (at * n for at in box)
    image = marked(Image.fromarray(shown), (left, top, right, bottom), mark, mask=mask)
    return Drawn(gray_png(np.asarray(image)), n, n, (evidence,))


def _render(codes: Sequence[str], of: AnyPhantom) -> np.ndarray:
    return _rendered(tuple(codes), of.view, of.seed, of.size_px)


@lru_cache(maxsize=16)  # the items of a study follow each other, and most need the study's own phantom
def _rendered(codes: tuple[str, ...], view: Literal["frontal", "lateral"], seed: int, size_px: int) -> np.ndarray:
    from chexalign.demo.phantom import render

    return render(codes, view=view, seed=seed, size_px=size_px)
