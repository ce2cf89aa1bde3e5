"""The page of `chexalign data stats`: one HTML file with numbers, plots and sample images, for its owner only."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from markupsafe import Markup

from chexalign import __version__, atomic
from chexalign.audit.describe import Description
from chexalign.audit.summary import summary
from chexalign.audit.tables import Prepared
from chexalign.ids import digest, keyed_seed
from chexalign.present import data_plots
from chexalign.present.templating import page_environment
from chexalign.run_folder import RunFolder
from chexalign.store import Table
from chexalign.types import ImageRef

_TEMPLATES = Path(__file__).parent / "templates"
_SAMPLES, _SIDE_PX, _JPEG_QUALITY = 12, 240, 80
_TRIED = 4  # times as many rows are drawn as are shown, since images can be gone


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample image as a data URI, and whose it is."""

    uri: str
    id: str
    split: str
    view: str
    size: str
    synthetic: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One table on the page: its numbers, its plots and its samples."""

    name: str
    what: str  # studies or questions
    numbers: dict[str, Any]
    plots: dict[str, Markup | None]
    samples: tuple[Sample, ...]


def write_page(prepared: Prepared, found: Description, path: Path) -> None:
    """The page stands at `path`, whole, readable by its owner only: it holds images of patients.

    Raises: UserError when the file cannot be written.
    """
    atomic.write_text(path, render_page(prepared, found))


def render_page(prepared: Prepared, found: Description) -> str:
    """The HTML of the page; every text in it is escaped, and its policy forbids the browser to load or run anything."""
    environment = page_environment(_TEMPLATES)
    environment.filters |= {"count": lambda n: f"{n:,}", "percent": lambda share: f"{share:.1%}"}
    sections = list(_sections(prepared, found))
    return environment.get_template("data.html.j2").render(
        folder=prepared.folder.root.absolute().name,
        sections=sections,
        synthetic=any(section.numbers["synthetic_images"] for section in sections),
        licenses=sorted({license for section in sections for license in section.numbers["licenses"]}),
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        version=__version__,
        generated=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        colors=data_plots.COLORS,
    )


def _sections(prepared: Prepared, found: Description) -> Iterator[Section]:
    numbers = summary(found)
    if found.studies is not None and prepared.studies is not None:
        plots = {
            "lengths": data_plots.lengths_plot(found.studies, "lengths"),
            "labels": data_plots.labels_plot(found.studies, "labels"),
            "codes": data_plots.codes_plot(found.studies, "codes"),
            "sizes": data_plots.sizes_plot(found.studies.shared, "sizes"),
            "patients": data_plots.patients_plot(found.studies.shared, "patients", "studies"),
        }
        samples = tuple(_samples(prepared.folder, prepared.studies, found.studies.shared.splits))
        yield Section("studies", "studies", numbers["studies"], plots, samples)
    for i, (name, stats) in enumerate(found.questions.items()):
        plots = {
            "parts": data_plots.parts_plot(stats, f"parts-{i}"),
            "sizes": data_plots.sizes_plot(stats.shared, f"sizes-{i}"),
            "patients": data_plots.patients_plot(stats.shared, f"patients-{i}", "questions"),
        }
        samples = tuple(_samples(prepared.folder, prepared.questions[name], stats.shared.splits))
        yield Section(f"questions/{name}", "questions", numbers[f"questions/{name}"], plots, samples)


def _samples(folder: RunFolder, table: Table[Any], splits: Sequence[str]) -> Iterator[Sample]:
    """Images drawn by lot, the same for each split: the first by the digest of their ids."""
    each = -(-_SAMPLES // max(1, len(splits)))
    drawn: dict[str, list[tuple[str, Any]]] = {split: [] for split in splits}
    for row in table.iter_rows():
        if row.images:
            mine = drawn[row.split]
            mine.append((digest("sample", row.id), row))
            if len(mine) > 20 * each:
                drawn[row.split] = sorted(mine, key=lambda pair: pair[0])[: _TRIED * each]
    for split in splits:
        shown = (_sample(folder, row) for _, row in sorted(drawn[split], key=lambda pair: pair[0])[: _TRIED * each])
        seen: set[str] = set()
        for sample in filter(None, shown):
            if len(seen) < each and sample.uri not in seen:
                seen.add(sample.uri)
                yield sample


def _sample(folder: RunFolder, row: Any) -> Sample | None:
    """One of the images of a row, or None where it cannot be opened."""
    from PIL import Image

    ref: ImageRef = row.images[keyed_seed("sample", row.id) % len(row.images)]
    buffer = BytesIO()
    try:
        with Image.open(folder.image_path(ref)) as opened:
            opened.draft("L", (_SIDE_PX, _SIDE_PX))
            gray = opened.convert("L")
            gray.thumbnail((_SIDE_PX, _SIDE_PX))
            gray.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    except (OSError, SyntaxError, ValueError):
        return None
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Sample(uri, row.id, row.split, ref.view, f"{ref.width_px} x {ref.height_px}", ref.synthetic)
