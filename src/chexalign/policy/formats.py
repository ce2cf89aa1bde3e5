"""The content of a user's turn: where the images of a prompt go.

A prompt's text may hold `<image>` where the model is used to an image in the middle of a sentence, as MAIRA-2 is. The
rest of a prompt's form is the checkpoint's own chat template; `recipes/chat_templates` has those that are published
without one.
"""

from __future__ import annotations

from typing import Any

from chexalign.errors import UserError

IMAGE_MARK = "<image>"


def content_of(prompt: str, *, n_images: int) -> list[dict[str, Any]]:
    """The content of the user's turn: images where the prompt's text has marks for them, else before the text.

    Raises: UserError when there are marks, but not as many as images.
    """
    pieces = prompt.split(IMAGE_MARK)
    if len(pieces) == 1:
        return [*({"type": "image"} for _ in range(n_images)), {"type": "text", "text": prompt}]
    if len(pieces) - 1 != n_images:
        raise UserError(
            f"A prompt has places for {len(pieces) - 1} images, and the study gives {n_images}.",
            "Its wording was chosen for another number of images than the policy is shown.",
            f"Set policy.max_images to at least {len(pieces) - 1}, or use another policy.template.",
        )
    content: list[dict[str, Any]] = []
    for place, piece in enumerate(pieces):
        content += [{"type": "image"}] if place else []
        content += [{"type": "text", "text": piece}] if piece else []
    return content
