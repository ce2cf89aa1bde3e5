"""Images that are drawn when a question is made: nothing is drawn before, and what is drawn is named by its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chexalign import atomic, ids
from chexalign.types import Evidence, ImageRef, Role, View


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image as the bytes of a PNG file, and what is marked on it."""

    png: bytes
    height_px: int
    width_px: int
    marks: tuple[Evidence, ...] = ()  # boxes; which of a question's images they are on is filled in later
    synthetic: bool = True  # drawn as a whole; a mark alone on an image that was taken makes it no synthetic one


class Drawing(Protocol):
    """An image that can be drawn: equal ones give equal bytes, and worker processes can be sent one."""

    @property
    def view(self) -> View:
        """Which view it shows."""
        ...

    @property
    def role(self) -> Role:
        """Whether it is the current or the prior image."""
        ...

    def draw(self, images: Path) -> Drawn:
        """The image; one that has to be decoded for it is kept in the folder `images`.

        Raises: DropStudyError where it cannot be drawn as asked.
        """
        ...


def write_drawn(drawing: Drawing, drawn: Drawn, into: Path) -> ImageRef:
    """A reference to a drawn image, in the folder `into`; its path starts at the run folder, the parent of `into`."""
    sha256 = ids.bytes_sha256(drawn.png)
    path = into / f"{sha256[:32]}-drawn.png"
    if not path.is_file():
        atomic.write_bytes(path, drawn.png)
    return ImageRef(
        path=f"{into.name}/{path.name}",
        sha256=sha256,
        view=drawing.view,
        height_px=drawn.height_px,
        width_px=drawn.width_px,
        role=drawing.role,
        synthetic=drawn.synthetic,
    )
