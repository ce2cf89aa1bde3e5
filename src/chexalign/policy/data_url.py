"""Images as they travel inside a request."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

from chexalign.errors import UserError

_SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def data_url(path: Path) -> str:
    """The image as a data URL: the file itself where every server can read it, or else an RGB image as PNG.

    It is decoded first, since a server may make something up for the missing half of a damaged file.
    Raises: UserError when there is no file, or no image in it.
    """
    from PIL import Image

    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            kind = _SENT_AS_THEY_ARE.get(image.format or "")
            if kind is None or image.mode not in ("L", "RGB"):
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, "PNG", compress_level=1)
                kind, data = "image/png", buffer.getvalue()
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as e:
        raise UserError(
            f"The image {path} cannot be read ({type(e).__name__}).",
            "It is missing, cut short, damaged, of an unknown format, or closed to this user; a model that is asked "
            "without it would write a report from the prompt alone.",
            "Put the file back, or delete the run's images and studies folders to have them made again.",
        ) from e
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
