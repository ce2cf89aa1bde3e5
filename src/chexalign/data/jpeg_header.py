"""The size of a plain JPEG from its header, without opening it: a large collection has hundreds of thousands."""

from __future__ import annotations

_START = b"\xff\xd8"
_JFIF, _TABLES = 0xE0, (0xDB, 0xC4, 0xDD, 0xFE)  # quantization, Huffman codes, restarts; a comment
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # baseline, extended, progressive, each with Huffman codes
_FRAME_BYTES = 6  # precision, height, width, number of components
_GRAY, _COLOR = 1, 3


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of 8 bits, gray or in color, with nothing in its header but a JFIF mark and tables.

    None for any other file, of which nothing is said: it may have EXIF data, several images, other colors, or damage.
    """
    if not data.startswith(_START):
        return None
    at, size = len(_START), None
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        body = at + 4
        if kind == _SCAN:
            return size
        if kind in _FRAMES and size is None:
            size = _size(data[body : body + _FRAME_BYTES], length)
            if size is None:
                return None
        elif kind not in _TABLES and not (kind == _JFIF and data[body : body + 5] == b"JFIF\0"):
            return None
        at += 2 + length
    return None


def _size(frame: bytes, length: int) -> tuple[int, int] | None:
    if len(frame) < _FRAME_BYTES or frame[0] != 8 or frame[5] not in (_GRAY, _COLOR) or length != 8 + 3 * frame[5]:
        return None
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return (width, height) if width and height else None
