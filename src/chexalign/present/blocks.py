"""Data as the page holds it for its scripts: blocks of JSON that no text in them can break out of."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from chexalign.present.case import CaseImage
from chexalign.present.changes import Sentence, sentence_changes

_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}  # nothing in a block can end it


def block(content: Any) -> Markup:
    """The content as JSON for a script element."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).translate(_UNSAFE))


def image_data(image: CaseImage) -> list[Any]:
    """An image with its view, whether it is synthetic, and its bytes in base64."""
    return [image.view, image.synthetic, base64.b64encode(image.jpeg).decode()]


def marked_sentences(before: str, after: str) -> list[list[Any]]:
    """The sentences of `after`, marked against `before`, and those that are gone: kinds with texts, or with pieces."""
    return [_sentence(sentence) for sentence in sentence_changes(before, after)]


def _sentence(sentence: Sentence) -> list[Any]:
    pieces: Sequence[Any] = sentence.pieces
    if len(pieces) == 1:
        return [sentence.kind, pieces[0].text]
    return [sentence.kind, [[piece.change, piece.text] for piece in pieces]]
