"""The embedded default: real OpenI reports with phantoms, synthetic radiographs drawn from their MeSH codes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal

from chexalign import atomic, ids
from chexalign.data import openi
from chexalign.data.base import DropStudyError, Item, assign_splits
from chexalign.errors import UserError
from chexalign.types import ImageRef, Study, View

# Fixed for good: the test split stays the same whatever the seed of a run.
SPLIT_SEED = 20261122


class OpenIPhantom:
    """OpenI reports; images are phantoms, or the collection's own PNG files when `images` names their folder."""

    license = openi.LICENSE

    def __init__(
        self,
        *,
        split: dict[str, int],
        views: tuple[Literal["frontal", "lateral"], ...] = ("frontal",),
        image_size_px: int = 128,
        images: Path | None = None,
        archive: Path | None = None,
    ) -> None:
        self.split, self.views, self.image_size_px = split, views, image_size_px
        self.images, self.archive = images, archive
        self.synthetic = images is None

    def items(self) -> tuple[list[Item], dict[str, int]]:
        """Reports with findings, image and codes, each with its split; see `openi.usable` for what is dropped."""
        views = openi.read_views(openi.find_packaged(openi.HEADERS_NAME)) if self.images else {}
        archive = self.archive or openi.find_packaged(openi.ARCHIVE_NAME)
        reports, dropped = openi.usable(openi.read_reports(archive, views))
        splits = assign_splits([r.id for r in reports], self.split, seed=SPLIT_SEED)
        kept = [Item(r.id, splits[r.id], r) for r in reports if r.id in splits]
        unused = len(reports) - len(kept)
        return kept, dict(dropped) | ({"beyond_the_split": unused} if unused else {})

    def study(self, item: Item, images: Path) -> Study:
        """The study of one report, its text without the collection's XXXX tokens."""
        report: openi.OpenIReport = item.payload
        reference = openi.strip_deidentified(report.findings or "")
        if not reference:
            raise DropStudyError("findings_empty_after_cleaning")
        return Study(
            id=report.id,
            patient_id=report.id,  # the collection has one report per patient
            images=tuple(self._real(report) if self.images else self._phantoms(report, images)),
            indication=openi.strip_deidentified(report.indication or "") or None,
            reference=reference,
            impression=report.impression,
            codes=report.codes,
            split=item.split,
            source="openi-phantom" if self.synthetic else "openi",
            license=self.license,
        )

    def _phantoms(self, report: openi.OpenIReport, folder: Path) -> list[ImageRef]:
        return [self._phantom(report, view, folder) for view in self.views]

    def _phantom(self, report: openi.OpenIReport, view: Literal["frontal", "lateral"], folder: Path) -> ImageRef:
        path = folder / f"{report.id}_{view}.png"
        data = phantom_png(report.codes, view=view, seed=phantom_seed(report.id, 0), size_px=self.image_size_px)
        atomic.write_bytes(path, data)
        return ImageRef(
            path=f"{folder.name}/{path.name}",
            sha256=ids.bytes_sha256(data),
            view=view,
            height_px=self.image_size_px,
            width_px=self.image_size_px,
            synthetic=True,
        )

    def _real(self, report: openi.OpenIReport) -> list[ImageRef]:
        assert self.images is not None
        if not self.images.is_dir():
            raise UserError(
                f"data.images is {self.images}, which is not a folder.",
                "With it set, the collection's own radiographs are read instead of phantoms.",
                "Point it at the folder of NLMCXR_png, or leave it out to use phantoms.",
            )
        found = [self._real_image(image_id, view) for image_id, view in report.images]
        chosen = [ref for view in self.views for ref in found if ref is not None and ref.view == view][
            : len(self.views)
        ]
        if not chosen:
            raise DropStudyError("no_image_file_of_the_view")
        return chosen

    def _real_image(self, image_id: str, view: str) -> ImageRef | None:
        from PIL import Image

        assert self.images is not None
        path = (self.images / f"{image_id}.png").resolve()
        if not path.is_file():
            return None
        with Image.open(path) as image:
            width, height = image.size
        known: View = "frontal" if view == "frontal" else "lateral" if view == "lateral" else "unknown"
        return ImageRef(str(path), ids.file_sha256(path), known, height_px=height, width_px=width)


def phantom_seed(study_id: str, variant: int) -> int:
    """The seed of a study's anatomy; variant 0 is the study's own image, others are extra patients with its codes."""
    return ids.keyed_seed("phantom", study_id, variant)


def phantom_png(codes: tuple[str, ...], *, view: Literal["frontal", "lateral"], seed: int, size_px: int) -> bytes:
    """A phantom as the bytes of a grayscale PNG."""
    from PIL import Image

    from chexalign.demo.phantom import render

    buffer = BytesIO()
    Image.fromarray(render(codes, view=view, seed=seed, size_px=size_px)).save(buffer, format="PNG")
    return buffer.getvalue()
